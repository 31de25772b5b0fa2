//! What a worker tells the scans inside its own statements: which batch to hand out, and in
//! return, which fields they want decoded and which message they handed out last.
//!
//! A statement calls functions, of a mapping or a trigger, which may run statements over the same foreign
//! table, `gpss.dryrun` and `gpss.check` among them. These are not the worker's: their scans read the topic.

use super::batch::Batch;
use super::columns::Layout;
use super::formats::Formats;
use super::needs::Needs;
use crate::pg::fdw::{Conversion, Table};
use crate::pg::spi::{self, Plan, StatementId};
use crate::pg::tx::Tx;
use gpss_format::MessageDecoder;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::TableName;
use pgrx::pg_sys::Oid;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A partition and an offset in it.
pub type Position = (i32, i64);

/// What a reader is told to decode for some statements, and how.
pub struct Decoding {
    /// The foreign table whose scans read a batch instead of the topic.
    relid: Oid,
    /// Its name in the statements.
    pub source: TableName,
    pub needs: Needs,
    layout: Layout,
    pub formats: Formats,
    /// Scans decode the batch for themselves, each its own fields.
    by_scan: bool,
}

impl Decoding {
    /// Prepares statements over a foreign table, and learns from their plans what they need.
    ///
    /// # Errors
    /// As `Formats::of`. Raises: the statements' errors.
    pub fn prepare(
        tx: &Tx,
        table: &Table,
        user: Oid,
        statements: &[String],
    ) -> Result<(Vec<Plan>, Decoding)> {
        let mut needs = Needs::default();
        let mut plans = vec![];
        for sql in statements {
            let explain = format!("EXPLAIN (VERBOSE, COSTS OFF) {sql}");
            let (outcome, needed) = probe(table.relid, || spi::exec(tx, &explain, &[]));
            outcome?;
            needs.add(&needed);
            plans.push(Plan::prepare(tx, sql, &[])?);
        }
        let layout = Layout::of(table)?;
        let formats = Formats::of(table, &layout, user)?;
        let source = TableName { schema: table.schema.clone(), name: table.name.clone() };
        let relid = table.relid;
        Ok((plans, Decoding { relid, source, needs, layout, formats, by_scan: false }))
    }

    /// The same for statements that ask for one field each: a scan fails by an escape that PostgreSQL
    /// refuses only where it stands in a field of its own, while PostgreSQL's operators refuse
    /// the document.
    pub fn by_scan(&self) -> Decoding {
        let Decoding { relid, source, needs, layout, formats, .. } = self;
        Decoding {
            relid: *relid,
            source: source.clone(),
            needs: Needs { headers: needs.headers, ..Needs::default() },
            layout: layout.clone(),
            formats: formats.clone(),
            by_scan: true,
        }
    }

    /// A decoder for a scan with these needs, if it cannot use what the reader has decoded.
    ///
    /// # Errors
    /// As `Formats::decoder`.
    pub fn decoder_of_scan(&self, needs: &Needs) -> Result<MessageDecoder> {
        let decoder = self.formats.decoder_here(needs)?;
        Ok(if self.by_scan { decoder.lenient() } else { decoder })
    }

    /// Are rows made by functions of the user's (format custom)?
    pub fn calls_functions(&self) -> bool {
        self.layout.calls_functions()
    }
}

/// A batch on its way through a statement.
#[derive(Clone)]
pub struct Running {
    pub decoding: Rc<Decoding>,
    pub batch: Rc<Batch>,
    pub progress: Rc<Progress>,
    /// The statement's own name.
    pub statement: Option<StatementId>,
}

impl Running {
    /// Is a scan of this statement one of ours?
    ///
    /// A part without a text is, as long as no message has been taken: extensions that divide statements
    /// begin with the rows to be inserted, and what calls functions comes after the first row.
    fn owns(&self, statement: Option<StatementId>) -> bool {
        match statement {
            None => self.progress.taken.get() == 0,
            some => some == self.statement,
        }
    }
}

/// How far a statement's scan of the batch has come; after a failure it tells the suspect.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages taken, from the batch's first on.
    pub taken: Cell<usize>,
    /// The scan has said that there are no more.
    pub exhausted: Cell<bool>,
    /// A scan has asked for messages.
    pub asked: Cell<bool>,
    /// Which of several statements is running.
    pub statement: Cell<usize>,
    /// The conversion that a scan has failed with.
    pub conversion: RefCell<Option<Conversion>>,
    /// Scans leave out what they cannot convert, instead of failing.
    leaves_out: bool,
    /// In their order.
    left_out: RefCell<Vec<LeftOut>>,
    /// Runs of scans through the batch in the statement that is running.
    scans: Cell<usize>,
}

/// A message without which the statements have run.
#[derive(Clone, Debug)]
pub struct LeftOut {
    pub index: usize,
    pub error: Error,
    pub conversion: Option<Conversion>,
}

impl Progress {
    /// Of statements which leave out the messages that have a value that cannot be converted, if that is
    /// seen before anything has been made of the message.
    pub fn leaving_out() -> Progress {
        Progress { leaves_out: true, ..Progress::default() }
    }

    /// Of another statement over what has been left over.
    pub fn of_the_others(&self) -> Progress {
        Progress { left_out: self.left_out.clone(), ..Progress::default() }
    }

    pub fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.borrow().clone()
    }

    pub(super) fn is_left_out(&self, index: usize) -> bool {
        let left_out = self.left_out.borrow();
        !left_out.is_empty() && left_out.binary_search_by_key(&index, |left| left.index).is_ok()
    }

    /// A scan begins with the first message.
    pub(super) fn begin_scan(&self) {
        self.scans.set(self.scans.get() + 1);
    }

    /// Only where nothing can have been made of the next message: in the first of the statements, whose
    /// only scan has not come to it before.
    pub(super) fn may_leave_out(&self) -> bool {
        self.leaves_out && self.statement.get() == 0 && self.scans.get() == 1
    }

    /// Leaves out the message taken last.
    pub(super) fn leave_out(&self, error: Error, conversion: Option<Conversion>) {
        let Some(index) = self.taken.get().checked_sub(1) else { return };
        self.left_out.borrow_mut().push(LeftOut { index, error, conversion });
    }

    /// The index of the message taken last, unless all were taken: then the failure came later.
    pub fn suspect(&self) -> Option<usize> {
        if self.exhausted.get() { None } else { self.taken.get().checked_sub(1) }
    }

    /// The next statement reads the batch from its beginning.
    pub fn begin(&self) {
        self.taken.set(0);
        self.exhausted.set(false);
        self.asked.set(false);
        self.scans.set(0);
        self.conversion.take();
    }
}

enum State {
    Idle,
    Running(Running),
    /// The statement is being EXPLAINed to learn what it needs.
    Probing(Oid, Needs),
}

thread_local! {
    // A backend has one thread that runs statements; the reader threads never look here.
    static STATE: RefCell<State> = const { RefCell::new(State::Idle) };
}

/// Puts back what was before, also when an ERROR unwinds: statements are nested.
struct Restore(State);

impl Drop for Restore {
    fn drop(&mut self) {
        STATE.set(std::mem::replace(&mut self.0, State::Idle));
    }
}

/// Runs a statement whose scans of the foreign table read the batch.
pub fn with_batch<R>(running: Running, statement: impl FnOnce() -> R) -> R {
    let _restore = Restore(STATE.replace(State::Running(running)));
    statement()
}

/// Runs an EXPLAIN and collects what its scans of `relid` need.
fn probe<R>(relid: Oid, explain: impl FnOnce() -> R) -> (R, Needs) {
    let _restore = Restore(STATE.replace(State::Probing(relid, Needs::default())));
    let result = explain();
    let needs = STATE.with_borrow(|state| match state {
        State::Probing(_, needs) => needs.clone(),
        _ => Needs::default(),
    });
    (result, needs)
}

/// The batch that a scan of `table` in `statement` has to hand out, if that is a worker's statement.
///
/// Errors: 40001 when another table has taken the place of the one that the batch was read for, or
/// the scan wants what the reader has not kept. A new session of the worker mends that.
pub fn running(
    table: &Table,
    statement: Option<StatementId>,
    layout: &Layout,
    headers: bool,
) -> Result<Option<Running>> {
    let changed = |what: &str| {
        Err(Error::new(
            SqlState::SERIALIZATION_FAILURE,
            format!("{what} while the job was running"),
        )
        .detail("The batch was rolled back; it is read again."))
    };
    STATE.with_borrow(|state| {
        let State::Running(running) = state else { return Ok(None) };
        if !running.owns(statement) {
            return Ok(None);
        }
        let Decoding { relid, source, needs, layout: known, .. } = &*running.decoding;
        if *relid != table.relid {
            return match (&source.schema, &source.name) == (&table.schema, &table.name) {
                true => changed("the foreign table was replaced"),
                false => Ok(None),
            };
        }
        // Members are found by their names, whatever other columns there were.
        let by_name = layout.is_by_name() && layout.contents == known.contents;
        if (headers && !needs.headers) || (!by_name && layout != known) {
            return changed("the columns of the foreign table have changed");
        }
        Ok(Some(running.clone()))
    })
}

/// Called by a scan that is only being explained.
pub fn note_needs(relid: Oid, needs: &Needs) {
    STATE.with_borrow_mut(|state| {
        if let State::Probing(probed, known) = state
            && *probed == relid
        {
            known.add(needs);
        }
    });
}
