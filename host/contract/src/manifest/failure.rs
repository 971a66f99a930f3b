//! `[failure]` of a `component.toml`: retries, order, dead letters and the breaker.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use heddle_core::breaker::{BreakerPolicy, OnOpen};
use heddle_core::fault::EventFaultKind;
use heddle_core::policy::{Backoff, Order, WaitingBounds, WhenFull};

use super::check::{Field, Section};
use super::component::Consumes;
use super::limits::count;
use super::names::fault_of_topic;

pub(super) const KEYS: &[&str] =
    &["attempts", "backoff", "backoff-max", "retry", "retry-on", "order", "waiting", "dead-letter", "breaker"];
const BREAKER: &[&str] = &["failures", "within", "rate", "pause", "on-open"];
const WAITING: &[&str] = &["per-key", "per-task", "when-full"];

const MILLI: Duration = Duration::from_millis(1);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const PAUSE: RangeInclusive<Duration> = MILLI..=WEEK;
/// While a record is retried in place, its task's other records wait.
const BACKOFF: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const ATTEMPTS: RangeInclusive<i64> = 1..=100;
const FAILURES: RangeInclusive<i64> = 1..=1_000_000;
const WAITING_MAX: RangeInclusive<i64> = 1..=10_000_000;
const RETRIES_MAX: usize = 16;

/// The kinds of failure that `retry-on` may list, because another attempt may succeed.
const RETRIABLE: [EventFaultKind; 11] = [
    EventFaultKind::Decode,
    EventFaultKind::Rejected,
    EventFaultKind::Failed,
    EventFaultKind::Deadline,
    EventFaultKind::Trap,
    EventFaultKind::Memory,
    EventFaultKind::Stack,
    EventFaultKind::Emit,
    EventFaultKind::Output,
    EventFaultKind::State,
    EventFaultKind::Table,
];

/// The failure policy of a component, without the names of its topics: attempts in place, then the retries, then the
/// dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number of attempts in place, at least 1.
    pub attempts_max: u32,
    /// The pause between attempts in place.
    pub backoff: Backoff,
    /// The delay of each retry, in order; may be empty.
    pub retry: Vec<Duration>,
    /// The kinds of failure that are retried.
    pub retry_on: BTreeSet<EventFaultKind>,
    /// The order of a key's records while one of them is retried.
    pub order: Order,
    /// The dead-letter topic, if it is not the default: see [`Manifest::dead_letter`](super::Manifest::dead_letter).
    pub dead_letter: Option<String>,
    /// The circuit breaker, if there is one.
    pub breaker: Option<BreakerPolicy>,
}

impl Default for Failure {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff: Backoff::default(),
            retry: vec![],
            retry_on: EventFaultKind::ALL.into_iter().filter(|kind| kind.may_pass()).collect(),
            order: Order::None,
            dead_letter: None,
            breaker: None,
        }
    }
}

pub(super) fn check(section: &Section<'_>, consumes: &BTreeMap<String, Consumes>) -> Failure {
    let default = Failure::default();
    let retry = section.field("retry");
    let items = retry.as_ref().map(Field::items).unwrap_or_default();
    if let (Some(field), true) = (&retry, items.len() > RETRIES_MAX) {
        field.problem(
            &format!("`retry` has {} delays", items.len()),
            &format!("each one needs a separate topic: use {RETRIES_MAX} at most"),
        );
    }
    let duration = |key, default| section.field(key).and_then(|field| field.duration(BACKOFF)).unwrap_or(default);
    let first = duration("backoff", default.backoff.first);
    Failure {
        attempts_max: count(section.field("attempts"), ATTEMPTS).unwrap_or(default.attempts_max),
        backoff: Backoff { first, max: duration("backoff-max", default.backoff.max.max(first)) },
        retry: items.iter().filter_map(|field| field.duration(PAUSE)).collect(),
        retry_on: section.field("retry-on").map_or(default.retry_on, |field| retry_on(&field)),
        order: order(section, items.is_empty()),
        dead_letter: section.field("dead-letter").and_then(|field| dead_letter(&field, consumes)),
        breaker: section.field("breaker").map(|field| breaker(&field.section(BREAKER))),
    }
}

fn retry_on(field: &Field<'_>) -> BTreeSet<EventFaultKind> {
    let words = RETRIABLE.map(|kind| (kind.name(), kind));
    field.items().iter().filter_map(|item| item.word(&words)).collect()
}

fn order(section: &Section<'_>, no_retries: bool) -> Order {
    let (order, waiting) = (section.field("order"), section.field("waiting"));
    let by_key = order.as_ref().and_then(|field| field.word(&[("none", false), ("key", true)])).unwrap_or_default();
    if let (Some(field), true, true) = (&order, by_key, no_retries) {
        field.problem(
            "without delays, later records of a key have nothing to wait for",
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
    let default = WaitingBounds::default();
    let Some(bounds) = waiting.map(|field| field.section(WAITING)) else { return Order::Key(default) };
    let max = |key, default| count(bounds.field(key), WAITING_MAX).map_or(default, |count| count as usize);
    let words = [("wait", WhenFull::Wait), ("dead-letter", WhenFull::DeadLetter)];
    Order::Key(WaitingBounds {
        per_key_max: max("per-key", default.per_key_max),
        per_task_max: max("per-task", default.per_task_max),
        when_full: bounds.field("when-full").and_then(|field| field.word(&words)).unwrap_or(default.when_full),
    })
}

fn dead_letter(field: &Field<'_>, consumes: &BTreeMap<String, Consumes>) -> Option<String> {
    let topic = field.checked("a topic", fault_of_topic)?;
    if consumes.contains_key(&topic) {
        // Otherwise, a record that cannot be handled would come back forever.
        let what = format!("the dead-letter topic `{topic}` is consumed by the component itself");
        field.problem(&what, "write dead letters to a separate topic, or let another component consume them");
    }
    Some(topic)
}

fn breaker(section: &Section<'_>) -> BreakerPolicy {
    const HINT: &str = "write it like `breaker = { failures = 20, within = \"10s\", pause = \"30s\" }`";
    let duration = |key| section.required(key, HINT).and_then(|field| field.duration(PAUSE)).unwrap_or_default();
    let words = [("pause", OnOpen::Pause), ("stop", OnOpen::Stop)];
    BreakerPolicy {
        failures: count(section.required("failures", HINT), FAILURES).unwrap_or_default(),
        within: duration("within"),
        percent: section.field("rate").and_then(|field| percent(&field)),
        pause: duration("pause"),
        on_open: section.field("on-open").and_then(|field| field.word(&words)).unwrap_or(OnOpen::Pause),
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
