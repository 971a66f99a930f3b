//! The topics of deployments:
//!
//! ```text
//!  <app>.deployments   compacted; key <component>; value {"digest":…,"at":…,"host":…,"artefact":{…},
//!                                                         "previous":[…],"withdrawn":{…}}
//!  <app>.artefacts     compacted; key <digest>/<n>; value the n-th 512 KiB of the file
//! ```
//!
//! Both have one partition. An artefact is written before the record that names it. If a component has no record, each
//! host runs its own file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use heddle_core::event::{NewRecord, Offset, Record, Timestamp};
use serde::{Deserialize, Serialize};

use super::DeployError;
use crate::build::digest;
use crate::log::{self, Log, LogError, Start, TopicSpec, read_whole};

/// The size of a chunk of an artefact. With its key it is smaller than the default record bound of any broker.
const CHUNK_BYTES: usize = 512 << 10;
/// The longest time between the write of a record and its visibility.
const SEEN_WAIT: Duration = Duration::from_secs(10);
/// The interval at which the record is looked for.
const SEEN_LOOK: Duration = Duration::from_millis(20);
/// The number of former versions that are kept for rollbacks.
const PREVIOUS_MAX: usize = 10;

/// The place of a file in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// The offset of its first chunk.
    pub offset: i64,
    /// Its size.
    pub bytes: u64,
}

impl Artefact {
    fn chunks(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).div_ceil(CHUNK_BYTES)
    }
}

/// A version that all hosts ran, and can run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The identity of the version: `sha256:` and the digest of its file.
    pub digest: String,
    /// The time of its deployment, in milliseconds since 1970.
    pub at: i64,
    /// The host that received the request.
    pub host: String,
    /// The place of its file.
    pub artefact: Artefact,
}

/// A version that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The version.
    #[serde(flatten)]
    pub release: Release,
    /// The reason.
    pub why: String,
}

/// The version of a component that all hosts run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The version.
    #[serde(flatten)]
    pub release: Release,
    /// The versions before it, the newest first.
    pub previous: Vec<Release>,
    /// The version that it replaced, if that one was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

impl Deployment {
    /// All versions available for a rollback, the newest first.
    pub fn history(&self) -> impl Iterator<Item = &Release> {
        self.withdrawn.iter().map(|withdrawn| &withdrawn.release).chain(&self.previous)
    }

    /// Returns the deployment after a rollback of this one, to `to` or to the previous version. Returns `None` if there
    /// is no such version.
    #[must_use]
    pub fn taken_back(&self, to: Option<&str>, why: &str, host: &str) -> Option<Self> {
        let is_it = |release: &&Release| matches_digest(&release.digest, to.unwrap_or_default());
        let target = match to {
            None => self.previous.first(),
            Some(_) => self.history().find(is_it),
        }?;
        let release = Release { at: log::now().0, host: host.to_owned(), ..target.clone() };
        let Some(place) = self.previous.iter().position(|release| release.digest == target.digest) else {
            // Returns forward to the version that had been rolled back.
            let previous = std::iter::once(&self.release).chain(&self.previous).cloned().collect();
            return Some(Self { release, previous, withdrawn: None });
        };
        let withdrawn = Some(Withdrawn { release: self.release.clone(), why: why.to_owned() });
        Some(Self { release, previous: self.previous[place + 1..].to_vec(), withdrawn })
    }
}

/// Returns true if `written` is a prefix of `digest`, with or without `sha256:`.
#[must_use]
pub fn matches_digest(digest: &str, written: &str) -> bool {
    let bare = |text: &str| text.trim_start_matches("sha256:").trim_end_matches('…').to_owned();
    bare(digest).starts_with(&bare(written))
}

/// The short form of a digest for users.
#[must_use]
pub fn short(digest: &str) -> &str {
    let bare = digest.trim_start_matches("sha256:");
    bare.get(..12).unwrap_or(bare)
}

/// The two topics.
pub struct Topics {
    log: Arc<dyn Log>,
    deployments: String,
    artefacts: String,
}

/// A component's newest record and its offset. Without a deployment, each host runs its own file.
pub type Newest = (Offset, Option<Deployment>);

impl Topics {
    /// The specifications of the topics.
    #[must_use]
    pub fn specs(app: &str) -> [TopicSpec; 2] {
        [deployments_topic(app), artefacts_topic(app)].map(TopicSpec::compacted)
    }

    /// The topics of `app`, which must exist.
    #[must_use]
    pub fn of(log: Arc<dyn Log>, app: &str) -> Self {
        Self { log, deployments: deployments_topic(app), artefacts: artefacts_topic(app) }
    }

    /// The topics of `app`, if they exist.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn there(log: Arc<dyn Log>, app: &str) -> Result<Option<Self>, LogError> {
        let topics = Self::of(log, app);
        let there = topics.log.topics()?.iter().any(|topic| topic.name == topics.deployments);
        Ok(there.then_some(topics))
    }

    /// The newest record of each component, and the offset of the next record.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn newest(&self) -> Result<(BTreeMap<String, Newest>, Offset), LogError> {
        let mut newest = BTreeMap::new();
        let end = read_whole(&*self.log, &self.deployments, Start::Beginning, |record| {
            newest.extend(read(&record).map(|(component, deployment)| (component, (record.offset, deployment))));
            true
        })?;
        Ok((newest, end))
    }

    pub(super) fn name(&self) -> &str {
        &self.deployments
    }

    /// Writes a file, so that a record may name it afterwards.
    pub(super) fn put(&self, digest: &str, wasm: &Bytes) -> Result<Artefact, LogError> {
        let chunks = wasm.chunks(CHUNK_BYTES).enumerate();
        let records = chunks.map(|(number, chunk)| self.chunk(digest, number, Some(wasm.slice_ref(chunk))));
        let places = self.log.append(&records.collect::<Vec<_>>())?;
        let offset = places.iter().map(|(_, offset)| offset.0).min().unwrap_or(0);
        Ok(Artefact { offset, bytes: wasm.len() as u64 })
    }

    fn chunk(&self, digest: &str, number: usize, value: Option<Bytes>) -> NewRecord {
        NewRecord {
            topic: self.artefacts.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(format!("{digest}/{number}").into()),
            value,
            headers: vec![],
        }
    }

    /// Reads a file and verifies its digest.
    ///
    /// # Errors
    /// If the log cannot be read, or does not have the whole file.
    pub fn get(&self, release: &Release) -> Result<Bytes, DeployError> {
        let Release { digest: wanted, artefact, .. } = release;
        let mut chunks = vec![None; artefact.chunks()];
        let mut left = chunks.len();
        let start = Start::At(Offset(artefact.offset));
        read_whole(&*self.log, &self.artefacts, start, |record| {
            let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
            let number =
                key.and_then(|key| key.strip_prefix(wanted.as_str())?.strip_prefix('/')?.parse::<usize>().ok());
            if let (Some(chunk), Some(value)) = (number.and_then(|number| chunks.get_mut(number)), record.value) {
                left -= usize::from(chunk.replace(value).is_none());
            }
            left > 0
        })?;
        let mut wasm = BytesMut::with_capacity(usize::try_from(artefact.bytes).unwrap_or(0));
        chunks.into_iter().flatten().for_each(|chunk| wasm.extend_from_slice(&chunk));
        let wasm = wasm.freeze();
        let found = format!("sha256:{}", digest(&wasm));
        if found != *wanted {
            return Err(DeployError::Artefact {
                digest: wanted.clone(),
                topic: self.artefacts.clone(),
                what: format!("{left} chunks are missing, and what is there has the digest {found}"),
            });
        }
        Ok(wasm)
    }

    /// Decides the version that all hosts run: `decide` receives the current deployment. If several hosts decide at the
    /// same time, one succeeds. Returns the new record and its offset.
    pub(super) fn decide(
        &self,
        component: &str,
        decide: impl FnOnce(Option<Deployment>) -> Result<Option<Deployment>, DeployError>,
    ) -> Result<Newest, DeployError> {
        let busy = |error| match error {
            LogError::Fenced(_) => DeployError::Busy { component: component.to_owned() },
            other => other.into(),
        };
        // The former writer is fenced and its transactions are decided, so the state read now is final.
        let mut writer = self.log.writer(&self.deployments)?;
        let (mut before, next) = self.newest()?;
        let before = before.remove(component).and_then(|(_, deployment)| deployment);
        let gone = before.as_ref().map(|before| before.history().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let mut deployment = decide(before)?;
        if let Some(deployment) = &mut deployment {
            deployment.previous.truncate(PREVIOUS_MAX);
        }
        let value = deployment.as_ref().map(serde_json::to_vec).transpose();
        let mut records = vec![NewRecord {
            topic: self.deployments.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(Bytes::copy_from_slice(component.as_bytes())),
            value: value.map_err(|e| LogError::Invalid(e.to_string()))?.map(Bytes::from),
            headers: vec![],
        }];
        // Files that no record names are deleted.
        if let Some(now) = &deployment {
            let kept = |release: &Release| {
                now.release.digest == release.digest || now.history().any(|kept| kept.digest == release.digest)
            };
            for release in gone.iter().filter(|release| !kept(release)) {
                records.extend((0..release.artefact.chunks()).map(|number| self.chunk(&release.digest, number, None)));
            }
        }
        writer.write(&records).map_err(busy)?;
        drop(writer);
        self.written(component, next)
    }

    /// Waits for the record that was written at `from` or after it. A broker confirms a commit before readers can see
    /// the transaction.
    fn written(&self, component: &str, from: Offset) -> Result<Newest, DeployError> {
        let deadline = Instant::now() + SEEN_WAIT;
        loop {
            let newest = self.newest()?.0.remove(component);
            if let Some(newest) = newest.filter(|(offset, _)| *offset >= from) {
                return Ok(newest);
            }
            if Instant::now() > deadline {
                let why = format!("a record that was just written to `{}` cannot be read", self.deployments);
                return Err(LogError::Unreachable(why).into());
            }
            std::thread::sleep(SEEN_LOOK);
        }
    }
}

/// The name of the topic that holds the deployments.
#[must_use]
pub fn deployments_topic(app: &str) -> String {
    format!("{app}.deployments")
}

/// The name of the topic that holds the files.
#[must_use]
pub fn artefacts_topic(app: &str) -> String {
    format!("{app}.artefacts")
}

/// The component and the deployment in a record. Records that are not valid are skipped.
pub(super) fn read(record: &Record) -> Option<(String, Option<Deployment>)> {
    let component = std::str::from_utf8(record.key.as_deref()?).ok()?.to_owned();
    let Some(value) = &record.value else { return Some((component, None)) };
    match serde_json::from_slice(value) {
        Ok(deployment) => Some((component, Some(deployment))),
        Err(error) => {
            tracing::error!(%component, offset = %record.offset, %error, "a record of a deployment cannot be read");
            None
        }
    }
}

/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// The time in a form for users.
#[must_use]
pub fn time(at: Timestamp) -> String {
    // Later years than 9999 cannot be written so.
    let since = Duration::from_millis(at.0.clamp(0, LAST_MS).cast_unsigned());
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_shown() {
        assert_eq!(time(Timestamp(i64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(time(Timestamp(i64::MIN)), "1970-01-01T00:00:00Z");
    }

    fn release(name: &str) -> Release {
        let artefact = Artefact { offset: 7, bytes: 1 };
        Release { digest: format!("sha256:{name}"), at: 1, host: "a".into(), artefact }
    }

    fn names<'r>(releases: impl IntoIterator<Item = &'r Release>) -> String {
        releases.into_iter().map(|r| r.digest.trim_start_matches("sha256:")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_rollback_takes_the_previous_or_any_known_version() {
        let previous = ["c3", "b2", "a1"].map(release).to_vec();
        let now = Deployment { release: release("d4"), previous, withdrawn: None };
        let back = now.taken_back(None, "because", "b").unwrap();
        assert_eq!((names([&back.release]), names(&back.previous)), ("c3".into(), "b2 a1".into()));
        assert_eq!(
            back.withdrawn.as_ref().map(|w| (names([&w.release]), w.why.as_str())),
            Some(("d4".into(), "because"))
        );
        let further = now.taken_back(Some("b"), "", "b").unwrap();
        assert_eq!((names([&further.release]), names(&further.previous)), ("b2".into(), "a1".into()));
        // A rolled-back version runs again only if the rollback names it.
        let forward = back.taken_back(Some("sha256:d4"), "", "b").unwrap();
        assert_eq!((names([&forward.release]), names(&forward.previous)), ("d4".into(), "c3 b2 a1".into()));
        assert_eq!(names([&back.taken_back(None, "", "b").unwrap().release]), "b2");
        assert_eq!(now.taken_back(Some("e"), "", "b"), None);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let now = Deployment { release: release("d4"), previous: vec![release("a1")], withdrawn: None }
            .taken_back(None, "why", "b")
            .unwrap();
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Deployment>(&text).unwrap(), now, "{text}");
    }
}
