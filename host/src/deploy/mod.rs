//! Versions of components: deployment to all hosts, and rollback of versions that fail.
//!
//! ```text
//!  heddle deploy ──POST──> Deployer ──> artefact, then record ──> <app>.deployments ──> every host's follower
//!                             │                                                            │ fetch, verify, fit
//!                             └── waits for every host's response <──── <app>.hosts <──────┴ swap, or refuse
//! ```
//!
//! The record is the truth. A host reads it first when it starts, and a host that refuses it keeps its running version.

mod changes;
mod deployer;
mod evidence;
mod fit;
mod follow;
mod limits;
mod roles;
mod tables;
mod topics;
mod watch;

pub use deployer::{Component, Deployer, Outcome, Verdict};
pub use evidence::contradictions;
pub use fit::{File, FitError, Fitted, Fitter, create, topic_troubles};
pub(crate) use follow::settle;
pub use follow::{Start, follow};
pub use roles::conflicts;
pub use tables::{short_lived_tables, untyped_table_keys};
pub use topics::{Artefact, Deployment, Newest, Release, Topics, Withdrawn, artefacts_topic, deployments_topic};
pub use topics::{matches_digest, short, time};
pub use watch::Notes;

use heddle_core::explain::{Explain, Explained};
use thiserror::Error;

use crate::log::LogError;

/// The reason why a version was not deployed or not rolled back.
#[derive(Debug, Error)]
pub enum DeployError {
    /// The version does not fit.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// This host has no such component.
    #[error("the app has no component `{component}`")]
    NoComponent {
        /// The requested component.
        component: String,
        /// The existing components.
        known: String,
    },
    /// The log does not have the file that a deployment names.
    #[error("the file of the version {digest} is not in the log: {what}")]
    Artefact {
        /// The version.
        digest: String,
        /// The topic.
        topic: String,
        /// The fault.
        what: String,
    },
    /// Another host is deploying at the same time.
    #[error("another version of `{component}` is being deployed")]
    Busy {
        /// The component.
        component: String,
    },
    /// There is no version to roll back to.
    #[error("{what}")]
    NoVersion {
        /// The component.
        component: String,
        /// The request.
        what: String,
        /// The remedy.
        remedy: String,
    },
    /// The host runs the app's sources, without deployments.
    #[error("this host runs the sources of the app, not deployments")]
    Dev,
}

impl Explain for DeployError {
    fn place(&self) -> Option<String> {
        Some(match self {
            Self::Fit(error) => return error.place(),
            Self::Log(error) => return error.place(),
            Self::NoComponent { .. } => "[app] components in heddle.toml".to_owned(),
            Self::Artefact { topic, .. } => format!("the topic `{topic}`"),
            Self::Busy { .. } => "another host of this app".to_owned(),
            Self::NoVersion { component, .. } => format!("`heddle deployments {component}`"),
            Self::Dev => "`heddle dev`".to_owned(),
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Fit(error) => return error.remedy(),
            Self::Log(error) => return error.remedy(),
            Self::NoComponent { known, .. } => {
                format!("name one of: {known}; a new component needs a restart of the hosts")
            }
            Self::Artefact { .. } => "deploy the file again, or another one".to_owned(),
            Self::Busy { .. } => "look at `heddle status`, and try again".to_owned(),
            Self::NoVersion { remedy, .. } => remedy.clone(),
            Self::Dev => "deploy to a host that was started by `heddle run`".to_owned(),
        })
    }

    fn explained(&self) -> Vec<Explained> {
        match self {
            Self::Fit(error) => error.explained(),
            _ => vec![Explained::of(self)],
        }
    }
}
