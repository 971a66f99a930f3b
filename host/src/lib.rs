//! Heddle: a runtime for event-driven services.

pub mod log;
