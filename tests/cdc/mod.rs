//! Change data capture: tables as Debezium writes them, joined by the component of `heddle new --template debezium`,
//! under `kill -9`.
//!
//! ```text
//!  live     PostgreSQL ──> Debezium ──> Kafka, heddle registry ──> component, killed ──> orders.joined
//!                                 │                                     ▲                     │
//!  replay                captured.jsonl ────────────────────────────────┘           equal to a SQL join
//! ```
//!
//! `live` needs a PostgreSQL and runs in `scripts/test --full`. CI replays the records that it captured
//! (`scripts/capture-debezium`).

mod captured;
mod live;
mod replay;
mod shop;
mod types;
mod workload;
