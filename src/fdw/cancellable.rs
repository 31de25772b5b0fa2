//! Asking a schema registry from the main thread: the wait can be cancelled.

use crate::pg::{signals, threads};
use gpss_format::record::Fault;
use gpss_format::schema_id::SchemaId;
use gpss_format::schemas::{Registered, Schemas};
use gpss_model::error::Result;
use gpss_registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// Interval between checks for interrupts.
const LOOK: Duration = Duration::from_millis(20);

/// A registry for decoders on the main thread.
pub struct Cancellable(pub Arc<Registry>);

impl Schemas for Cancellable {
    fn schema(&self, id: SchemaId) -> Result<Arc<Registered>, Fault> {
        let registry = Arc::clone(&self.0);
        ask(&self.0, move || registry.schema(id)).unwrap_or_else(|error| Err(Fault::Failed(error)))
    }
}

/// Gives up what is being asked when the wait for it ends in an ERROR.
struct Question<'a>(Option<&'a Registry>);

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if let Some(registry) = self.0 {
            registry.close();
        }
    }
}

/// Has another thread ask. Raises: a cancel or the end of the session.
///
/// # Errors
/// No thread can be made.
pub fn ask<T: Send + 'static>(
    registry: &Registry,
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let mut thread = threads::spawn("gpss registry", question)?;
    let mut open = Question(Some(registry));
    loop {
        if let Some(answer) = thread.join(LOOK) {
            open.0 = None;
            return answer;
        }
        signals::check_for_interrupts();
    }
}
