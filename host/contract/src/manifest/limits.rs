//! `[limits]`: the limits of one delivery to a component.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::{Field, Section};

pub(super) const LIMITS: &[&str] = &["deadline", "memory", "record", "emits", "output", "store-value", "log-lines"];

const MILLI: Duration = Duration::from_millis(1);
/// A handler runs inside a transaction, which a broker aborts after a minute.
const DEADLINE: RangeInclusive<Duration> = MILLI..=Duration::from_secs(30);
/// From one page of Wasm memory to everything that 32 bits can address.
const MEMORY: RangeInclusive<u64> = (64 << 10)..=(4 << 30);
const RECORD: RangeInclusive<u64> = 1..=(1 << 30);
const COUNT: RangeInclusive<i64> = 1..=1_000_000;

/// The limits of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum duration of a handler.
    pub deadline: Duration,
    /// The maximum memory of an instance, in bytes.
    pub memory_bytes_max: u64,
    /// The maximum size of a record's value, in bytes.
    pub record_bytes_max: u64,
    /// The maximum number of emitted records.
    pub emits_max: u32,
    /// The maximum size of all emits and writes together, in bytes.
    pub output_bytes_max: u64,
    /// The maximum size of a store's value together with its key, in bytes. By default, it is that of a record.
    pub store_value_bytes_max: u64,
    /// The number of log lines that are kept. Of the lines after them, only the last one is kept.
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
