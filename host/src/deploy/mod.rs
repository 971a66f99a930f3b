//! Versions of components: how a file becomes one, which one all hosts run, and what becomes of one that fails.
//!
//! ```text
//!  heddle deploy ──POST──> Deployer ──> artefact, then record ──> <app>.deployments ──> every host's follower
//!                             │                                                            │ fetch, verify, fit
//!                             └── waits for what every host says <── <app>.hosts <─────────┴ swap, or refuse
//! ```
//!
//! The record is the truth: a host that starts reads it first, and one that refuses leaves what it runs as it is.

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

/// Why a version was not deployed, or not taken back.
#[derive(Debug, Error)]
pub enum DeployError {
    /// It does not fit.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The log does not answer, or not as hoped.
    #[error(transparent)]
    Log(#[from] LogError),
    /// This host has no such component.
    #[error(
        "this app has no component `{component}`; it has {known}\n  where: [app] components in heddle.toml\n  what to do: name one of these; a new component comes with a start of the hosts"
    )]
    NoComponent {
        /// What was asked for.
        component: String,
        /// What there is.
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
        /// What is there instead.
        what: String,
    },
    /// Another host decides at the same time.
    #[error(
        "another version of `{component}` is being deployed\n  where: another host of this app\n  what to do: look at `heddle status`, and try again"
    )]
    Busy {
        /// The component.
        component: String,
    },
    /// There is nothing to go back to.
    #[error("{what}\n  where: `heddle deployments {component}`\n  what to do: {remedy}")]
    NoVersion {
        /// The component.
        component: String,
        /// What was asked for.
        what: String,
        /// What to do instead.
        remedy: String,
    },
    /// The host follows its sources, not deployments.
    #[error(
        "this host runs the sources of the app, as they are saved, and no deployments\n  where: `heddle dev`\n  what to do: deploy to a host that was started by `heddle run`"
    )]
    Dev,
}
