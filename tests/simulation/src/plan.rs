//! The plan of a life, drawn from the seed: the hosts, their input, and the rates of faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::runtime::{CommitPolicy, Needs};
use heddle_contract::manifest::Manifest;
use heddle_core::breaker::{BreakerPolicy, OnOpen};
use heddle_core::dedup::LINGER_MILLIS_MAX;
use heddle_core::event::{NewRecord, Topic};
use heddle_core::policy::{Backoff, FailurePolicy, Order, Retry, WaitingBounds, WhenFull};
use heddle_core::task::TaskSpec;
use heddle_core::trace::{Relation, Sampler, Tracing};

use crate::chance::{Chance, Stream};
use crate::changes::{Changes, Foreign, dress};
use crate::command::{Command, Operation};
use crate::reference::Reference;
use crate::time;

/// The largest record value that the log accepts, in bytes.
pub(crate) const RECORD_BYTES_MAX: usize = 10_000;
/// The number of attempts for a delivery.
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// The retry delays, in lives with retries.
const DELAYS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1_500)];
/// With these delays a record that fails this many times succeeds, however it is parked.
const PASSES_AFTER: u64 = 2;
/// A record that fails this many times never succeeds.
const FAILS_AFTER: u64 = 5;

/// The plan of one life.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The input topics. Their names begin with different letters, and so do the keys in them.
    pub inputs: Vec<Topic>,
    /// The output topic.
    pub output: Topic,
    /// The number of partitions of every topic.
    pub partitions: i32,
    /// The component.
    pub spec: Arc<TaskSpec>,
    /// The manifest with the component's topics.
    pub manifest: Arc<Manifest>,
    /// The circuit breaker, if there is one.
    pub breaker: Option<BreakerPolicy>,
    /// The number of hosts.
    pub hosts: usize,
    /// The number of workers on each host.
    pub workers: usize,
    /// When a worker commits.
    pub commit: CommitPolicy,
    /// The maximum number of records in a poll.
    pub batch_records_max: usize,
    /// True if members have instance ids and so keep their partitions while they are away.
    pub static_members: bool,
    /// The session timeout of the group.
    pub session: Duration,
    /// The transaction timeout.
    pub transaction_time_max: Duration,
    /// True if the log distinguishes a topic from an earlier one of the same name.
    pub topic_ids: bool,
    /// When and how the log refuses a record that is too large.
    pub refuses: Refuses,
    /// The produced records, in order.
    pub records: Vec<Input>,
    /// The table of the component.
    pub reference: Option<Reference>,
    /// The changes of the surroundings.
    pub changes: Changes,
    /// The rates of faults.
    pub rates: Rates,
    /// The settings of tracing, if it is on.
    pub tracing: Option<Tracing>,
}

/// When and how the log refuses a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// On sending.
    AtOnce,
    /// On arrival, naming the record.
    ByNumber,
    /// On arrival, without naming the record.
    One,
}

/// A record to produce.
#[derive(Clone, Debug)]
pub struct Input {
    /// The topic.
    pub topic: Topic,
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` is null.
    pub value: Option<Bytes>,
    /// True if it is produced in a transaction that is aborted, so that nobody may see it.
    pub aborted: bool,
    /// The age of the event when the life begins, if it is late because it is part of a backfill.
    pub age: Option<Duration>,
    /// The transaction of another program that begins with this record.
    pub foreign: Option<Foreign>,
}

/// Rates of faults: once in this many chances, or never if 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// A crash, per call that matters to a commit.
    pub crash: u64,
    /// A pause longer than the session, per call that matters to a commit.
    pub pause: u64,
    /// Others act during a call.
    pub interleave: u64,
    /// A call to the log fails.
    pub log: u64,
    /// A commit has an unknown outcome, a late answer, or an abort.
    pub commit: u64,
    /// A write to disk fails.
    pub disk: u64,
    /// The registry does not answer.
    pub registry: u64,
    /// A host is disturbed from outside, per step: killed, cut off from the group, switched to another version, or
    /// stopped.
    pub outside: u64,
}

impl Input {
    /// The input as a record to write.
    #[must_use]
    pub fn record(&self) -> NewRecord {
        NewRecord {
            topic: self.topic.clone(),
            partition: None,
            timestamp: self.age.map(time::before),
            key: Some(self.key.clone()),
            value: self.value.clone(),
            headers: vec![],
        }
    }
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, Stream::Plan);
        let inputs = if chance.one_in(3) { vec!["a.in".into(), "b.in".into()] } else { vec![Topic::from("a.in")] };
        let window = match chance.below(4) {
            0 => None,
            1 => Some(chance.millis(300, 5_000)),
            _ => Some(Duration::from_secs(3_600)),
        };
        let session = chance.millis(1_000, 4_000);
        let retries = match chance.below(6) {
            0 => Retries::Topics,
            1 => Retries::Key { per_key_max: usize::try_from(chance.between(2, 20)).unwrap_or(2) },
            _ => Retries::None,
        };
        // Some lives take all available records at once.
        let (batch, transaction) = if chance.one_in(4) { (100, 100) } else { (8, 12) };
        let mut plan = Self {
            output: "out".into(),
            partitions: i32::try_from(chance.between(1, 4)).unwrap_or(1),
            spec: Arc::new(spec(&inputs, window, retries)),
            manifest: Arc::new(manifest(&inputs, "")),
            breaker: (retries != Retries::None && chance.one_in(3)).then_some(BreakerPolicy {
                failures: 2,
                within: Duration::from_secs(1),
                percent: None,
                pause: Duration::from_millis(300),
                on_open: OnOpen::Pause,
            }),
            hosts: usize::try_from(chance.between(1, 3)).unwrap_or(1),
            workers: if chance.one_in(3) { 2 } else { 1 },
            commit: CommitPolicy { interval: chance.millis(5, 120), records_max: chance.between(2, transaction) },
            batch_records_max: usize::try_from(chance.between(1, batch)).unwrap_or(1),
            static_members: chance.one_in(2),
            session,
            transaction_time_max: session + chance.millis(0, 4_000),
            topic_ids: !chance.one_in(4),
            records: late(seed, window, records(&mut chance, &inputs, retries)),
            rates: Rates::new(&mut chance),
            refuses: chance.pick(&[Refuses::AtOnce, Refuses::ByNumber, Refuses::One]).unwrap_or(Refuses::AtOnce),
            inputs,
            changes: Changes::default(),
            reference: None,
            tracing: tracing(seed),
        };
        plan.refer(seed);
        plan.records = dress(seed, plan.retries(), plan.records);
        let mut chance = Chance::new(seed, Stream::Changes);
        plan.changes = Changes::new(&mut chance, &plan.inputs, plan.topic_ids, plan.hosts, plan.records.len());
        if !plan.spec.tables.is_empty() {
            // The table would have to grow with them.
            plan.changes.grows = None;
        }
        plan
    }

    /// In some lives the component looks things up.
    fn refer(&mut self, seed: u64) {
        let Some(reference) = Reference::of(seed, self.records.len(), self.topic_ids) else { return };
        let tables = reference.task_table().into_iter().collect();
        self.spec = Arc::new(TaskSpec { tables, ..(*self.spec).clone() });
        self.manifest = Arc::new(manifest(&self.inputs, &reference.manifest()));
        reference.ask(seed, &mut self.records);
        self.reference = Some(reference);
    }
}

/// In every other life all traces are recorded.
fn tracing(seed: u64) -> Option<Tracing> {
    let relation = if seed.is_multiple_of(4) { Relation::Child } else { Relation::Link };
    let tracing = Tracing { sampler: Sampler::new(true, 1.0), relation, creates: true };
    seed.is_multiple_of(2).then_some(tracing)
}

impl Rates {
    /// Each kind of fault is absent in a third of the lives, so that each also occurs without the others.
    fn new(chance: &mut Chance) -> Self {
        let mut rate = |least, most| if chance.one_in(3) { 0 } else { chance.between(least, most) };
        Self {
            crash: rate(20, 120),
            pause: rate(40, 200),
            interleave: rate(3, 20),
            log: rate(60, 400),
            commit: rate(4, 20),
            disk: rate(5, 30),
            registry: rate(40, 200),
            outside: rate(30, 150),
        }
    }
}

/// The kinds of retries in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retries {
    None,
    /// In retry topics.
    Topics,
    /// In the tasks' schedules, key by key.
    Key {
        per_key_max: usize,
    },
}

fn spec(inputs: &[Topic], window: Option<Duration>, retries: Retries) -> TaskSpec {
    let mut policy = FailurePolicy::in_place(ATTEMPTS_MAX, "dlq");
    let mut schedule = None;
    if retries != Retries::None {
        policy.backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(40) };
        let retry = |delay: Duration| Retry { delay, topic: format!("sim.retry.{}ms", delay.as_millis()).into() };
        policy.retries = DELAYS.map(retry).into();
    }
    if let Retries::Key { per_key_max } = retries {
        policy.order = Order::Key(WaitingBounds { per_key_max, per_task_max: 40, when_full: WhenFull::Wait });
        schedule = Some("sim.waiting".into());
    }
    let topics = policy.retries.iter().filter(|_| retries == Retries::Topics);
    TaskSpec {
        component: "sim.counter".into(),
        digest: None,
        retry_topics: topics.map(|retry| retry.topic.clone()).collect(),
        policy,
        changelogs: vec!["sim.counts".into(), "sim.marks".into()],
        schedule,
        seen_changelog: window.map(|_| "sim.seen".into()),
        tables: vec![],
        windows: inputs.iter().filter_map(|topic| Some((topic.clone(), window?))).collect(),
    }
}

/// A manifest that names the inputs, and these tables.
fn manifest(inputs: &[Topic], tables: &str) -> Manifest {
    let consumes = inputs.iter().map(|topic| format!("[consumes.\"{topic}\"]\n")).collect::<String>();
    let text = format!("[component]\nname = \"counter\"\nlanguage = \"rust\"\n{consumes}{tables}");
    Manifest::parse(&text, "component.toml").unwrap_or_else(|errors| unreachable!("{errors}"))
}

fn records(chance: &mut Chance, inputs: &[Topic], retries: Retries) -> Vec<Input> {
    let count = chance.between(5, 60);
    let mut records = Vec::<Input>::new();
    for number in 0..count {
        let aborted = chance.one_in(25);
        let again = (!records.is_empty() && chance.one_in(5)).then(|| {
            let recent = &records[records.len().saturating_sub(12)..];
            chance.pick(recent)
        });
        let flaky = |input: &Input| input.value.as_deref().is_some_and(|value| value.windows(5).any(|w| w == b"flaky"));
        // With two flaky copies, chance would decide which one succeeds first.
        let again = again.flatten().filter(|again| retries != Retries::Topics || !flaky(again));
        if let Some(again) = again {
            records.push(Input { aborted, ..again });
        } else if let Some(topic) = chance.pick(inputs) {
            let key = key(chance, &topic);
            let value = match chance.below(40) {
                0 => None,
                1 => Some("no command".into()),
                _ => Some(command(chance, &topic, &key, number, retries).text().into()),
            };
            records.push(Input { topic, key: key.into(), value, aborted, age: None, foreign: None });
        }
    }
    records
}

/// Makes some records older in some lives, as if a backfill was mixed in. Copies of a message are equally old.
///
/// Lives with a short window are left out: late ids may be forgotten within the life, and the model does not cover
/// that.
fn late(seed: u64, window: Option<Duration>, mut records: Vec<Input>) -> Vec<Input> {
    let mut chance = Chance::new(seed, Stream::Lateness);
    if chance.one_in(3) && window.is_none_or(|window| window >= Duration::from_millis(LINGER_MILLIS_MAX.unsigned_abs()))
    {
        let mut ages = BTreeMap::new();
        for record in &mut records {
            let message = (record.topic.clone(), record.value.clone());
            let draw = || chance.one_in(3).then(|| Duration::from_secs(3_600 * chance.between(1, 2_000)));
            record.age = *ages.entry(message).or_insert_with(draw);
        }
    }
    records
}

/// A key that only this topic has, so that records of different topics do not share state.
fn key(chance: &mut Chance, topic: &str) -> String {
    format!("{}{}", &topic[..1], chance.below(8))
}

fn command(chance: &mut Chance, topic: &str, key: &str, number: u64, retries: Retries) -> Command {
    let any = |chance: &mut Chance| operation(chance, topic, number);
    let own = |chance: &mut Chance| own_operation(chance, key, number);
    let count = chance.between(1, 4);
    let one = |_| if retries == Retries::None { any(chance) } else { own(chance) };
    let mut operations = (0..count).map(one).collect::<Vec<_>>();
    match chance.below(30) {
        0 | 1 => operations.push(Operation::Reject),
        2 if chance.one_in(2) => operations.push(Operation::Huge),
        // The key is unique, because a value that is overwritten in one transaction never reaches the log. Scans read
        // the value until the log's refusal is known.
        2 => operations.push(Operation::Hoard(format!("{key}~{number}"))),
        3..=5 if retries == Retries::None => {
            operations.push(Operation::Flaky(u32::try_from(chance.between(1, 3)).unwrap_or(1)));
        }
        3..=8 if retries != Retries::None => {
            if retries == Retries::Topics {
                // Later records of the key overtake this one, so nothing may depend on when it is handled.
                operations.clear();
            }
            let attempts = if chance.one_in(3) { FAILS_AFTER } else { chance.between(1, PASSES_AFTER) };
            operations.push(Operation::Flaky(u32::try_from(attempts).unwrap_or(1)));
            operations.push(Operation::Emit(None));
        }
        _ => operations.push(Operation::Emit(None)),
    }
    Command { id: format!("m{number}"), operations }
}

fn operation(chance: &mut Chance, topic: &str, number: u64) -> Operation {
    let key = key(chance, topic);
    match chance.below(12) {
        0..=3 => Operation::Add(key, 1 + i64::try_from(number).unwrap_or(0)),
        4 | 5 => Operation::Put(key, format!("v{number}")),
        6 => Operation::Delete(key),
        7 | 8 => Operation::Get(key),
        9 => Operation::Scan(topic[..1].to_owned()),
        10 => Operation::Emit(Some(key)),
        _ => Operation::Emit(None),
    }
}

/// An operation on keys that belong to the record's key alone, so that the order among keys does not matter.
fn own_operation(chance: &mut Chance, key: &str, number: u64) -> Operation {
    let own = format!("{key}{}", if chance.one_in(2) { "x" } else { "" });
    match chance.below(10) {
        0..=3 => Operation::Add(own, 1 + i64::try_from(number).unwrap_or(0)),
        4 => Operation::Put(own, format!("v{number}")),
        5 => Operation::Delete(own),
        6 => Operation::Get(own),
        7 => Operation::Scan(key.to_owned()),
        8 => Operation::Emit(Some(own)),
        _ => Operation::Emit(None),
    }
}

/// Lets the product's topic watch read the component from the plan.
impl Needs for Plan {
    fn spec(&self) -> &Arc<TaskSpec> {
        &self.spec
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn group(&self) -> String {
        self.spec.component.to_string()
    }

    fn topics(&self) -> Vec<Topic> {
        self.read_topics()
    }
}

impl Plan {
    /// Returns true if failed records are retried later.
    #[must_use]
    pub fn retries(&self) -> bool {
        !self.spec.policy.retries.is_empty()
    }

    /// All topics that the component reads.
    #[must_use]
    pub fn read_topics(&self) -> Vec<Topic> {
        let tables = self.spec.tables.iter().map(|table| &table.topic);
        self.inputs.iter().chain(tables).chain(&self.spec.retry_topics).cloned().collect()
    }
}
