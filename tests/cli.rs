//! The command line, as a user types it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
