//! State that all parts of a life share: the brokers, chance, the trace and the counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use heddle::runtime::Progress;
use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};
use heddle_core::trace::Context;

use crate::Options;
use crate::chance::{Chance, Stream};
use crate::happened::Happened;
use crate::log::Broker;
use crate::plan::{Plan, Rates};
use crate::planted::Planted;
use crate::time;

/// The world of one life. The traits of log and state require shareable types, but a life uses one thread.
pub(crate) struct World {
    pub(crate) plan: Plan,
    broker: Mutex<Broker>,
    faults: Mutex<Faults>,
    happened: Mutex<Happened>,
    trace: Option<Mutex<Vec<String>>>,
    healed: AtomicBool,
    /// The planted bug, for bugs in the log or on a disk.
    pub(crate) planted: Option<Planted>,
    /// The number of offsets that the hosts reported as deleted before they were read.
    told: Mutex<BTreeMap<TopicPartition, u64>>,
    /// The first report of a worker that does not fit to its earlier ones.
    complaint: Mutex<Option<String>>,
    /// The span of the delivery that decided about each record. The time distinguishes recreated topics.
    spans: Mutex<BTreeMap<(TopicPartition, Offset, Timestamp), Context>>,
}

/// Draws faults.
pub(crate) struct Faults {
    pub(crate) chance: Chance,
    pub(crate) rates: Rates,
    /// The number of crashes and pauses that may still occur, because a life has to end.
    budget: u32,
}

impl Faults {
    /// Draws a severe fault, of which a life can have only a limited number.
    pub(crate) fn grave(&mut self, rate: impl Fn(&Rates) -> u64) -> bool {
        let happens = self.budget > 0 && self.chance.one_in(rate(&self.rates));
        self.budget -= u32::from(happens);
        happens
    }

    /// Draws a minor fault.
    pub(crate) fn slight(&mut self, rate: impl Fn(&Rates) -> u64) -> bool {
        self.chance.one_in(rate(&self.rates))
    }
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, options: &Options) -> Self {
        let mut chance = Chance::new(seed, Stream::Faults);
        let budget = u32::try_from(chance.between(2, 14)).unwrap_or(2);
        Self {
            broker: Mutex::new(Broker::new(&plan, Chance::new(seed, Stream::Broker))),
            faults: Mutex::new(Faults { chance, rates: plan.rates, budget }),
            happened: Mutex::default(),
            trace: options.traced.then(Mutex::default),
            healed: AtomicBool::new(false),
            planted: options.planted,
            told: Mutex::default(),
            complaint: Mutex::default(),
            spans: Mutex::default(),
            plan,
        }
    }

    pub(crate) fn broker(&self) -> MutexGuard<'_, Broker> {
        lock(&self.broker)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// Stops all faults from now on.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
        self.faults().rates = Rates::default();
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// Updates the counts.
    pub(crate) fn count(&self, what: impl FnOnce(&mut Happened)) {
        what(&mut lock(&self.happened));
    }

    pub(crate) fn happened(&self) -> Happened {
        *lock(&self.happened)
    }

    /// Records the losses that a process reported.
    pub(crate) fn tell_losses(&self, progress: &Progress) {
        let mut told = lock(&self.told);
        for (source, offsets) in progress.lost_by_partition() {
            *told.entry(source).or_default() += offsets;
        }
    }

    /// The number of offsets of each partition that were reported as lost.
    pub(crate) fn told_losses(&self) -> BTreeMap<TopicPartition, u64> {
        lock(&self.told).clone()
    }

    /// Notes that the reports of a worker contradict each other.
    pub(crate) fn complain(&self, why: String) {
        lock(&self.complaint).get_or_insert(why);
    }

    /// Notes the span of a delivery. Returns the span of an earlier delivery of the record, if that is another one.
    pub(crate) fn span(&self, record: &Record, span: Context) -> Option<Context> {
        let place = (record.source.clone(), record.offset, record.timestamp);
        let before = *lock(&self.spans).entry(place).or_insert(span);
        (before != span).then_some(before)
    }

    /// Takes the noted contradiction.
    pub(crate) fn complaint(&self) -> Option<String> {
        lock(&self.complaint).take()
    }

    /// Writes a line of the trace, if tracing is on.
    pub(crate) fn tell(&self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        if let Some(trace) = &self.trace {
            let now = time::now();
            lock(trace).push(format!("{:>4}.{:03}  {who:<9} {what}", now.as_secs(), now.subsec_millis()));
        }
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| std::mem::take(&mut *lock(trace))).unwrap_or_default()
    }
}

/// Locks the mutex. Nothing panics while it holds a lock, and if it did, the life would be over.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
