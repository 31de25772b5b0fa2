//! The next messages of a topic, read in a user's session: to be looked at, not loaded.

use super::batch::{Batch, Part};
use super::needs::Needs;
use super::source::TopicOptions;
use super::topic_scan::TopicScan;
use crate::pg::fdw::Table;
use gpss_model::error::Result;
use gpss_model::reset::Reset;
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// At most `count` messages, each as a batch of its own, from `next` on, or from the oldest one where
/// it says nothing or its offset is gone; fewer when the topic ends before.
///
/// # Errors
/// As a scan of the table; what the `reset` names is not there.
pub fn take(
    table: &Table,
    user: Oid,
    (next, reset): (&BTreeMap<i32, i64>, Option<&Reset>),
    needs: &Needs,
    count: usize,
) -> Result<Vec<Rc<Batch>>> {
    let source = TopicOptions::of(table)?;
    let mut scan = TopicScan::new(table, &source, user, needs.clone()).starting_at(next, reset);
    let mut messages = vec![];
    while messages.len() < count
        && let Some(index) = scan.next(&[], &mut |_| {})?
    {
        let Some(rows) = scan.block() else { break };
        let mut message = Batch::default();
        message.take(&mut Part { rows: Arc::clone(rows), range: index..index + 1 }, 1);
        messages.push(Rc::new(message));
    }
    Ok(messages)
}
