//! Deployments and rollbacks, on the host that receives the request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle_contract::manifest::DeployPolicy;
use serde::{Deserialize, Serialize};

use super::topics::{Deployment, Newest, Release, Topics};
use super::watch::Notes;
use super::{DeployError, File, Fitter};
use crate::build::digest;
use crate::cluster::{HostRecord, Hosts};
use crate::lock::lock;
use crate::log::{self, LogError};
use crate::runtime::{Progress, Slot};

/// The longest wait for other hosts.
const HOSTS_WAIT: Duration = Duration::from_secs(60);
/// The interval at which their records are read.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A component of this host, as deployments see it.
pub struct Component {
    /// The slot that holds the version its workers run.
    pub slot: Arc<Slot>,
    /// Its progress.
    pub progress: Arc<Progress>,
    /// Its file on this host.
    pub file: File,
}

/// Deploys versions, rolls them back, and reports the outcome.
pub struct Deployer {
    pub(super) fitter: Fitter,
    pub(super) topics: Topics,
    pub(super) hosts: Arc<Hosts>,
    /// The components, by their names within the app.
    pub(super) components: BTreeMap<String, Component>,
    /// The policy for watching versions whose manifest has none.
    pub(super) policy: Option<DeployPolicy>,
    /// Notes for the status of this host.
    pub(super) notes: Notes,
    /// Held during a deployment or rollback: one at a time.
    deploying: Mutex<()>,
}

/// A host's response to a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs the version.
    Runs,
    /// It refused, and still runs the former version.
    Refused {
        /// The reason.
        why: String,
    },
    /// It is away: when it is back, it applies the deployment before it takes a record.
    Away,
    /// It is alive and has not responded yet.
    Silent,
}

/// The outcome of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The component.
    pub component: String,
    /// The requested version; none for each host's own file.
    pub digest: Option<String>,
    /// The version that runs afterwards. It differs from `digest` if a host refused.
    pub running: Option<String>,
    /// Each host's response.
    pub hosts: BTreeMap<String, Verdict>,
    /// Warnings about what the version leaves behind.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Returns true if a host refused, so that all hosts run the former version again.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.hosts.values().any(|verdict| matches!(verdict, Verdict::Refused { .. }))
    }
}

impl Deployer {
    /// Creates a deployer for the components of a host.
    #[must_use]
    pub fn new(
        fitter: Fitter,
        topics: Topics,
        hosts: Arc<Hosts>,
        components: BTreeMap<String, Component>,
        policy: Option<DeployPolicy>,
    ) -> Self {
        Self { fitter, topics, hosts, components, policy, notes: Notes::default(), deploying: Mutex::default() }
    }

    /// The component with this name, which may be the full name or the name within the app.
    fn find(&self, component: &str) -> Result<(&str, &Component), DeployError> {
        let bare =
            component.strip_prefix(&self.fitter.app).and_then(|rest| rest.strip_prefix('.')).unwrap_or(component);
        let found = self.components.get_key_value(bare);
        found.map(|(name, found)| (name.as_str(), found)).ok_or_else(|| DeployError::NoComponent {
            component: component.to_owned(),
            known: self.components.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Notes about the components' versions, for the operator.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The current deployment of a component, if it has one.
    ///
    /// # Errors
    /// If the component does not exist or the log cannot be read.
    pub fn deployment(&self, component: &str) -> Result<Option<Deployment>, DeployError> {
        let (name, _) = self.find(component)?;
        Ok(self.topics.newest()?.0.remove(name).and_then(|(_, deployment)| deployment))
    }

    /// Makes all hosts run this file. If one refuses, all hosts return to the former version.
    ///
    /// # Errors
    /// If the file does not fit on this host. Then the other hosts are not affected.
    pub fn deploy(&self, component: &str, file: &str, wasm: &Bytes) -> Result<Outcome, DeployError> {
        let _one_at_a_time = lock(&self.deploying);
        let (name, found) = self.find(component)?;
        let current = found.slot.current();
        let warnings = self.fitter.next(File { name: file.to_owned(), wasm: wasm.clone() }, &current)?.warnings;
        let digest = format!("sha256:{}", digest(wasm));
        let artefact = self.topics.put(&digest, wasm)?;
        let release = self.release(&digest, artefact);
        let newest = self.topics.decide(name, |before| {
            let previous = match before {
                // Deploying the same file again does not change the list of former versions.
                Some(before) if before.release.digest == digest => before.previous,
                Some(before) => std::iter::once(before.release).chain(before.previous).collect(),
                None if *current.digest == *digest => vec![],
                // The file that ran until now, so that all hosts can roll back to it.
                None => vec![self.release(&current.digest, self.topics.put(&current.digest, &current.wasm)?)],
            };
            let previous: Vec<Release> = previous;
            let previous = previous.into_iter().filter(|release| release.digest != digest).collect();
            Ok(Some(Deployment { release, previous, withdrawn: None }))
        })?;
        let hosts = self.wait(name, &newest)?;
        let mut outcome = Outcome {
            component: name.to_owned(),
            digest: Some(digest.clone()),
            running: Some(digest),
            hosts,
            warnings,
        };
        if outcome.is_withdrawn() {
            let back = self.withdraw(name, &newest, &outcome)?;
            outcome.running = back.1.map(|deployment| deployment.release.digest);
        }
        Ok(outcome)
    }

    fn release(&self, digest: &str, artefact: super::Artefact) -> Release {
        Release { digest: digest.to_owned(), at: log::now().0, host: self.hosts.me().host.clone(), artefact }
    }

    /// Rolls back after a host refused, unless a newer deployment exists by now.
    fn withdraw(&self, name: &str, newest: &Newest, outcome: &Outcome) -> Result<Newest, DeployError> {
        let refused = |(host, verdict): (&String, &Verdict)| match verdict {
            Verdict::Refused { why } => Some(format!("{host} refused it: {}", why.lines().next().unwrap_or_default())),
            _ => None,
        };
        let why = outcome.hosts.iter().filter_map(refused).collect::<Vec<_>>().join("; ");
        let back = self.topics.decide(name, |now| {
            if now != newest.1 {
                return Ok(now);
            }
            // Without a former version, each host runs its own file.
            Ok(now.and_then(|now| now.taken_back(None, &why, &self.hosts.me().host)))
        })?;
        self.wait(name, &back)?;
        Ok(back)
    }

    /// Rolls all hosts back: to the previous version, to the version `to`, or to each host's own file (`file`).
    ///
    /// # Errors
    /// If there is no such version.
    pub fn roll_back(&self, component: &str, to: Option<&str>) -> Result<Outcome, DeployError> {
        let _one_at_a_time = lock(&self.deploying);
        let (name, _) = self.find(component)?;
        let newest = self.topics.decide(name, |now| match (now, to) {
            (_, Some("file")) => Ok(None),
            (Some(now), to) => {
                let back = now.taken_back(to, "rolled back", &self.hosts.me().host);
                back.map(Some).ok_or_else(|| no_version(name, to))
            }
            (None, to) => Err(no_version(name, to)),
        })?;
        let hosts = self.wait(name, &newest)?;
        let digest = newest.1.map(|deployment| deployment.release.digest);
        Ok(Outcome { component: name.to_owned(), running: digest.clone(), digest, hosts, warnings: vec![] })
    }

    /// Collects every host's response to a decision. It waits for hosts that are alive.
    fn wait(&self, component: &str, (offset, _): &Newest) -> Result<BTreeMap<String, Verdict>, LogError> {
        let deadline = Instant::now() + HOSTS_WAIT;
        let mut there = None;
        loop {
            let hosts = self.hosts.all()?;
            let there = there.get_or_insert_with(|| self.there(&hosts));
            let said = hosts.iter().map(|host| {
                let verdict = match host.components.get(component) {
                    // This host does not have the component.
                    None => Verdict::Runs,
                    Some(runs) if runs.deployment >= offset.0 => match &runs.refused {
                        Some(why) => Verdict::Refused { why: why.clone() },
                        None => Verdict::Runs,
                    },
                    Some(_) if there.contains(&host.owner.host) => Verdict::Silent,
                    Some(_) => Verdict::Away,
                };
                (host.owner.host.clone(), verdict)
            });
            let said = said.collect::<BTreeMap<_, _>>();
            if !said.values().any(|verdict| *verdict == Verdict::Silent) || Instant::now() >= deadline {
                return Ok(said);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The hosts that are alive.
    fn there(&self, hosts: &[HostRecord]) -> Vec<String> {
        let answers = |host: &&HostRecord| self.hosts.is_alive(&host.owner);
        hosts.iter().filter(answers).map(|host| host.owner.host.clone()).collect()
    }
}

fn no_version(component: &str, to: Option<&str>) -> DeployError {
    let (what, remedy) = match to {
        None => (
            format!("there is no version of `{component}` to roll back to"),
            "deploy the version that is to run, or roll back to each host's own file: `--to file`",
        ),
        Some(to) => (
            format!("no version of `{component}` before this one has the digest `{to}`"),
            "name one that is listed there, or deploy its file",
        ),
    };
    DeployError::NoVersion { component: component.to_owned(), what, remedy: remedy.to_owned() }
}
