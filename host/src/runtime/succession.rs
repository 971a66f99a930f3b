//! Ends the transactions of hosts that were killed.
//!
//! ```text
//!  kill -9 ──session is over──> the group drops the member ──> a host that knew it takes its transactional id: aborted
//! ```
//!
//! A transaction that nobody ends holds up what is written behind it: changelogs that the heir restores from, and every
//! reader of the outputs. The brokers abort it when `transaction.timeout.ms` is over and they look, up to ten seconds
//! later. Taking the id aborts it at once.
//!
//! Only the ids of members that the group has dropped are taken, and only by a host that is in the group itself. Such a
//! member cannot commit any more, so nothing is lost if it still runs: it joins again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::progress::Progress;
use super::reload::Slot;
use super::worker::Worker;
use crate::lock::lock;
use crate::log::{Log, LogError};
use crate::shutdown::Shutdown;
use crate::telemetry::{LogUnwatched, TransactionTaken};

/// How often the members of a group are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The length of what [`instance_id`](super::instance_id) puts behind a transactional id: a dash and 16 digits.
const TOPICS_MARK: usize = 17;

/// The transactional id of a worker. It is one no other host has.
pub(super) fn transactional_id(component: &str, host: &str, number: u32) -> String {
    format!("{component}-{host}-{number}")
}

/// The workers of one component, on all hosts.
pub(super) struct Succession {
    /// What the transactional ids of all of them begin with.
    all: String,
    /// The same for those of this host.
    own: String,
    /// Those of other hosts that were in the group.
    known: Mutex<BTreeSet<String>>,
    /// Whether the group is to be looked at now.
    hurries: AtomicBool,
    watcher: OnceLock<Thread>,
}

impl Succession {
    /// Of a component, as `host` sees it.
    pub(super) fn of(component: &str, host: &str) -> Self {
        Self {
            all: format!("{component}-"),
            own: format!("{component}-{host}-"),
            known: Mutex::default(),
            hurries: AtomicBool::new(false),
            watcher: OnceLock::new(),
        }
    }

    /// Partitions were assigned: whoever had them may be gone.
    fn hurry(&self) {
        self.hurries.store(true, Ordering::Release);
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    /// The transactional ids of other hosts that left the group, which has these members now.
    fn gone(&self, members: &[String]) -> Vec<String> {
        let ids = members.iter().filter_map(|member| transactional_id_of(member));
        let present = ids.filter(|id| id.starts_with(&self.all)).map(str::to_owned).collect::<BTreeSet<_>>();
        // Whoever is not in the group does not know who is.
        if !present.iter().any(|id| id.starts_with(&self.own)) {
            return vec![];
        }
        let mut known = lock(&self.known);
        known.extend(present.iter().filter(|id| !id.starts_with(&self.own)).cloned());
        known.difference(&present).cloned().collect()
    }

    fn forget(&self, id: &str) {
        lock(&self.known).remove(id);
    }

    fn look(&self, log: &dyn Log, group: &str, progress: &Progress) -> Result<(), LogError> {
        for id in self.gone(&log.members(group)?) {
            match log.writer(&id) {
                Ok(_taken) => progress.report(TransactionTaken { group, id: &id, refused: None }),
                Err(error @ LogError::Hindered(_)) => {
                    progress.report(TransactionTaken { group, id: &id, refused: Some(&error.to_string()) });
                }
                Err(error) => return Err(error),
            }
            self.forget(&id);
        }
        Ok(())
    }
}

/// The transactional id in the name of a member of Heddle's.
fn transactional_id_of(member: &str) -> Option<&str> {
    let (id, mark) = member.split_at_checked(member.len().checked_sub(TOPICS_MARK)?)?;
    mark.strip_prefix('-').filter(|mark| mark.bytes().all(|byte| byte.is_ascii_hexdigit())).map(|_| id)
}

/// One component whose members are watched.
pub(super) struct Kin {
    pub(super) slot: Arc<Slot>,
    pub(super) succession: Arc<Succession>,
    pub(super) progress: Arc<Progress>,
}

/// Watches the members of all components until the host stops.
pub(super) fn watch(log: &dyn Log, components: &[Kin], shutdown: &Shutdown) {
    for Kin { succession, .. } in components {
        let _set_once = succession.watcher.set(thread::current());
    }
    while !shutdown.is_requested() {
        if !components.iter().any(|component| component.succession.hurries.load(Ordering::Acquire)) {
            thread::park_timeout(LOOK_EVERY);
        }
        for Kin { slot, succession, progress } in components {
            if shutdown.is_requested() {
                return;
            }
            succession.hurries.store(false, Ordering::Release);
            // Workers report a log that does not answer.
            if let Err(error) = succession.look(log, &slot.current().group(), progress) {
                progress.report(LogUnwatched { why: &error.to_string() });
            }
        }
    }
}

impl Worker {
    /// Has the transactions of those ended whose tasks it gets.
    pub(super) fn succeeding(mut self, succession: Arc<Succession>) -> Self {
        self.succession = Some(succession);
        self
    }

    /// Partitions were assigned.
    pub(super) fn succeed(&self) {
        if let Some(succession) = &self.succession {
            succession.hurry();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: &str = "console-consumer-0f8fad5b-d9cb-469f-a165-70867728950e";

    fn member(id: &str) -> String {
        format!("{id}-0123456789abcdef")
    }

    #[test]
    fn a_members_name_tells_its_transactional_id() {
        assert_eq!(transactional_id_of(&member("shop.intake-host-1-0")), Some("shop.intake-host-1-0"));
        assert_eq!(transactional_id_of(STRANGER), None);
        assert_eq!(transactional_id_of("é"), None);
    }

    #[test]
    fn only_ids_of_members_that_the_group_dropped_are_taken() {
        let succession = Succession::of("shop.intake", "a");
        let [mine, theirs] = ["a", "b"].map(|host| member(&transactional_id("shop.intake", host, 0)));
        assert_eq!(succession.gone(&[mine.clone(), theirs, STRANGER.to_owned()]), [""; 0]);
        // It does not say who is gone while it is not in the group.
        assert_eq!(succession.gone(&[]), [""; 0]);
        // The same worker with other topics is no one else.
        let other_topics = "shop.intake-b-0-fedcba9876543210".to_owned();
        assert_eq!(succession.gone(&[mine.clone(), other_topics]), [""; 0]);
        assert_eq!(succession.gone(std::slice::from_ref(&mine)), ["shop.intake-b-0"]);
        succession.forget("shop.intake-b-0");
        assert_eq!(succession.gone(&[mine]), [""; 0]);
    }
}
