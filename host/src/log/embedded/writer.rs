//! Transactions without a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use heddle_core::event::NewRecord;

use super::group::MemberId;
use super::outgoing::Outgoing;
use super::shared::{Seated, Shared};
use crate::lock::lock;
use crate::log::{LogError, Writer};

/// The owner of a transactional id without a group.
pub(super) struct EmbeddedWriter {
    shared: Arc<Shared>,
    id: MemberId,
    transactional_id: String,
    /// Set by the writer that took over.
    fenced: Arc<AtomicBool>,
}

impl EmbeddedWriter {
    /// Takes over the id, and fences its owner.
    pub(super) fn take(shared: Arc<Shared>, transactional_id: &str) -> Result<Self, LogError> {
        if transactional_id.is_empty() {
            return Err(LogError::Invalid("a transactional id must not be empty".to_owned()));
        }
        let fenced = Arc::new(AtomicBool::new(false));
        let id = {
            // Each commit of the former owner is either applied before, or refused.
            let _order = shared.hold_commits();
            let mut state = lock(&shared.state);
            state.members_ever += 1;
            let id = state.members_ever;
            if let Some(old) = state.producers.get(transactional_id).copied()
                && let Some(seated) = Shared::unseat(&mut state, old, true)
                && let Some(group) = state.groups.get_mut(&seated.group)
            {
                group.leave(old);
            }
            // An empty name stands for no group.
            state
                .members
                .insert(id, Seated { group: String::new(), name: transactional_id.to_owned(), fenced: fenced.clone() });
            state.producers.insert(transactional_id.to_owned(), id);
            shared.changed.notify_all();
            id
        };
        Ok(Self { shared, id, transactional_id: transactional_id.to_owned(), fenced })
    }

    fn alive(&self) -> Result<(), LogError> {
        if self.fenced.load(Ordering::SeqCst) {
            let id = &self.transactional_id;
            return Err(LogError::Fenced(format!("another writer took over the transactional id `{id}`")));
        }
        Ok(())
    }
}

impl Writer for EmbeddedWriter {
    fn write(&mut self, records: &[NewRecord]) -> Result<(), LogError> {
        self.alive()?;
        let mut outgoing = Outgoing::default();
        for record in records {
            outgoing.add(&*self.shared.topic(&record.topic)?, record)?;
        }
        if outgoing.is_empty() {
            return Ok(());
        }
        self.shared.write(outgoing, None, || self.alive()).map(|_| ())
    }
}

impl Drop for EmbeddedWriter {
    fn drop(&mut self) {
        Shared::unseat(&mut lock(&self.shared.state), self.id, false);
    }
}
