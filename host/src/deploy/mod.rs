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
mod topics;
mod watch;

pub use deployer::{Component, Deployer, Outcome, Verdict};
pub use evidence::contradictions;
pub use fit::{File, FitError, Fitted, Fitter, create, topic_troubles};
pub(crate) use follow::settle;
pub use follow::{Start, follow};
pub use topics::{Artefact, Deployment, Newest, Release, Topics, Withdrawn, artefacts_topic, deployments_topic};
pub use topics::{matches_digest, short, time};
pub use watch::Notes;

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
    #[error(
        "this app has no component `{component}`; it has {known}\n  where: [app] components in heddle.toml\n  what to do: name one of these; a new component comes with a start of the hosts"
    )]
    NoComponent {
        /// The requested component.
        component: String,
        /// The existing components.
        known: String,
    },
    /// The log does not have the file that a deployment names.
    #[error(
        "the file of the version {digest} is not in the log: {what}\n  where: the topic `{topic}`\n  what to do: deploy the file again, or another one"
    )]
    Artefact {
        /// The version.
        digest: String,
        /// The topic.
        topic: String,
        /// The fault.
        what: String,
    },
    /// Another host is deploying at the same time.
    #[error(
        "another version of `{component}` is being deployed\n  where: another host of this app\n  what to do: look at `heddle status`, and try again"
    )]
    Busy {
        /// The component.
        component: String,
    },
    /// There is no version to roll back to.
    #[error("{what}\n  where: `heddle deployments {component}`\n  what to do: {remedy}")]
    NoVersion {
        /// The component.
        component: String,
        /// The request.
        what: String,
        /// The remedy.
        remedy: String,
    },
    /// The host runs the app's sources, without deployments.
    #[error(
        "this host runs the sources of the app, as they are saved, and no deployments\n  where: `heddle dev`\n  what to do: deploy to a host that was started by `heddle run`"
    )]
    Dev,
}
