//! Reading and changing the registry's topic, one host at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Record};

use super::Place;
use super::copy::{Origin, TopicCopy};
use super::records::{self, Said};
use crate::lock::lock;
use crate::log::{Log, LogError, Start, TopicId, TopicSpec, Watermarks, Writer, read_until};
use crate::registry::state::{Change, Contradiction, State, missing};
use crate::registry::storage::{ChangeError, Decide, Storage};
use crate::registry::{RegistryError, read_folder, refusal::Refusal};

/// The longest time for a change while other hosts also change the registry.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(60);
/// The longest time that another host's transaction may stay open, and that a written record may stay invisible.
const DECIDED_TIME_MAX: Duration = Duration::from_secs(10);
/// The pause before the topic is checked again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The longest pause after the first lost race against another host. It doubles each time, up to 32 times this.
const BACKOFF: Duration = Duration::from_millis(50);

/// A registry's topic.
pub struct TopicStore {
    log: Arc<dyn Log>,
    topic: String,
    copy: Option<TopicCopy>,
    link: Mutex<Link>,
}

/// The position of the state in memory.
struct Link {
    /// The identity of the topic that was read. `None` if the topic does not exist, or the log has no identities.
    id: Option<TopicId>,
    exists: bool,
    /// The offset of the next read.
    position: Offset,
    /// Present while this host, as far as it knows, was the last to take the topic's transactional id.
    writer: Option<Box<dyn Writer>>,
    /// Changes in the state that the topic lacks.
    pending: Vec<Change>,
    /// The source of the pending changes.
    source: Source,
    /// The start of the last successful refresh.
    refreshed: Option<Instant>,
    /// The end and the error of the last failed refresh.
    failed: Option<(Instant, RegistryError)>,
    copied: Option<Origin>,
}

/// The source of changes that the topic lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The folder of an earlier version.
    Before(PathBuf),
    /// The copy on disk.
    Copy(PathBuf),
    /// The memory of this process.
    Memory,
}

impl TopicStore {
    /// Reads the topic, and this host's data about it.
    pub(super) fn open(log: Arc<dyn Log>, place: Place) -> Result<(Self, State), RegistryError> {
        let Place { topic, copies, before } = place;
        let copy = copies.map(|folder| TopicCopy::new(&folder, &topic));
        let link = Link {
            id: None,
            exists: false,
            position: Offset(0),
            writer: None,
            pending: vec![],
            source: Source::Memory,
            refreshed: None,
            failed: None,
            copied: None,
        };
        let store = Self { log, topic, copy, link: Mutex::new(link) };
        let state = RwLock::default();
        {
            let mut link = lock(&store.link);
            if let Some((source, known)) = store.known(&mut link, before)? {
                link.source = source;
                *state.write().unwrap_or_else(PoisonError::into_inner) = known;
            }
            store.catch_up(&mut link, &state, false)?;
        }
        Ok((store, state.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// This host's data that the topic may lack.
    fn known(&self, link: &mut Link, before: Option<PathBuf>) -> Result<Option<(Source, State)>, RegistryError> {
        let bounds = self.bounds()?;
        if let Some(copy) = &self.copy {
            match copy.read() {
                Ok(None) => {}
                Ok(Some((origin, state))) => {
                    let id = if bounds.is_some() { self.id()? } else { None };
                    if bounds.is_some_and(|bounds| origin.is_within(id.as_ref(), bounds.end)) {
                        link.copied = Some(origin);
                        return Ok(None);
                    }
                    return Ok(Some((Source::Copy(copy.file.clone()), state)));
                }
                Err(why) if bounds.is_some_and(|bounds| bounds.end > Offset(0)) => {
                    let file = copy.file.display();
                    tracing::warn!(target: "heddle::alert", %file, %why, "ignored the unreadable copy of the registry's topic");
                    return Ok(None);
                }
                Err(why) => {
                    return Err(RegistryError::Topic {
                        topic: self.topic.clone(),
                        what: format!("is empty, and its copy cannot be read: {why}"),
                        remedy: format!(
                            "restore the topic or the file {}; if no record was ever written by the registry's ids, remove the file",
                            copy.file.display()
                        ),
                    });
                }
            }
        }
        let Some(folder) = before else { return Ok(None) };
        Ok(read_folder(&folder)?.map(|state| (Source::Before(folder), state)))
    }

    fn failed(&self, error: &LogError) -> RegistryError {
        RegistryError::Log { topic: self.topic.clone(), cause: error.to_string() }
    }

    fn wrong(&self, what: impl Into<String>, remedy: impl Into<String>) -> RegistryError {
        RegistryError::Topic { topic: self.topic.clone(), what: what.into(), remedy: remedy.into() }
    }

    /// The bounds of the topic's partition. `None` if the topic does not exist.
    fn bounds(&self) -> Result<Option<Watermarks>, RegistryError> {
        match self.log.watermarks(&self.topic) {
            Err(LogError::UnknownTopic(_)) => Ok(None),
            Err(error) => Err(self.failed(&error)),
            Ok(all) => match all.as_slice() {
                [bounds] => Ok(Some(*bounds)),
                more => Err(self.wrong(
                    format!("has {} partitions, and the registry's changes have one order", more.len()),
                    "name another topic in [registry] topic; Heddle creates it",
                )),
            },
        }
    }

    fn id(&self) -> Result<Option<TopicId>, RegistryError> {
        match self.log.topic_id(&self.topic) {
            Err(LogError::UnknownTopic(_)) => Ok(None),
            answer => answer.map_err(|error| self.failed(&error)),
        }
    }

    /// Refuses a topic whose settings would delete schemas.
    fn check_settings(&self) -> Result<(), RegistryError> {
        let policy = self.log.topic_option(&self.topic, "cleanup.policy").map_err(|error| self.failed(&error))?;
        match policy {
            Some(policy) if policy != "compact" => Err(self.wrong(
                format!("has cleanup.policy={policy}: the broker would delete schemas that records need"),
                format!(
                    "set it with `kafka-configs --alter --entity-type topics --entity-name {} --add-config cleanup.policy=compact`",
                    self.topic
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Creates the topic, unless another host has already created it.
    fn create(&self) -> Result<(), RegistryError> {
        match self.log.create_topic(&TopicSpec::compacted(self.topic.clone())) {
            Ok(()) | Err(LogError::TopicExists(_)) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Brings the state up to the topic's end. With `decided`, first waits for other hosts' open transactions.
    fn catch_up(&self, link: &mut Link, state: &RwLock<State>, decided: bool) -> Result<(), RegistryError> {
        let begun = Instant::now();
        let bounds = if decided { self.decided_bounds()? } else { self.bounds()? };
        let target = bounds.map_or(Offset(0), |bounds| bounds.high);
        let is_same = match bounds {
            None => !link.exists,
            Some(bounds) => {
                let moved = bounds.end != link.position;
                link.exists && bounds.end >= link.position && (!moved || self.id()? == link.id)
            }
        };
        if !is_same || (!link.pending.is_empty() && target > link.position) {
            self.read_again(link, state, bounds.is_some(), target)?;
        } else if target > link.position {
            let mut changes = vec![];
            let position = self.read(Start::At(link.position), target, |change| changes.push(change))?;
            let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
            changes.into_iter().for_each(|change| state.apply(change));
            link.position = position;
        }
        link.refreshed = Some(begun);
        self.keep_copy(link, state);
        Ok(())
    }

    /// The bounds of the topic once no transaction is open.
    fn decided_bounds(&self) -> Result<Option<Watermarks>, RegistryError> {
        let deadline = Instant::now() + DECIDED_TIME_MAX;
        loop {
            match self.bounds()? {
                Some(bounds) if bounds.high < bounds.end && Instant::now() < deadline => {
                    std::thread::sleep(LOOK_INTERVAL);
                }
                Some(bounds) if bounds.high < bounds.end => {
                    let why = "the transaction of another host is still open".to_owned();
                    return Err(RegistryError::Log { topic: self.topic.clone(), cause: why });
                }
                bounds => return Ok(bounds),
            }
        }
    }

    /// Reads the whole topic, because it is a different one or was never read, and compares it with the known state.
    fn read_again(
        &self,
        link: &mut Link,
        state: &RwLock<State>,
        exists: bool,
        target: Offset,
    ) -> Result<(), RegistryError> {
        let mut truth = State::default();
        let (mut position, mut id) = (Offset(0), None);
        if exists {
            self.check_settings()?;
            id = self.id()?;
            position = self.read(Start::Beginning, target, |change| truth.apply(change))?;
        }
        let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
        let pending = missing(&state, &truth).map_err(|what| self.contradiction(&link.source, &what))?;
        pending.iter().cloned().for_each(|change| truth.apply(change));
        if link.exists && link.pending.is_empty() && !pending.is_empty() {
            link.source = Source::Memory;
            tracing::error!(target: "heddle::alert", topic = %self.topic, changes = pending.len(), "the registry's topic was deleted or lost records; they are restored with the next registration or start");
        }
        if link.id != id {
            // The writer's sequence numbers belong to the deleted topic.
            link.writer = None;
        }
        *state = truth;
        link.pending = pending;
        (link.exists, link.id, link.position) = (exists, id, position);
        Ok(())
    }

    /// Passes the changes from `start` to `end` to `visit`. Returns the offset of the next read.
    fn read(&self, start: Start, end: Offset, mut visit: impl FnMut(Change)) -> Result<Offset, RegistryError> {
        let mut damage = None;
        let position = read_until(&*self.log, &self.topic, start, end, |record: Record| {
            match records::read(&record) {
                Ok(Said::Change(change)) => visit(*change),
                Ok(Said::Format) => {}
                Ok(Said::Foreign) => {
                    tracing::warn!(topic = %self.topic, offset = %record.offset, "skipped a record that is not the registry's");
                }
                Err(what) => damage = Some((record.offset, what)),
            }
            damage.is_none()
        });
        let position = position.map_err(|error| self.failed(&error))?;
        match damage {
            None => Ok(position),
            Some((offset, what)) => Err(self.wrong(
                format!("cannot be read at offset {offset}: {what}"),
                "use the version of Heddle that wrote it; or write that key's right value to the topic",
            )),
        }
    }

    fn contradiction(&self, source: &Source, what: &Contradiction) -> RegistryError {
        let (place, remedy) = match source {
            Source::Before(folder) => (
                format!("the embedded registry of this host, {}", folder.display()),
                format!(
                    "if records on this log were written by that folder's ids, give the app a separate topic, such as `[registry] topic = \"<app>.registry\"`; if none was, move the folder away: {}",
                    folder.display()
                ),
            ),
            Source::Copy(file) => (
                format!("its copy on this host, {}", file.display()),
                format!(
                    "the topic was recreated with other ids: stop the hosts that use it, delete the topic, and start this one, which restores it; or remove the copy if its ids are the wrong ones: {}",
                    file.display()
                ),
            ),
            Source::Memory => (
                "what this host read from it before".to_owned(),
                "the topic was recreated with other ids: stop the hosts that use it, delete the topic, and start this one first, which restores it from its copy".to_owned(),
            ),
        };
        self.wrong(format!("contradicts {place}: {what}"), remedy)
    }

    /// Writes the copy, if this host keeps one and the topic has the whole state.
    fn keep_copy(&self, link: &mut Link, state: &RwLock<State>) {
        let Some(copy) = self.copy.as_ref().filter(|_| link.exists && link.pending.is_empty()) else { return };
        let origin = Origin::new(link.id.as_ref(), link.position);
        if link.copied.as_ref() == Some(&origin) {
            return;
        }
        match copy.write(&origin, &state.read().unwrap_or_else(PoisonError::into_inner)) {
            Ok(()) => link.copied = Some(origin),
            Err(error) => {
                let file = copy.file.display();
                tracing::warn!(target: "heddle::alert", %file, %error, "the copy of the registry's topic was not written");
            }
        }
    }

    /// Waits until every host can read the written changes.
    fn read_back(&self, link: &mut Link, state: &RwLock<State>, written: &[Change]) -> Result<(), RegistryError> {
        let end = self.bounds()?.map_or(Offset(0), |bounds| bounds.end);
        let deadline = Instant::now() + DECIDED_TIME_MAX;
        loop {
            self.catch_up(link, state, false)?;
            let holds_all = || {
                let state = state.read().unwrap_or_else(PoisonError::into_inner);
                written.iter().all(|change| state.holds(change))
            };
            if link.position >= end || (link.pending.is_empty() && holds_all()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let cause = "what was written is not visible yet; ask again".to_owned();
                return Err(RegistryError::Log { topic: self.topic.clone(), cause });
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Logs what was moved into the topic.
    fn report_settled(&self, source: &Source, changes: &[Change]) {
        let schemas = changes.iter().filter(|change| matches!(change, Change::Schema(..))).count();
        let topic = &self.topic;
        match source {
            Source::Before(folder) => {
                let folder = folder.display();
                tracing::info!(target: "heddle::alert", %topic, schemas, %folder, "moved the embedded registry into its topic; ids are the same");
            }
            Source::Copy(file) => {
                let file = file.display();
                tracing::warn!(target: "heddle::alert", %topic, schemas, %file, "restored the registry's topic from its copy: it had been deleted or had lost records");
            }
            Source::Memory => {
                tracing::warn!(target: "heddle::alert", %topic, schemas, "restored the registry's topic from memory: it had been deleted or had lost records");
            }
        }
    }

    fn refused(&self, why: &str) -> Refusal {
        Refusal::new(42201, format!("Invalid schema: the topic `{}` does not take it: {why}", self.topic))
    }

    /// Makes one attempt at a change while `link` is locked. Returns `None` if another attempt is needed.
    fn attempt(
        &self,
        link: &mut Link,
        state: &RwLock<State>,
        decide: &mut Decide<'_>,
        fresh: &mut bool,
    ) -> Result<Option<()>, ChangeError> {
        self.catch_up(link, state, std::mem::take(fresh))?;
        let changes = decide(&state.read().unwrap_or_else(PoisonError::into_inner))?;
        if changes.is_empty() && link.pending.is_empty() {
            return Ok(Some(()));
        }
        if !link.exists {
            self.create()?;
            return Ok(None);
        }
        let Some(writer) = &mut link.writer else {
            match self.log.writer(&self.topic) {
                Ok(writer) => (link.writer, *fresh) = (Some(writer), true),
                Err(LogError::Fenced(_)) => back_off(0),
                Err(error) => return Err(self.failed(&error).into()),
            }
            return Ok(None);
        };
        let (settled, source) = (link.pending.clone(), link.source.clone());
        let all = [settled.as_slice(), &changes].concat();
        match writer.write(&records::of(&self.topic, &all, link.position == Offset(0))) {
            Ok(()) => {
                self.read_back(link, state, &all)?;
                if !settled.is_empty() {
                    self.report_settled(&source, &settled);
                }
                Ok(Some(()))
            }
            Err(error) => {
                link.writer = None;
                match error {
                    LogError::RecordRefused(why) => Err(self.refused(&why).into()),
                    LogError::Fenced(_) | LogError::CommitUnknown(_) | LogError::Abort(_) => Ok(None),
                    error => Err(self.failed(&error).into()),
                }
            }
        }
    }
}

impl Storage for TopicStore {
    fn refresh(&self, state: &RwLock<State>, age_max: Duration) -> Result<(), RegistryError> {
        let asked = Instant::now();
        let mut link = lock(&self.link);
        // Another thread may have refreshed while this one waited for the lock.
        if link.refreshed.is_some_and(|begun| begun >= asked || begun.elapsed() < age_max) {
            return Ok(());
        }
        if let Some((ended, error)) = &link.failed
            && *ended >= asked
        {
            return Err(error.clone());
        }
        let looked = self.catch_up(&mut link, state, false);
        link.failed = looked.as_ref().err().map(|error| (Instant::now(), error.clone()));
        looked
    }

    fn change(&self, state: &RwLock<State>, decide: &mut Decide<'_>) -> Result<(), ChangeError> {
        let mut link = lock(&self.link);
        let deadline = Instant::now() + CHANGE_TIME_MAX;
        let (mut fresh, mut lost) = (false, 0);
        loop {
            let had_writer = link.writer.is_some();
            if self.attempt(&mut link, state, decide, &mut fresh)?.is_some() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let cause = "other hosts keep changing it; ask again".to_owned();
                return Err(RegistryError::Log { topic: self.topic.clone(), cause }.into());
            }
            if had_writer && link.writer.is_none() {
                back_off(lost);
                lost += 1;
            }
        }
    }

    fn place(&self) -> String {
        format!("the topic `{}`", self.topic)
    }
}

/// Lets the faster host finish: exponential back-off with jitter.
fn back_off(lost: u32) {
    let most = u64::try_from(BACKOFF.as_millis()).unwrap_or(50) << lost.min(5);
    let part = u64::from(uuid::Uuid::new_v4().as_fields().0) % most.max(1);
    std::thread::sleep(Duration::from_millis(part));
}
