//! Ends the transactions of hosts that were killed.
//!
//! ```text
//!  kill -9 ──session is over──> the group drops the member ──> a host that knew it takes its transactional id: aborted
//! ```
//!
//! An open transaction blocks the records behind it: changelogs that the next owner restores from, and outputs for all
//! readers. The brokers abort it up to ten seconds after `transaction.timeout.ms`. Taking its transactional id aborts
//! it at once.
//!
//! A host takes only the ids of members that the group has dropped, and only while the host is itself in the group.
//! Such a member cannot commit any more. If it still runs, it rejoins, and nothing is lost.

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

/// The interval between checks of a group's members.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The length of the suffix that [`instance_id`](super::instance_id) adds to a transactional id: a dash and 16 digits.
const TOPICS_MARK: usize = 17;

/// The transactional id of a worker. No other host has the same one.
pub(super) fn transactional_id(component: &str, host: &str, number: u32) -> String {
    format!("{component}-{host}-{number}")
}

/// The workers of one component, on all hosts.
pub(super) struct Succession {
    /// The prefix of the transactional ids of all these workers.
    all: String,
    /// The prefix of the transactional ids on this host.
    own: String,
    /// The transactional ids of other hosts that were in the group.
    known: Mutex<BTreeSet<String>>,
    /// True if the group is to be checked now.
    hurries: AtomicBool,
    watcher: OnceLock<Thread>,
}

impl Succession {
    /// Creates the succession of a component, as seen by `host`.
    pub(super) fn of(component: &str, host: &str) -> Self {
        Self {
            all: format!("{component}-"),
            own: format!("{component}-{host}-"),
            known: Mutex::default(),
            hurries: AtomicBool::new(false),
            watcher: OnceLock::new(),
        }
    }

    /// Requests a check at once. Partitions were assigned, so their former owner may be gone.
    fn hurry(&self) {
        self.hurries.store(true, Ordering::Release);
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    /// The transactional ids of other hosts that left the group. `members` are the group's current members.
    fn gone(&self, members: &[String]) -> Vec<String> {
        let ids = members.iter().filter_map(|member| transactional_id_of(member));
        let present = ids.filter(|id| id.starts_with(&self.all)).map(str::to_owned).collect::<BTreeSet<_>>();
        // A host outside of the group cannot judge which members are gone.
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

/// The transactional id in the name of one of Heddle's members.
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
    /// Makes the worker end the open transactions of hosts whose tasks it gets.
    pub(super) fn succeeding(mut self, succession: Arc<Succession>) -> Self {
        self.succession = Some(succession);
        self
    }

    /// Requests a check of the members, because partitions were assigned.
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
    fn the_transactional_id_is_part_of_the_members_name() {
        assert_eq!(transactional_id_of(&member("shop.intake-host-1-0")), Some("shop.intake-host-1-0"));
        assert_eq!(transactional_id_of(STRANGER), None);
        assert_eq!(transactional_id_of("é"), None);
    }

    #[test]
    fn only_ids_of_members_that_the_group_dropped_are_taken() {
        let succession = Succession::of("shop.intake", "a");
        let [mine, theirs] = ["a", "b"].map(|host| member(&transactional_id("shop.intake", host, 0)));
        assert_eq!(succession.gone(&[mine.clone(), theirs, STRANGER.to_owned()]), [""; 0]);
        // It does not judge which members are gone while it is not in the group.
        assert_eq!(succession.gone(&[]), [""; 0]);
        // A worker is the same member under the name that it has for other topics.
        let other_topics = "shop.intake-b-0-fedcba9876543210".to_owned();
        assert_eq!(succession.gone(&[mine.clone(), other_topics]), [""; 0]);
        assert_eq!(succession.gone(std::slice::from_ref(&mine)), ["shop.intake-b-0"]);
        succession.forget("shop.intake-b-0");
        assert_eq!(succession.gone(&[mine]), [""; 0]);
    }
}
