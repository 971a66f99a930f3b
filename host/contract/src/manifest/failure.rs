//! `[failure]` of a `component.toml`: what a delivery that fails leads to.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::{Field, Section};
use super::component::{Consumes, count};
use super::names::fault_of_topic;

pub(super) const KEYS: &[&str] =
    &["attempts", "backoff", "backoff-max", "retry", "retry-on", "order", "waiting", "dead-letter", "breaker"];
const BREAKER: &[&str] = &["failures", "within", "rate", "pause", "on-open"];
const WAITING: &[&str] = &["per-key", "per-task", "when-full"];

const MILLI: Duration = Duration::from_millis(1);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const PAUSE: RangeInclusive<Duration> = MILLI..=WEEK;
/// While a record is tried in place, its task's other records wait.
const BACKOFF: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const ATTEMPTS: RangeInclusive<i64> = 1..=100;
const FAILURES: RangeInclusive<i64> = 1..=1_000_000;
const WAITING_MAX: RangeInclusive<i64> = 1..=10_000_000;
const RETRIES_MAX: usize = 16;

/// The kinds of failure that `retry-on` may name: those of which another attempt could end otherwise.
pub const RETRIABLE: [&str; 10] =
    ["decode", "rejected", "failed", "deadline", "trap", "memory", "stack", "emit", "output", "state"];

/// What a delivery that fails leads to: attempts in place, then the retries, then the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How often it is tried in place, at least 1.
    pub attempts_max: u32,
    /// How long to wait after the first attempt in place; each time twice as long.
    pub backoff: Duration,
    /// How long to wait at most between attempts in place.
    pub backoff_max: Duration,
    /// The delay of each retry, in order; may be empty.
    pub retry: Vec<Duration>,
    /// The kinds of failure that are worth another attempt, of [`RETRIABLE`].
    pub retry_on: Vec<&'static str>,
    /// Whether the later records of a key wait for one that is retried.
    pub order: Order,
    /// The dead-letter topic, if not the default: see [`Manifest::dead_letter`](super::Manifest::dead_letter).
    pub dead_letter: Option<String>,
    /// When to stop consuming for a while.
    pub breaker: Option<Breaker>,
}

impl Default for Failure {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            retry: vec![],
            retry_on: vec!["failed", "deadline"],
            order: Order::None,
            dead_letter: None,
            breaker: None,
        }
    }
}

/// Whether the later records of a key wait for one that is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They overtake it; it waits in a retry topic.
    None,
    /// They queue behind it, in the task's state.
    Key(Waiting),
}

/// How many records may wait in a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of one key.
    pub per_key_max: u32,
    /// Of one task.
    pub per_task_max: u32,
    /// Whether one more is set aside, instead of its partition standing still until there is room.
    pub dead_letter_when_full: bool,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { per_key_max: 1_000, per_task_max: 100_000, dead_letter_when_full: false }
    }
}

/// When to stop consuming for a while: something that every delivery needs is probably down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// How many failed deliveries in a row open it; with `rate_percent`, also how many deliveries a rate needs to
    /// count.
    pub failures: u32,
    /// The time within which they have to happen.
    pub within: Duration,
    /// The share of failed deliveries that opens it, too, in percent.
    pub rate_percent: Option<u8>,
    /// How long nothing is consumed then.
    pub pause: Duration,
    /// Whether it stays open until the host is started again.
    pub stop: bool,
}

pub(super) fn check(section: &Section<'_>, consumes: &BTreeMap<String, Consumes>) -> Failure {
    let default = Failure::default();
    let retry = section.field("retry");
    let items = retry.as_ref().map(Field::items).unwrap_or_default();
    if let (Some(field), true) = (&retry, items.len() > RETRIES_MAX) {
        field.problem(
            &format!("`retry` has {} delays", items.len()),
            &format!("each one is a topic of its own: use {RETRIES_MAX} at most"),
        );
    }
    let duration = |key, default| section.field(key).and_then(|field| field.duration(BACKOFF)).unwrap_or(default);
    let backoff = duration("backoff", default.backoff);
    Failure {
        attempts_max: count(section.field("attempts"), ATTEMPTS).unwrap_or(default.attempts_max),
        backoff,
        backoff_max: duration("backoff-max", default.backoff_max.max(backoff)),
        retry: items.iter().filter_map(|field| field.duration(PAUSE)).collect(),
        retry_on: section.field("retry-on").map_or(default.retry_on, |field| retry_on(&field)),
        order: order(section, items.is_empty()),
        dead_letter: section.field("dead-letter").and_then(|field| dead_letter(&field, consumes)),
        breaker: section.field("breaker").map(|field| breaker(&field.section(BREAKER))),
    }
}

fn retry_on(field: &Field<'_>) -> Vec<&'static str> {
    let words = RETRIABLE.map(|kind| (kind, kind));
    field.items().iter().filter_map(|item| item.word(&words)).collect()
}

fn order(section: &Section<'_>, no_retries: bool) -> Order {
    let (order, waiting) = (section.field("order"), section.field("waiting"));
    let by_key = order.as_ref().and_then(|field| field.word(&[("none", false), ("key", true)])).unwrap_or_default();
    if let (Some(field), true, true) = (&order, by_key, no_retries) {
        field.problem(
            "there is nothing that later records of a key could wait for",
            "add delays, such as `retry = [\"1s\", \"10s\"]`, or remove `order`",
        );
    }
    if let (Some(field), false) = (&waiting, by_key) {
        field.problem(
            "`waiting` bounds how many records queue behind one",
            "add `order = \"key\"`, or remove `waiting`",
        );
    }
    if !by_key {
        return Order::None;
    }
    let default = Waiting::default();
    let Some(bounds) = waiting.map(|field| field.section(WAITING)) else { return Order::Key(default) };
    let max = |key, default| count(bounds.field(key), WAITING_MAX).unwrap_or(default);
    let when_full = bounds.field("when-full").and_then(|field| field.word(&[("wait", false), ("dead-letter", true)]));
    Order::Key(Waiting {
        per_key_max: max("per-key", default.per_key_max),
        per_task_max: max("per-task", default.per_task_max),
        dead_letter_when_full: when_full.unwrap_or(default.dead_letter_when_full),
    })
}

fn dead_letter(field: &Field<'_>, consumes: &BTreeMap<String, Consumes>) -> Option<String> {
    let topic = field.checked("a topic", fault_of_topic)?;
    if consumes.contains_key(&topic) {
        // A record that cannot be handled would come back for ever.
        let what = format!("the dead-letter topic `{topic}` is consumed by the component itself");
        field.problem(&what, "set failed records aside in a topic of their own, or let another component consume them");
    }
    Some(topic)
}

fn breaker(section: &Section<'_>) -> Breaker {
    const HINT: &str = "write it like `breaker = { failures = 20, within = \"10s\", pause = \"30s\" }`";
    let duration = |key| section.required(key, HINT).and_then(|field| field.duration(PAUSE)).unwrap_or_default();
    let on_open = section.field("on-open").and_then(|field| field.word(&[("pause", false), ("stop", true)]));
    Breaker {
        failures: count(section.required("failures", HINT), FAILURES).unwrap_or_default(),
        within: duration("within"),
        rate_percent: section.field("rate").and_then(|field| percent(&field)),
        pause: duration("pause"),
        stop: on_open.unwrap_or_default(),
    }
}

fn percent(field: &Field<'_>) -> Option<u8> {
    let text = field.text()?;
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<u8>().ok());
    let percent = number.filter(|percent| (1..=100).contains(percent));
    if percent.is_none() {
        field.problem(
            &format!("`{text}` is not a share of deliveries"),
            "write it like `rate = \"50%\"`, from 1% to 100%",
        );
    }
    percent
}
