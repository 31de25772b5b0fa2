//! The messages of a batch that are not loaded: those that do not parse and those that the statement
//! refuses.

use super::locate::FailureSite;
use crate::catalog::errors::{Reason, Reject, Stage, reason_text};
use crate::fdw::batch::Batch;
use gpss_model::block::{MessageSpans, Verdict};
use gpss_model::error::{Error, SqlState};
use std::borrow::Cow;

/// DETAIL of a message that the filter could not be evaluated for.
const IN_FILTER: &str = "In the filter.";

/// A message that parses but cannot be loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In its batch.
    pub index: usize,
    pub error: Error,
    /// None: not known.
    pub place: Option<FailureSite>,
}

/// The number of messages that do not parse.
pub fn unparsable(batch: &Batch) -> usize {
    if batch.parts().iter().all(|part| part.rows.bad() == 0) {
        return 0;
    }
    let bad = |row: &MessageSpans| matches!(row.verdict, Verdict::Bad(_));
    batch.rows().filter(|(_, row)| bad(row)).count()
}

/// All rejected messages of a batch with their indices in it, in its order: the refused ones and those
/// that do not parse.
pub fn rejects<'a>(batch: &'a Batch, refused: &'a [Refused]) -> Vec<(usize, Reject<'a>)> {
    let mut found = vec![];
    if refused.is_empty() && unparsable(batch) == 0 {
        return found;
    }
    let mut refused = refused.iter().peekable();
    for (index, (rows, row)) in batch.rows().enumerate() {
        let text = |span| rows.bytes_of(span).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let reason = if let Some(refused) = refused.next_if(|r| r.index == index) {
            refused.reason()
        } else if let Verdict::Bad(reason) = row.verdict {
            Reason {
                stage: Stage::Decode,
                sqlstate: SqlState::INVALID_TEXT,
                message: reason_text(text(reason).unwrap_or_default()),
                detail: None,
                column: None,
            }
        } else {
            continue;
        };
        let reject = Reject {
            partition: row.partition,
            offset: row.offset,
            timestamp_ms: row.timestamp,
            key: rows.bytes_of(row.key),
            payload: rows.bytes_of(row.value),
            headers: text(row.headers),
            reason,
        };
        found.push((index, reject));
    }
    found
}

impl Refused {
    fn reason(&self) -> Reason<'_> {
        let Refused { error, place, .. } = self;
        Reason {
            stage: match place {
                // Integrity constraints are the table's, whatever evaluates them.
                _ if matches!(&error.sqlstate.0[..2], b"23" | b"44") => Stage::Write,
                Some(place) => place.stage,
                None => Stage::Map,
            },
            sqlstate: error.sqlstate,
            message: reason_text(&error.message),
            detail: match (error.detail.as_deref(), place.as_ref().is_some_and(|p| p.filter)) {
                (detail, false) => detail.map(reason_text),
                (None, true) => Some(Cow::Borrowed(IN_FILTER)),
                (Some(detail), true) => {
                    Some(reason_text(&format!("{IN_FILTER} {detail}")).into_owned().into())
                }
            },
            column: place.as_ref().and_then(|place| place.column.as_deref()),
        }
    }
}
