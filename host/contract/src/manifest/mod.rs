//! `component.toml` and `heddle.toml`, from text to checked types.
//!
//! ```text
//!  text ──text──> tree with positions ──overrides──> the same tree ──component, app──> Manifest, App
//!                                       (heddle.toml only)              │
//!                                                    check collects every Problem on the way
//! ```
//!
//! This module owns the keys, their defaults, units and bounds, and the messages about a wrong file. It never reads a
//! file or the environment: callers pass the text and the variables.

pub mod app;
mod check;
pub mod component;
mod deploy;
mod error;
pub mod failure;
mod kubernetes;
mod limits;
mod names;
mod options;
mod overrides;
mod subjects;
pub mod tables;
mod telemetry;
mod text;

pub use app::App;
pub use component::Manifest;
pub use deploy::DeployPolicy;
pub use error::{ManifestErrors, Place, Problem, Source};
pub use options::OPTIONS_OWNED;
pub use telemetry::{LogFormat, MetricDetail, SpanDetail, Telemetry, Traces, is_collector};
