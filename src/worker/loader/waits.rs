//! Partitions that cannot be read at present: the others are read on, and gpss.progress and the job's
//! status tell which wait, and why.

use super::Loader;
use crate::catalog::processes::LoaderArgs;
use crate::catalog::waiting::{self, Whose};
use crate::pg::tx::tx;
use gpss_model::error::{Error, Result};
use std::collections::BTreeMap;

impl Loader {
    /// Whose partitions this process reads.
    fn whose(&self) -> Whose {
        let LoaderArgs { job_id, run_id, slot, slots, .. } = self.args;
        Whose { job_id, run_id, slot, slots }
    }

    /// These partitions wait now, and no others.
    pub(super) fn waits(&mut self, waits: &BTreeMap<i32, Error>) -> Result<()> {
        tx(|tx| waiting::set(tx, self.whose(), waits))?;
        let waited = std::mem::replace(&mut self.waiting, summary(waits)).is_some();
        match self.waiting.clone() {
            // What failed otherwise is told until that is over.
            _ if self.retries.made() > 0 || self.load_failed => {}
            Some(error) => self.retrying(&error, None),
            None if waited => self.running()?,
            None => {}
        }
        Ok(())
    }
}

/// One error for all of them.
fn summary(waits: &BTreeMap<i32, Error>) -> Option<Error> {
    let mut error = waits.values().next()?.clone();
    let others = match waits.len() {
        1 => "The other partitions are read.".to_owned(),
        n => format!("{n} partitions wait, see gpss.progress; the others are read."),
    };
    error.detail = Some(match error.detail {
        Some(detail) => format!("{detail} {others}"),
        None => others,
    });
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_kafka::no_leader;

    #[test]
    fn the_first_partition_is_named_and_the_others_are_counted() {
        let waits = |partitions: &[i32]| {
            summary(&partitions.iter().map(|p| (*p, no_leader("t", *p))).collect())
        };
        assert_eq!(waits(&[]), None);
        let one = waits(&[1]).unwrap();
        assert_eq!(one.message, "partition 1 of Kafka topic \"t\" has no leader");
        assert_eq!(one.detail.as_deref(), Some("The other partitions are read."));
        assert!(waits(&[1, 3]).unwrap().detail.unwrap().starts_with("2 partitions wait"));
    }
}
