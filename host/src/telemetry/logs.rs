//! Writes the log lines of events.

use super::limit::Limits;
use super::{Event, Observer};

/// Writes the log line of each event, and limits lines that repeat.
#[derive(Default)]
pub struct Logs(Limits);

impl Observer for Logs {
    fn observe(&self, component: &str, event: &Event<'_>) {
        event.log(component, &self.0);
    }
}
