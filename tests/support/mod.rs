//! Helpers that several test modules share: apps, guests and the fixtures around them.

pub(crate) mod app;
pub(crate) mod asked;
pub(crate) mod build;
pub(crate) mod conformance;
pub(crate) mod guests;
pub(crate) mod handmade;
pub(crate) mod keeper;
pub(crate) mod measured;
pub(crate) mod registry;
pub(crate) mod server;
pub(crate) mod shop;
pub(crate) mod values;
