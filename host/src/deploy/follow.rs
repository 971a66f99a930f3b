//! Applies the deployments in the log on a host: before it takes its first record, and from then on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, TopicPartition};
use heddle_core::explain::{Explain as _, to_text};

use super::topics::{Deployment, Newest, Topics, read, short, time};
use super::watch::{Looked, Watch};
use super::{DeployError, Deployer, File, FitError};
use crate::cluster::Runs;
use crate::log::{LogError, Reader, Start as From};
use crate::runtime::Slot;
use crate::shutdown::Shutdown;

/// The longest wait of one poll of the topic.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The pause after the log or the registry did not answer.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// The longest wait for the workers to switch version. A worker that is joining its group switches after that.
const SETTLE_WAIT: Duration = Duration::from_secs(10);
/// The interval at which the workers are checked.
const SETTLE_LOOK: Duration = Duration::from_millis(2);

/// The deployments in the log when a host starts.
#[derive(Default)]
pub struct Start {
    newest: BTreeMap<String, Newest>,
    next: Option<Offset>,
}

impl Start {
    /// Reads them.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read(topics: &Topics) -> Result<Self, DeployError> {
        let (newest, next) = topics.newest()?;
        Ok(Self { newest, next: Some(next) })
    }

    /// Returns the file with which a component must start, with a message, or `None` if that is this host's own file.
    ///
    /// # Errors
    /// If the log does not have the file.
    pub fn file(&self, topics: &Topics, component: &str, own: &File) -> Result<Option<(File, String)>, DeployError> {
        let Some((_, Some(deployment))) = self.newest.get(component) else { return Ok(None) };
        let release = &deployment.release;
        let wasm = topics.get(release)?;
        if wasm == own.wasm {
            return Ok(None);
        }
        let (digest, at) = (short(&release.digest), time(heddle_core::event::Timestamp(release.at)));
        let told = format!(
            "{component}: runs {digest}, deployed {at}, not {}; `heddle rollback {component} --to file` goes back to the file",
            own.name
        );
        Ok(Some((File { name: format!("{component} {digest}, deployed {at}"), wasm }, told)))
    }
}

/// Starts a thread that applies all deployments from `start` on, until the host stops.
///
/// # Errors
/// If no thread can be started.
pub fn follow(deployer: Arc<Deployer>, start: &Start, shutdown: Shutdown) -> std::io::Result<JoinHandle<()>> {
    let next = start.next.unwrap_or(Offset(0));
    let mut follower = Follower { deployer, reader: None, next, said: BTreeMap::new(), watches: BTreeMap::new() };
    for (name, component) in &follower.deployer.components {
        let deployment = start.newest.get(name).map_or(-1, |(offset, _)| offset.0);
        let digest = component.slot.current().digest.to_string();
        follower.said.insert(name.clone(), Runs { digest, deployment, refused: None });
    }
    std::thread::Builder::new().name("deployments".to_owned()).spawn(move || follower.run(&shutdown))
}

struct Follower {
    deployer: Arc<Deployer>,
    reader: Option<Box<dyn Reader>>,
    next: Offset,
    said: BTreeMap<String, Runs>,
    watches: BTreeMap<String, Watch>,
}

impl Follower {
    fn run(mut self, shutdown: &Shutdown) {
        let mut told = self.tell();
        while !shutdown.is_requested() {
            told = told.and_then(|()| self.look());
            if let Err(error) = told {
                tracing::warn!(%error, "deployments are not followed until the log answers");
                // Deployments that were not applied are read again.
                self.reader = None;
                shutdown.sleep(RETRY_WAIT);
                told = self.tell();
            } else {
                self.watch();
            }
        }
        if let Err(error) = self.deployer.hosts.withdraw() {
            tracing::warn!(%error, "the end of this host was not published to other hosts");
        }
    }

    fn tell(&self) -> Result<(), LogError> {
        self.deployer.hosts.publish_versions(self.said.clone())
    }

    fn look(&mut self) -> Result<(), LogError> {
        let topic = self.deployer.topics.name();
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let from = (TopicPartition::new(topic, 0), From::At(self.next));
                self.reader.insert(self.deployer.fitter.log.reader(&[from])?)
            }
        };
        for record in reader.poll(POLL_WAIT)? {
            if let Some((component, deployment)) = read(&record) {
                self.take(&component, record.offset, deployment.as_ref())?;
            }
            self.next = record.offset.next();
        }
        Ok(())
    }

    /// Applies a deployment record, or records the reason for a refusal. An error means that the log or the registry
    /// did not answer; then the record must be taken again.
    fn take(&mut self, component: &str, offset: Offset, deployment: Option<&Deployment>) -> Result<(), LogError> {
        let deployer = self.deployer.clone();
        let Some(found) = deployer.components.get(component) else { return Ok(()) };
        self.watches.remove(component);
        let refused = match self.switch(component, deployment) {
            Ok(()) => None,
            Err(DeployError::Log(error)) => return Err(error),
            Err(DeployError::Fit(FitError::Log(error) | FitError::Topic { cause: error, .. })) => return Err(error),
            Err(DeployError::Fit(FitError::Registry(error))) => return Err(LogError::Unreachable(error.to_string())),
            Err(error) => Some(error),
        };
        let wanted = deployment.map_or("its own file", |d| short(&d.release.digest));
        let note = match (&refused, deployment.and_then(|d| d.withdrawn.as_ref())) {
            (Some(error), _) => Some(format!("{wanted} was refused: {error}")),
            (None, Some(back)) => Some(format!("{} was rolled back: {}", short(&back.release.digest), back.why)),
            (None, None) => None,
        };
        if let Some(error) = &refused {
            let (running, at, hint) = (found.slot.current().digest.clone(), error.place(), error.remedy());
            tracing::error!(%component, version = wanted, running = short(&running), %error, at, hint, "refused a version");
        }
        deployer.notes.set(component, note);
        let digest = found.slot.current().digest.to_string();
        let refused = refused.as_ref().map(|error| to_text(error));
        self.said.insert(component.to_owned(), Runs { digest, deployment: offset.0, refused });
        self.tell()
    }

    fn switch(&mut self, component: &str, deployment: Option<&Deployment>) -> Result<(), DeployError> {
        let deployer = self.deployer.clone();
        let Some(found) = deployer.components.get(component) else { return Ok(()) };
        let current = found.slot.current();
        let file = match deployment {
            Some(deployment) if *current.digest == *deployment.release.digest => return Ok(()),
            Some(deployment) => File {
                name: format!("{component} {}", short(&deployment.release.digest)),
                wasm: deployer.topics.get(&deployment.release)?,
            },
            None if current.wasm == found.file.wasm => return Ok(()),
            None => File { name: found.file.name.clone(), wasm: found.file.wasm.clone() },
        };
        let version = deployer.fitter.next(file, &current)?.version;
        tracing::info!(%component, digest = %version.digest, "switching version");
        let policy = version.component.manifest().deploy.or(deployer.policy);
        found.slot.swap(version);
        settle(&found.slot);
        if let (Some(policy), Some(deployment)) = (policy, deployment)
            && !deployment.previous.is_empty()
            && deployment.withdrawn.is_none()
        {
            let watch = Watch::begin(&deployment.release.digest, policy, found.progress.snapshot());
            self.watches.insert(component.to_owned(), watch);
        }
        Ok(())
    }

    /// Rolls back watched versions that fail too often.
    fn watch(&mut self) {
        let deployer = self.deployer.clone();
        let mut over = vec![];
        for (name, watch) in &self.watches {
            let Some(found) = deployer.components.get(name) else { continue };
            match watch.look(&found.progress.snapshot()) {
                Looked::Open => continue,
                Looked::Good => {}
                Looked::Fails(why) => match roll_back(&deployer, name, &watch.digest, &why) {
                    Ok(true) => {
                        deployer.notes.rolled_back(name);
                        tracing::error!(component = %name, version = short(&watch.digest), %why, "rolled back a version");
                    }
                    Ok(false) => {}
                    Err(error) => {
                        tracing::error!(component = %name, version = short(&watch.digest), %error, "a failing version cannot be rolled back yet");
                        continue;
                    }
                },
            }
            over.push(name.clone());
        }
        over.iter().for_each(|name| drop(self.watches.remove(name)));
    }
}

/// Rolls a version back. Returns true if this host wrote the rollback, and not another one. The follower applies that
/// record like any other.
fn roll_back(deployer: &Deployer, component: &str, digest: &str, why: &str) -> Result<bool, DeployError> {
    let mut taken = false;
    deployer.topics.decide(component, |now| {
        let back = now.as_ref().filter(|now| now.release.digest == digest && now.withdrawn.is_none());
        let back = back.and_then(|now| now.taken_back(None, why, &deployer.hosts.me().host));
        taken = back.is_some();
        Ok(back.or(now))
    })?;
    Ok(taken)
}

/// Waits until the workers run the version of the slot.
pub(crate) fn settle(slot: &Slot) {
    let deadline = Instant::now() + SETTLE_WAIT;
    while !slot.is_settled() && Instant::now() < deadline {
        std::thread::sleep(SETTLE_LOOK);
    }
}
