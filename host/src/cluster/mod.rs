//! The hosts of an app: which one has which task and version, and how one asks another.
//!
//! `hosts` is the topic in which hosts publish this. `client` asks a host's admin API. `proof` keeps a client from
//! sending its token to a process that only listens on a host's port.

mod client;
mod hosts;
mod proof;

pub use client::{HostAnswer, HostClient, HostError, Identity, Reach};
pub use hosts::{HostRecord, Hosts, Owner, Runs, announce};
pub(crate) use proof::Key;
