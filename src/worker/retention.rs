//! What the settings of retention no longer keep in gpss.batches and gpss.errors.

use crate::catalog::{batches, errors};
use crate::error::Result;
use crate::gucs;
use crate::pg::caught;
use crate::pg::tx::tx;

/// Deletes it. Rejected messages that nobody has loaded since are worth a line in the server's log.
pub fn purge() -> Result<()> {
    if let Some(seconds) = gucs::batch_retention_seconds() {
        tx(|tx| batches::purge(tx, seconds))?;
    }
    let (seconds, bytes) = (gucs::error_retention_seconds(), gucs::error_bytes());
    let purged = tx(|tx| errors::purge(tx, seconds, bytes))?;
    if purged.of_them_new > 0 {
        caught::log(format!(
            "gpss: gpss.error_retention has removed {} rejected messages, {} of which were new",
            purged.deleted, purged.of_them_new
        ));
    }
    if purged.discarded > 0 {
        caught::log(format!(
            "gpss: gpss.error_size has removed the payloads of {} rejected messages",
            purged.discarded
        ));
    }
    Ok(())
}
