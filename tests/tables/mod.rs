//! Tables: read-only views of compacted topics, from the topic to the handler.

mod followed;
mod handlers;
mod hosted;
