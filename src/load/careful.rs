//! Loading a batch that has failed: what can be loaded is, and what cannot is told with its reason.

use super::blame::Place;
use super::isolate::{self, Outcome};
use super::{Refused, Statement, may_be_a_messages, unparsable};
use crate::error::{Class, Error, Result, SqlState};
use crate::fdw::batch::Batch;
use crate::fdw::session::Progress;
use crate::pg::spi;
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// What `load_carefully` has done.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Rows written.
    pub inserted: u64,
    pub refused: Vec<Refused>,
}

/// Which errors are a message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Those of its data.
    Data,
    /// Internal errors (XX000) as well, if few messages cause them: the batch has failed with one again
    /// and again.
    Anything,
}

/// More messages of a batch than these with an internal error: then it is not the messages'.
const FEW: usize = 10;

/// Loads what can be loaded of a batch and says what cannot. `limit` ends it with an error when there
/// are too many, those that do not parse apart.
///
/// # Errors
/// What is not a message's fault: the statement's, the surroundings', `limit`'s.
pub fn load_carefully(
    tx: &Tx,
    statement: &Statement,
    batch: &Batch,
    blame: Blame,
    limit: &mut dyn FnMut(&[Refused]) -> Result<()>,
) -> Result<Loaded> {
    // A deferred constraint would fail the commit and name no message.
    spi::exec(tx, "SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    let is_messages = |error: &Error| match blame {
        Blame::Data => may_be_a_messages(error),
        Blame::Anything => may_be_a_messages(error) || error.sqlstate == SqlState::INTERNAL,
    };
    let mut places: BTreeMap<usize, Place> = BTreeMap::new();
    let mut attempt = |range: Range<usize>| {
        let progress = Rc::new(Progress::default());
        let slice = Rc::new(batch.slice(range.clone()));
        let error = match subtx(tx, || statement.run(tx, &slice, &progress)) {
            Ok(inserted) => return Outcome::Loaded(inserted),
            Err(error) => error,
        };
        if range.len() == 1 && is_messages(&error) {
            match statement.place(tx, &slice, progress.statement.get(), &error) {
                Ok(place) => places.extend(place.map(|place| (range.start, place))),
                Err(error) => return Outcome::Failed { error, suspect: None },
            }
        }
        let suspect = progress.suspect().map(|index| range.start + index);
        Outcome::Failed { error, suspect }
    };
    // What fails without any message is the statement's fault.
    if let Outcome::Failed { error, .. } = attempt(0..0) {
        return Err(error);
    }
    let mut within = |refused: &[Refused]| match refused.iter().rfind(|r| is_internal(r)) {
        Some(last) if refused.iter().filter(|r| is_internal(r)).count() > FEW => {
            Err(last.error.clone())
        }
        _ => limit(refused),
    };
    let (inserted, mut refused) =
        isolate::load(batch.messages(), &mut attempt, &is_messages, &mut within)?;
    if let Some(first) = refused.first()
        && (refused.len() > 1 || is_internal(first))
        && refused.len() + unparsable(batch) == batch.messages()
        && refused.iter().all(|r| r.error.class() != Class::Data)
    {
        // Each and every one, and not by its data: rather a privilege that is missing.
        return Err(first.error.clone());
    }
    for refused in &mut refused {
        refused.place = places.remove(&refused.index);
    }
    Ok(Loaded { inserted, refused })
}

fn is_internal(refused: &Refused) -> bool {
    refused.error.class() == Class::Bug
}
