//! Change data capture: tables as Debezium writes them, joined by the component of `heddle new --template debezium`. A
//! second component adds reference data from a third table. Hosts are ended by `kill -9` meanwhile.
//!
//! ```text
//!  live     PostgreSQL ──> Debezium ──> Kafka, heddle registry ──> component, killed ──> orders.joined, orders.named
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
