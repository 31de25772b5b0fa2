//! What the settings of retention no longer keep in gpss.batches and gpss.errors.

use crate::catalog::batches;
use crate::catalog::errors::{self, Purged};
use crate::gucs;
use crate::pg::caught;
use crate::pg::tx::tx;
use gpss_model::error::Result;

/// Deletes a portion of it; whether there may be more. Rejected messages that nobody has loaded since are
/// worth a line in the server's log.
pub fn purge() -> Result<bool> {
    if let Some(seconds) = gucs::batch_retention_seconds() {
        tx(|tx| batches::purge(tx, seconds))?;
    }
    let mut more = false;
    if let Some(seconds) = gucs::error_retention_seconds() {
        let Purged { deleted, of_them_new, .. } = tx(|tx| errors::purge(tx, seconds))?;
        if of_them_new > 0 {
            caught::log(format!(
                "gpss: gpss.error_retention has removed {deleted} rejected messages, {of_them_new} of \
                 which were new"
            ));
        }
        more |= deleted >= errors::PORTION;
    }
    if let Some(bytes) = gucs::error_bytes() {
        let Purged { discarded, .. } = tx(|tx| errors::discard(tx, bytes))?;
        if discarded > 0 {
            caught::log(format!(
                "gpss: gpss.error_size has removed the payloads of {discarded} rejected messages"
            ));
        }
        more |= discarded >= errors::PORTION;
    }
    Ok(more)
}
