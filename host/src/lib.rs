//! The library behind the binary `heddle`.

// First, because it defines the macros for output.
#[macro_use]
mod output;

pub mod admin;
pub mod build;
pub mod cli;
pub mod cluster;
pub mod deploy;
mod descriptors;
pub mod disk;
pub mod dlq;
mod files;
pub mod guest;
pub mod host;
mod lock;
pub mod log;
pub mod printable;
pub mod registry;
pub mod registry_topic;
pub mod repartition;
pub mod runtime;
mod serve;
pub mod shadow;
pub mod shutdown;
mod sled_folder;
pub mod state;
pub mod tables;
pub mod telemetry;
mod times;
pub mod tls;
pub mod usage;
pub mod values;
