//! Versions of a component that come and go while records flow: on both logs, on several hosts, those that are refused,
//! those that fail, those that are only tried beside the one that runs.
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
