//! Loading a batch that has failed: what can be loaded is, and what cannot is told with its reason.

use super::isolate::{self, Attempt, Failure, Load};
use super::{Refused, Statement, may_be_a_messages, unparsable};
use crate::fdw::batch::Batch;
use crate::fdw::handover::{LeftOut, Progress};
use crate::pg::signals;
use crate::pg::spi;
use crate::pg::subtx::{subtx, trial};
use crate::pg::tx::Tx;
use gpss_model::epoch;
use gpss_model::error::{Class, Error, Result, SqlState};
use gpss_model::row_counts::RowCounts;
use std::ops::Range;
use std::rc::Rc;

/// What `load_carefully` has done.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Rows written.
    pub rows: RowCounts,
    pub refused: Vec<Refused>,
}

/// Which errors are a message's, besides those that any message's data may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Data,
    /// Internal errors (XX000), if others of the batch can be loaded: it has failed with one again and again.
    Internal,
    /// The same, also if the message is the only one.
    InternalAlone,
}

/// If this many messages fail from the batch's first on, and none with an error that only a message can
/// cause, the statement is at fault.
const ENOUGH: usize = 100;

/// Loads what can be loaded of a batch and says what cannot. `limit` ends it with an error when there
/// are too many, those that do not parse apart.
///
/// # Errors
/// What is not a message's fault: the statement's, the surroundings', `limit`'s. 57014 when the process
/// was told to stop.
pub fn load_carefully(
    tx: &Tx,
    statement: &Statement,
    batch: &Batch,
    blame: Blame,
    limit: &mut dyn FnMut(&[Refused]) -> Result<()>,
) -> Result<Loaded> {
    let mut search = Search { tx, statement, batch, blame, limit, refused: vec![] };
    // What fails without any message is the statement's fault.
    search.probe()?;
    let mut violated = false;
    let loaded = subtx(tx, || {
        let loaded = search.run()?;
        violated = true;
        check_constraints(tx)?;
        Ok(loaded)
    });
    match loaded {
        // A deferred constraint, which would fail the commit, names no message.
        Err(error) if violated && may_be_a_messages(&error) => {
            check_constraints(tx)?;
            search.run().and_then(|loaded| search.second_chance(loaded))
        }
        loaded => loaded,
    }
}

/// From here to the end of the (sub)transaction, constraints are checked at once.
fn check_constraints(tx: &Tx) -> Result<()> {
    spi::exec(tx, "SET CONSTRAINTS ALL IMMEDIATE", &[]).map(drop)
}

struct Search<'a> {
    tx: &'a Tx,
    statement: &'a Statement,
    batch: &'a Batch,
    blame: Blame,
    limit: &'a mut dyn FnMut(&[Refused]) -> Result<()>,
    refused: Vec<Refused>,
}

impl Load for Search<'_> {
    /// It leaves no trace either of a range in which the filters let nothing pass: the batch is several
    /// statements only because of its bad messages.
    fn attempt(&mut self, range: Range<usize>) -> std::result::Result<Attempt, Failure> {
        if signals::stop_requested() {
            // The order was a cancel too, which one of the subtransactions may have taken for its own.
            let error = Error::new(SqlState::QUERY_CANCELED, "the process was told to stop");
            return Err(Failure { error, suspect: None, statement: 0, conversion: None });
        }
        let progress = Rc::new(Progress::leaving_out());
        let slice = Rc::new(self.batch.slice(range.clone()));
        let mut undone = false;
        let outcome = subtx(self.tx, || {
            let rows = self.statement.run(self.tx, &slice, &progress)?;
            undone = rows.total() == 0 && self.statement.filters_all(self.tx, &slice, &progress)?;
            if undone { Err(Error::new(SqlState::NO_DATA, "nothing to insert")) } else { Ok(rows) }
        });
        let rows = match outcome {
            Ok(rows) => rows,
            Err(_) if undone => RowCounts::default(),
            Err(error) => {
                return Err(Failure {
                    error,
                    suspect: progress.suspect().map(|index| range.start + index),
                    statement: progress.statement.get(),
                    conversion: progress.conversion.take().map(Box::new),
                });
            }
        };
        let refused = |LeftOut { index, error, conversion }| {
            let conversion = conversion.map(Box::new);
            let index = range.start + index;
            (index, Failure { error, suspect: Some(index), statement: 0, conversion })
        };
        Ok(Attempt { rows, refused: progress.left_out().into_iter().map(refused).collect() })
    }

    fn is_messages(&self, error: &Error) -> bool {
        let internal = error.sqlstate == SqlState::INTERNAL;
        may_be_a_messages(error) || (internal && self.blame != Blame::Data)
    }

    fn refuse(&mut self, index: usize, failure: Failure) -> Result<()> {
        let message = Rc::new(self.batch.slice(index..index + 1));
        let place = self.statement.place(self.tx, &message, &failure)?;
        let column = place.as_ref().and_then(|place| place.column.as_deref());
        let mapping = column.and_then(|column| self.statement.mapping(failure.statement, column));
        let error = epoch::explained(failure.error, mapping);
        self.refused.push(Refused { index, error, place });
        let refused = self.refused.as_slice();
        let hopeless =
            refused.len() == ENOUGH && index < ENOUGH && !refused.iter().any(is_surely_its_own);
        match refused.first() {
            Some(first) if hopeless => Err(first.error.clone()),
            _ => (self.limit)(refused),
        }
    }
}

impl Search<'_> {
    fn run(&mut self) -> Result<Loaded> {
        self.refused.clear();
        let rows = isolate::load(self.batch.messages(), self)?;
        let refused = std::mem::take(&mut self.refused);
        self.check_blame(&refused)?;
        Ok(Loaded { rows, refused })
    }

    /// Runs the statements without any message, and leaves no trace of it: nothing has been inserted
    /// for which a statement trigger should fire.
    fn probe(&self) -> Result<()> {
        let nothing = Rc::new(self.batch.slice(0..0));
        trial(self.tx, || self.statement.run(self.tx, &nothing, &Rc::default())).map(drop)
    }

    /// # Errors
    /// No message can be loaded, and not for its data: rather a privilege that is missing, or a function
    /// that is broken.
    fn check_blame(&self, refused: &[Refused]) -> Result<()> {
        let messages = self.batch.messages();
        let none = refused.len() + unparsable(self.batch) == messages;
        let alone = messages == 1 && self.blame == Blame::InternalAlone;
        match refused.iter().find(|refused| !is_surely_its_own(refused)) {
            Some(refused) if none && !alone => Err(refused.error.clone()),
            _ => Ok(()),
        }
    }

    /// Tries those once more that were refused for what is there now: a row that they refer to may have
    /// come after them.
    fn second_chance(&mut self, loaded: Loaded) -> Result<Loaded> {
        let mut left = Loaded { rows: loaded.rows, refused: vec![] };
        for refused in loaded.refused {
            let again = refused.error.sqlstate.as_str().starts_with("23");
            match again.then(|| self.attempt(refused.index..refused.index + 1)) {
                Some(Ok(attempt)) if attempt.refused.is_empty() => left.rows += attempt.rows,
                Some(Err(failure)) if !self.is_messages(&failure.error) => {
                    return Err(failure.error);
                }
                _ => left.refused.push(refused),
            }
        }
        Ok(left)
    }
}

/// By an error that the surroundings and the configuration do not cause.
fn is_surely_its_own(refused: &Refused) -> bool {
    let error = &refused.error;
    // What has no syntax is a text that an expression was given; a row that row-level security refuses.
    let by_value = error.sqlstate == SqlState::SYNTAX_ERROR
        || (error.sqlstate == SqlState::INSUFFICIENT_PRIVILEGE && error.subject.is_some());
    error.class() == Class::Data || by_value
}
