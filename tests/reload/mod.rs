//! Versions of a component that change while records flow.
//!
//! The tests cover both logs, several hosts, refused versions, failing versions, and versions that only run in shadow.
mod dev;
mod host;
mod hosts;
mod javascript;
mod killed;
mod load;
mod platform;
mod refused;
mod rollback;
mod shadow;
mod stores;
mod topics;
mod versions;
