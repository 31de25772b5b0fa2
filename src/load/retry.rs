//! Rejected messages once more, by the job's statements as they are today.

use super::salvage::{Blame, load_carefully};
use super::{Statement, rejects};
use crate::catalog::errors::{self, Recorded};
use crate::fdw::batch;
use crate::pg::tx::Tx;
use gpss_format::width;
use gpss_model::error::Result;

/// Loads recorded messages, in the transaction that notes which have been loaded and why others have
/// failed again. The number of those that have.
///
/// # Errors
/// As `load_carefully`; what makes the format's decoder.
pub fn load_again(tx: &Tx, statement: &Statement, recorded: &[Recorded]) -> Result<usize> {
    if statement.targets(tx)?.are_elsewhere() {
        tx.force_sync_commit();
    }
    let decoding = &statement.decoding;
    let mut decoder = decoding.formats.decoder_here(&decoding.needs)?;
    let messages = recorded.iter().map(Recorded::message);
    let batch = batch::decode(messages, &mut decoder, width(&decoding.needs.sides))?;
    let loaded = load_carefully(tx, statement, &batch, Blame::Internal, &mut |_| Ok(()))?;
    let failed = rejects(&batch, &loaded.refused);
    let mut good: Vec<i64> = recorded.iter().map(|r| r.id).collect();
    for (index, reject) in failed.iter().rev() {
        errors::failed_again(tx, good.remove(*index), &reject.reason)?;
    }
    errors::mark_retried(tx, &good)?;
    Ok(failed.len())
}
