//! From schemas to the WIT that a component is written against.
//!
//! ```text
//!  Schema ──Shapes::of──> Shapes ──┬── generate ──> component.wit, one package for a component
//!                                  └── the host's codec
//! ```
//!
//! The table of types is in the guide; names become kebab-case, and what WIT cannot hold is refused with both sides named.

mod generate;
mod names;
mod shape;

pub use generate::{Payload, Store, Topic, World, files, generate};
pub use names::{emit_interface, kebab, on_interface, store_interface};
pub use shape::{Case, Shape, ShapeId, Shapes};

use thiserror::Error;

/// The interfaces that every component shares, `heddle:runtime`: file names and texts.
pub const RUNTIME: [(&str, &str); 4] = [
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("context.wit", include_str!("../../../../wit/context.wit")),
    ("log.wit", include_str!("../../../../wit/log.wit")),
    ("random.wit", include_str!("../../../../wit/random.wit")),
];

/// Why a schema has no WIT.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WitError {
    /// A name that WIT cannot hold.
    #[error(
        "the {what} `{name}` has no name in WIT: it must begin with a letter; rename it, or give it an alias that does"
    )]
    NoName {
        /// What it is the name of.
        what: String,
        /// The name.
        name: String,
    },
    /// Two names that become the same.
    #[error("the {what} `{first}` and `{second}` both become `{name}` in WIT; rename one of them")]
    Clash {
        /// What they are the names of.
        what: String,
        /// The first one.
        first: String,
        /// The second one.
        second: String,
        /// What both become.
        name: String,
    },
    /// The same type, defined differently in two subjects.
    #[error(
        "`{name}` is defined in `{first}` and differently in `{second}`; give both the same definition, or one another name"
    )]
    Differs {
        /// The type's full name.
        name: String,
        /// The first subject.
        first: String,
        /// The second subject.
        second: String,
    },
    /// A record without fields.
    #[error("the record `{0}` has no fields, which WIT cannot hold; give it one")]
    EmptyRecord(String),
    /// Null where it is the only choice.
    #[error("{0} can only be null, which WIT cannot hold; write `[\"null\", T]`")]
    OnlyNull(String),
}
