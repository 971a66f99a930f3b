//! Generates the WIT of a component from its schemas.
//!
//! ```text
//!  Schema ──Shapes::of──> Shapes ──┬── generate ──> component.wit, one package for a component
//!                                  └── the host's codec
//! ```
//!
//! The guide has the table of types. Names become kebab-case, and [`Names`] makes them unique.

mod docs;
mod generate;
mod labels;
mod names;
mod naming;
mod reserved;

pub use crate::format::shape::{Shape, ShapeId, Shapes};
pub use generate::{Payload, Store, Table, Topic, World, files, generate};
pub use names::{is_kebab, kebab};
pub use naming::Names;

use thiserror::Error;

/// The interfaces that all components share, `heddle:runtime`: file names and texts.
pub const RUNTIME: [(&str, &str); 4] = [
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("context.wit", include_str!("../../../../wit/context.wit")),
    ("log.wit", include_str!("../../../../wit/log.wit")),
    ("random.wit", include_str!("../../../../wit/random.wit")),
];

/// The case of a type that has only one value.
pub const NULL_CASE: &str = "nothing";
/// The case of a record without fields.
pub const EMPTY_CASE: &str = "empty";
/// The case of a type that has no values.
pub const NEVER_CASE: &str = "never";

/// The reason why a `[rename]` is not possible.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WitError {
    /// Its key does not match anything.
    #[error(
        "[rename] of `{0}`: there is no such thing in the component's schemas; write a type as `shop.Order`, a field or symbol as `shop.Order:created_at`, a topic as `topic:a.b`"
    )]
    RenamesNothing(String),
    /// Two items would have one name.
    #[error("[rename] gives both `{first}` and `{second}` the name `{name}`; choose another one for one of them")]
    RenamedAlike {
        /// The key of the first.
        first: String,
        /// The key of the second.
        second: String,
        /// The name.
        name: String,
    },
    /// Another item has the name.
    #[error("[rename] gives `{key}` the name `{name}`, which something else has; choose another one")]
    RenameTaken {
        /// The key.
        key: String,
        /// The name.
        name: String,
    },
}
