//! The message ids of one task.
