//! Deploying and taking back, on the host that was asked to.

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

/// How long other hosts are waited for.
const HOSTS_WAIT: Duration = Duration::from_secs(60);
/// How often what they say is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A component of this host, as deployments see it.
pub struct Component {
    /// What its workers run.
    pub slot: Arc<Slot>,
    /// What it did so far.
    pub progress: Arc<Progress>,
    /// Its file on this host.
    pub file: File,
}

/// Deploys, takes back, and knows what came of it.
pub struct Deployer {
    pub(super) fitter: Fitter,
    pub(super) topics: Topics,
    pub(super) hosts: Arc<Hosts>,
    /// By the names of the components within the app.
    pub(super) components: BTreeMap<String, Component>,
    /// How a version is watched whose own manifest does not say.
    pub(super) policy: Option<DeployPolicy>,
    /// What a person who asks for the status should know.
    pub(super) notes: Notes,
    /// One at a time.
    deploying: Mutex<()>,
}

/// What a host says to a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs the version.
    Runs,
    /// It does not, and runs what it ran before.
    Refused {
        /// Why.
        why: String,
    },
    /// It is not there: it takes the deployment before it takes a record, when it is back.
    Away,
    /// It is there, and has not said anything yet.
    Silent,
}

/// What came of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The component.
    pub component: String,
    /// The version that was asked for; none for each host's own file.
    pub digest: Option<String>,
    /// The version that runs after all: another one if a host refused.
    pub running: Option<String>,
    /// What each host says.
    pub hosts: BTreeMap<String, Verdict>,
    /// What the version leaves behind.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Whether a host refused, so that all are back at what they ran before.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.hosts.values().any(|verdict| matches!(verdict, Verdict::Refused { .. }))
    }
}

impl Deployer {
    /// What decides about the components of a host.
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

    /// The component of that name, full or within the app.
    fn find(&self, component: &str) -> Result<(&str, &Component), DeployError> {
        let bare =
            component.strip_prefix(&self.fitter.app).and_then(|rest| rest.strip_prefix('.')).unwrap_or(component);
        let found = self.components.get_key_value(bare);
        found.map(|(name, found)| (name.as_str(), found)).ok_or_else(|| DeployError::NoComponent {
            component: component.to_owned(),
            known: self.components.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// What a person should know about a component's versions.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The deployment that holds for a component, if there is one.
    ///
    /// # Errors
    /// If the log does not tell.
    pub fn deployment(&self, component: &str) -> Result<Option<Deployment>, DeployError> {
        let (name, _) = self.find(component)?;
        Ok(self.topics.newest()?.0.remove(name).and_then(|(_, deployment)| deployment))
    }

    /// Makes all hosts run this file. One that refuses brings all back to what they ran before.
    ///
    /// # Errors
    /// If it does not fit here: then no other host hears of it.
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
                // The same again changes nothing for the versions before it.
                Some(before) if before.release.digest == digest => before.previous,
                Some(before) => std::iter::once(before.release).chain(before.previous).collect(),
                None if *current.digest == *digest => vec![],
                // The file that ran until now, so that all hosts can go back to it.
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

    /// A host refused: what was written is taken back, unless something newer holds by now.
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
            // Without a version before it, each host's own file.
            Ok(now.and_then(|now| now.taken_back(None, &why, &self.hosts.me().host)))
        })?;
        self.wait(name, &back)?;
        Ok(back)
    }

    /// Makes all hosts run the version before, or the one that `to` names, or each its own file (`file`).
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

    /// What every host says to a decision: those that are there are waited for.
    fn wait(&self, component: &str, (offset, _): &Newest) -> Result<BTreeMap<String, Verdict>, LogError> {
        let deadline = Instant::now() + HOSTS_WAIT;
        let mut there = None;
        loop {
            let hosts = self.hosts.all()?;
            let there = there.get_or_insert_with(|| self.there(&hosts));
            let said = hosts.iter().map(|host| {
                let verdict = match host.components.get(component) {
                    // It has no such component.
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

    /// The hosts that answer.
    fn there(&self, hosts: &[HostRecord]) -> Vec<String> {
        let answers = |host: &&HostRecord| self.hosts.is_alive(&host.owner);
        hosts.iter().filter(answers).map(|host| host.owner.host.clone()).collect()
    }
}

fn no_version(component: &str, to: Option<&str>) -> DeployError {
    let (what, remedy) = match to {
        None => (
            format!("there is no version of `{component}` to go back to"),
            "deploy the version that is to run, or go back to each host's own file: `--to file`",
        ),
        Some(to) => (
            format!("no version of `{component}` before this one has the digest `{to}`"),
            "name one that is listed there, or deploy its file",
        ),
    };
    DeployError::NoVersion { component: component.to_owned(), what, remedy: remedy.to_owned() }
}
