//! Components: loading them, checking that they import no more than they were granted, and calling their handlers.
//!
//! ```text
//!  Engine     one a process: compiles, ticks for deadlines
//!  Component  one a .wasm file: compiled code, its contract, checked against its manifest    shared
//!  Instance   one a worker: memory of its own, effects of the delivery under way             Dispatch
//! ```
//!
//! The only place that configures wasmtime. A component gets no ambient authority: what its contract does not name is
//! not linked, and a component that asks for it is refused before it runs.

mod bounds;
mod check;
mod code_cache;
pub mod codec;
mod component;
mod engine;
mod granted;
mod host;
mod identify;
mod imports;
mod instance;
mod lines;
mod loader;
mod lookup;
mod random;
mod schemas;
mod start;
mod stores;
mod tables;
mod wasi;

pub use component::{Component, Framing, Interfaces, interfaces};
pub use engine::{Engine, TICK};
pub use instance::Instance;
pub use schemas::Schemas;

use heddle_contract::manifest::ManifestErrors;
use heddle_core::explain::{Explain, Explained};
use thiserror::Error;

/// Why a component cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The engine does not start.
    #[error("the engine for components does not start: {0}")]
    Engine(String),
    /// The bytes are no component.
    #[error("not a WebAssembly component: {what}")]
    NotComponent {
        /// What the file is called.
        component: String,
        /// What the compiler says.
        what: String,
    },
    /// It carries no contract, or one that cannot be read.
    #[error("{what}")]
    NoContract {
        /// What the file is called.
        component: String,
        /// What is there instead.
        what: String,
    },
    /// It is out of all proportion.
    #[error("the component is too large to compile: {what}")]
    TooMuch {
        /// What the file is called.
        component: String,
        /// What of it there is too much.
        what: String,
    },
    /// Its manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestErrors),
    /// Its contract says what does not go together.
    #[error("the contract of the component is broken: {what}")]
    Contract {
        /// What the file is called.
        component: String,
        /// What is wrong with its contract.
        what: String,
    },
    /// It imports what its manifest does not grant.
    #[error("the component imports `{import}`, which its manifest does not grant")]
    NotGranted {
        /// The component.
        component: String,
        /// The import.
        import: String,
        /// What to do.
        hint: String,
    },
    /// It has no handler for a topic that its manifest consumes.
    #[error("the component exports no `{export}`, the handler of the topic `{topic}` that its manifest consumes")]
    NoHandler {
        /// The component.
        component: String,
        /// The export it should have.
        export: String,
        /// The topic.
        topic: String,
    },
    /// It does not come as far as to a first record.
    #[error("the component does not start: {what}")]
    DoesNotStart {
        /// The component.
        component: String,
        /// Why.
        what: String,
        /// What to do.
        hint: String,
    },
    /// It was built against another contract than the one it carries.
    #[error("the component was built against another contract than the one it carries: {what}")]
    OtherContract {
        /// The component.
        component: String,
        /// Where its types differ.
        what: String,
    },
}

impl Explain for LoadError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Engine(_) | Self::Manifest(_) => None,
            Self::NotComponent { component, .. }
            | Self::NoContract { component, .. }
            | Self::TooMuch { component, .. }
            | Self::Contract { component, .. }
            | Self::NotGranted { component, .. }
            | Self::NoHandler { component, .. }
            | Self::DoesNotStart { component, .. }
            | Self::OtherContract { component, .. } => Some(component.clone()),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Engine(_) | Self::Manifest(_) => return None,
            Self::NotComponent { .. } => "name a .wasm file that `heddle build` made".to_owned(),
            Self::NoContract { .. } => "name a .wasm file that `heddle build` made, or build it again".to_owned(),
            Self::TooMuch { .. } => "make it smaller".to_owned(),
            Self::NotGranted { hint, .. } | Self::DoesNotStart { hint, .. } => hint.clone(),
            Self::NoHandler { topic, .. } => format!(
                "write the handler, or remove [consumes.\"{topic}\"] from component.toml, and run `heddle build`"
            ),
            Self::Contract { .. } | Self::OtherContract { .. } => "run `heddle build`".to_owned(),
        })
    }

    fn explained(&self) -> Vec<Explained> {
        match self {
            Self::Manifest(errors) => errors.explained(),
            _ => vec![Explained::of(self)],
        }
    }
}

/// How much of what others say gets into a message: a file can hold names of any length.
const SAID_BYTES_MAX: usize = 400;

impl LoadError {
    fn not_component(component: &str, what: &str) -> Self {
        let mut what = what.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        if what.len() > SAID_BYTES_MAX {
            what.truncate(what.floor_char_boundary(SAID_BYTES_MAX));
            what.push('…');
        }
        Self::NotComponent { component: component.to_owned(), what }
    }
}
