//! `[limits]`: what one delivery of a component may use.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::{Field, Section};

pub(super) const LIMITS: &[&str] = &["deadline", "memory", "record", "emits", "output", "store-value", "log-lines"];

const MILLI: Duration = Duration::from_millis(1);
/// A handler runs inside a transaction, which a broker gives up after a minute.
const DEADLINE: RangeInclusive<Duration> = MILLI..=Duration::from_secs(30);
/// From one page of Wasm memory to all that 32 bits address.
const MEMORY: RangeInclusive<u64> = (64 << 10)..=(4 << 30);
const RECORD: RangeInclusive<u64> = 1..=(1 << 30);
const COUNT: RangeInclusive<i64> = 1..=1_000_000;

/// What one delivery may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a handler may run.
    pub deadline: Duration,
    /// How much memory an instance may have, in bytes.
    pub memory_bytes_max: u64,
    /// How large a record's value may be, in bytes.
    pub record_bytes_max: u64,
    /// How many records it may emit.
    pub emits_max: u32,
    /// How large what it emits and writes may be together, in bytes.
    pub output_bytes_max: u64,
    /// How large a value of a store may be, together with its key, in bytes; if the file does not say, as large as a
    /// record.
    pub store_value_bytes_max: u64,
    /// How many lines of its log are kept; of what follows, only the last.
    pub log_lines_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(200),
            memory_bytes_max: 64 << 20,
            record_bytes_max: 1 << 20,
            emits_max: 10_000,
            output_bytes_max: 16 << 20,
            store_value_bytes_max: 1 << 20,
            log_lines_max: 100,
        }
    }
}

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let size = |key, bounds, default| section.field(key).and_then(|field| field.size(bounds)).unwrap_or(default);
    let record_bytes_max = size("record", RECORD, default.record_bytes_max);
    let limits = Limits {
        deadline: section.field("deadline").and_then(|field| field.duration(DEADLINE)).unwrap_or(default.deadline),
        memory_bytes_max: size("memory", MEMORY, default.memory_bytes_max),
        record_bytes_max,
        emits_max: count(section.field("emits"), COUNT).unwrap_or(default.emits_max),
        output_bytes_max: size("output", RECORD, default.output_bytes_max),
        store_value_bytes_max: size("store-value", RECORD, record_bytes_max),
        log_lines_max: count(section.field("log-lines"), COUNT).unwrap_or(default.log_lines_max),
    };
    if limits.record_bytes_max > limits.memory_bytes_max
        && let Some(field) = section.field("record").or_else(|| section.field("memory"))
    {
        field.problem("a record of the largest size does not fit into memory", "raise `memory` or lower `record`");
    }
    limits
}

pub(super) fn count(field: Option<Field<'_>>, bounds: RangeInclusive<i64>) -> Option<u32> {
    field.and_then(|field| field.integer(bounds)).and_then(|number| u32::try_from(number).ok())
}
