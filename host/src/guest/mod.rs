//! Loads components, checks that they import nothing that was not granted, and calls their handlers.
//!
//! ```text
//!  Engine     one per process: compiles, ticks for deadlines
//!  Component  one per .wasm file: compiled code, contract, checked against its manifest    shared
//!  Instance   one per worker: its memory, the effects of the current delivery             Dispatch
//! ```
//!
//! This is the only place that configures wasmtime. A component gets no ambient authority: an import that its contract
//! does not name is not linked, and a component with such an import is refused before it runs.

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
mod signature;
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

/// The reason why a component cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The engine does not start.
    #[error("the engine for components does not start: {0}")]
    Engine(String),
    /// The bytes are not a component.
    #[error("not a WebAssembly component: {what}")]
    NotComponent {
        /// The component's name in messages.
        component: String,
        /// The compiler's message.
        what: String,
    },
    /// The file has no contract, or one that cannot be read.
    #[error("{what}")]
    NoContract {
        /// The component's name in messages.
        component: String,
        /// The content that was found instead.
        what: String,
    },
    /// The component exceeds a limit on the compiler's work.
    #[error("the component is too large to compile: {what}")]
    TooMuch {
        /// The component's name in messages.
        component: String,
        /// The limit that is exceeded.
        what: String,
    },
    /// Its manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestErrors),
    /// The parts of its contract contradict each other.
    #[error("the contract of the component is broken: {what}")]
    Contract {
        /// The component's name in messages.
        component: String,
        /// The contradiction.
        what: String,
    },
    /// It has an import that its manifest does not grant.
    #[error("the component imports `{import}`, which its manifest does not grant")]
    NotGranted {
        /// The component.
        component: String,
        /// The import.
        import: String,
        /// The remedy.
        hint: String,
    },
    /// It has no handler for a topic that its manifest consumes.
    #[error("the component exports no `{export}`, the handler of the topic `{topic}` that its manifest consumes")]
    NoHandler {
        /// The component.
        component: String,
        /// The missing export.
        export: String,
        /// The topic.
        topic: String,
    },
    /// It fails before its first record.
    #[error("the component does not start: {what}")]
    DoesNotStart {
        /// The component.
        component: String,
        /// The reason.
        what: String,
        /// The remedy.
        hint: String,
    },
    /// It was built with another contract than the one in its file.
    #[error("the component was built against another contract than the one it carries: {what}")]
    OtherContract {
        /// The component.
        component: String,
        /// The difference in its types.
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
            Self::Contract { .. } => "run `heddle build`".to_owned(),
            Self::OtherContract { .. } => "build it with `heddle build`, from the WIT in its folder `wit`".to_owned(),
        })
    }

    fn explained(&self) -> Vec<Explained> {
        match self {
            Self::Manifest(errors) => errors.explained(),
            _ => vec![Explained::of(self)],
        }
    }
}

/// The maximum size of foreign text in a message, in bytes. A file can have names of any length.
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
