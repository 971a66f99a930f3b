//! One life: hosts, the events that happen to them, and time.
//!
//! ```text
//!             ┌─ a worker takes its turn ──> calls ──> the gate ──> others meanwhile (the same steps, further in)
//!  step ──────┼─ a host writes state to disk
//!  after      ├─ a record is produced
//!  step       └─ something happens to a host from outside
//!  ... until all is read; then faults stop, all hosts start, and the remaining work is done ──> check
//! ```
//!
//! Everything runs in one thread. A worker that pauses in the middle of a call is a call that has not returned yet: it
//! makes the steps of the others from within.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use heddle_contract::manifest::tables::Scope;
use heddle_core::event::{Offset, TopicPartition};

use crate::chance::{Chance, Stream};
use crate::changes::Foreign;
use crate::check;
use crate::gate::Process;
use crate::host::{Host, Place, Run, Work};
use crate::log::TxnId;
use crate::operator::Action;
use crate::plan::{Input, Plan};
use crate::time;
use crate::world::World;
use crate::{Options, Outcome};

/// The maximum number of steps before faults stop.
const STEPS_MAX: u64 = 4_000;
/// The maximum number of steps of a whole life.
const ALL_STEPS_MAX: u64 = 60_000;
/// The longest time that a healed system may take to finish all work.
const HEALING_TIME_MAX: Duration = Duration::from_secs(90);
/// The idle time after which the system counts as finished.
const QUIET_TIME: Duration = Duration::from_millis(600);
/// The maximum number of nested calls.
const DEPTH_MAX: usize = 3;

thread_local! {
    static LIFE: RefCell<Option<Rc<Life>>> = const { RefCell::new(None) };
}

/// A life in progress.
pub(crate) struct Life {
    pub(crate) world: Arc<World>,
    pub(crate) options: Options,
    pub(crate) hosts: RefCell<Vec<Host>>,
    pub(crate) schedule: RefCell<Chance>,
    /// The remains of crashed processes. They are kept until no call is in progress.
    pub(crate) dead: RefCell<Vec<Run>>,
    processes: Cell<u64>,
    produced: Cell<usize>,
    /// Later changes of topics and disks, with their due times.
    pub(crate) due: RefCell<Vec<(Duration, Action)>>,
    /// The open transaction of another program.
    foreign: Cell<Option<TxnId>>,
    depth: Cell<usize>,
    steps: Cell<u64>,
    failure: RefCell<Option<String>>,
}

/// Lets the others go on until then. Called from within a call.
pub(crate) fn meanwhile(until: Duration) {
    if until <= time::now() {
        return;
    }
    if let Some(life) = LIFE.with_borrow(Clone::clone) {
        life.meanwhile(until);
    }
    time::set(time::now().max(until));
}

/// Runs the life of a seed.
pub(crate) fn live(seed: u64, options: &Options) -> Outcome {
    time::set(Duration::ZERO);
    let plan = Plan::new(seed);
    let hosts = (0..plan.hosts).map(|_| Host::default()).collect();
    let life = Rc::new(Life {
        world: Arc::new(World::new(seed, plan, options)),
        options: options.clone(),
        hosts: RefCell::new(hosts),
        schedule: RefCell::new(Chance::new(seed, Stream::Schedule)),
        dead: RefCell::default(),
        processes: Cell::new(0),
        produced: Cell::new(0),
        due: RefCell::default(),
        foreign: Cell::new(None),
        depth: Cell::new(0),
        steps: Cell::new(0),
        failure: RefCell::new(None),
    });
    LIFE.set(Some(life.clone()));
    life.refer(0);
    life.run();
    LIFE.set(None);
    // Crashed processes send nothing more to the log.
    for run in life.hosts.borrow_mut().iter_mut().filter_map(|host| host.run.take()) {
        run.process.crash();
    }
    let failure = life.failure.take();
    Outcome { seed, planted: options.planted, happened: life.world.happened(), trace: life.world.take_trace(), failure }
}

impl Life {
    fn run(self: &Rc<Self>) {
        let extra = self.schedule.borrow_mut().between(0, 300);
        let mut since_all = 0;
        while !self.has_failed() && since_all < extra && self.steps.get() < STEPS_MAX {
            self.step(Duration::MAX);
            since_all += u64::from(self.all_produced());
        }
        self.heal();
        if !self.has_failed() {
            self.note(check::at_end(self));
        }
    }

    /// Stops all faults. Then all work must be finished soon.
    fn heal(self: &Rc<Self>) {
        if self.has_failed() {
            return;
        }
        self.world.tell("life", format_args!("from here on nothing goes wrong"));
        self.world.heal();
        let deadline = time::now() + HEALING_TIME_MAX;
        let mut quiet_since = None;
        while !self.has_failed() {
            self.step(time::now() + QUIET_TIME);
            let unfinished = self.unfinished();
            match (&unfinished, quiet_since) {
                (None, Some(since)) if time::now() >= since + QUIET_TIME => return,
                (None, None) => quiet_since = Some(time::now()),
                (None, Some(_)) => {}
                (Some(_), _) => quiet_since = None,
            }
            if let Some(what) = unfinished.filter(|_| time::now() > deadline) {
                self.fail(format!("{HEALING_TIME_MAX:?} after the last fault {what}"));
            }
        }
    }

    /// A description of unfinished work, if there is any.
    fn unfinished(&self) -> Option<String> {
        if !self.all_produced() {
            return Some("not everything was produced".to_owned());
        }
        if !self.due.borrow().is_empty() {
            return Some("topics or disks are still to change".to_owned());
        }
        {
            let broker = self.world.broker();
            if !broker.is_quiet() {
                return Some("a transaction is still open".to_owned());
            }
            if !broker.group.is_settled() {
                let numbers = broker.group.numbers();
                return Some(format!(
                    "the group\n  found    {:?}\n  expected a reader for each of {numbers} numbers",
                    broker.group
                ));
            }
        }
        check::positions(&self.world)
            .or_else(|| self.hosts.borrow().iter().find_map(Host::unfinished))
            .or_else(|| check::tables(self))
    }

    /// Lets others go on until then.
    fn meanwhile(self: &Rc<Self>, until: Duration) {
        if self.depth.get() >= DEPTH_MAX {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        while time::now() < until && !self.has_failed() {
            self.step(until);
        }
        self.depth.set(self.depth.get() - 1);
    }

    /// Takes one step and advances time. If nothing can happen now, time advances to the next event, but not beyond
    /// `limit`.
    fn step(self: &Rc<Self>, limit: Duration) {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > ALL_STEPS_MAX {
            let what = self.unfinished().unwrap_or_else(|| "nothing is left to be done".to_owned());
            return self.fail(format!("after {ALL_STEPS_MAX} steps there is no end to it: {what}"));
        }
        if self.depth.get() == 0 {
            let dead = self.dead.take();
            drop(dead);
        }
        let (timed_out, expired) = self.world.broker().tick();
        self.world.count(|happened| {
            happened.timed_out += timed_out as u64;
            happened.expired += expired as u64;
        });
        self.boot_due();
        self.act_due();
        self.look_due();
        let is_global = self.world.plan.reference.as_ref().is_some_and(|reference| reference.scope == Scope::Global);
        let follows = is_global && self.schedule.borrow_mut().one_in(4);
        let draw = self.schedule.borrow_mut().below(8);
        let outside = self.world.faults().slight(|rates| rates.outside);
        if follows && self.follow() {
            // That was it.
        } else if outside {
            self.upset();
        } else if draw == 0 || (draw < 3 && self.world.is_healed()) {
            self.produce();
        } else if draw == 1 {
            self.write_state();
        } else if let Some(place) = self.ready() {
            self.turn(&place);
        } else {
            self.skip_to_next(limit);
        }
        let took = self.schedule.borrow_mut().between(0, 1_500);
        time::set(time::now() + Duration::from_micros(took));
    }

    /// A random worker that has something to do.
    fn ready(&self) -> Option<Place> {
        let places = self.hosts.borrow().iter().enumerate().flat_map(Host::ready).collect::<Vec<_>>();
        self.schedule.borrow_mut().pick(&places)
    }

    fn skip_to_next(&self, limit: Duration) {
        let hosts = self.hosts.borrow();
        let wakes = hosts.iter().flat_map(Host::wakes_at).filter(|at| *at > time::now());
        let next = wakes.chain(self.world.broker().next_event()).min();
        // Producing goes on meanwhile, so no step sleeps for long.
        let most = time::now() + Duration::from_millis(if self.all_produced() { 500 } else { 20 });
        time::set(next.unwrap_or(most).min(most).min(limit).max(time::now()));
    }

    fn all_produced(&self) -> bool {
        self.produced.get() == self.world.plan.records.len()
    }

    fn produce(&self) {
        let number = self.produced.get();
        let Some(input) = self.world.plan.records.get(number) else { return };
        if self.world.broker().incarnation(&input.topic).is_none() {
            // The topic is deleted and will be created again.
            return;
        }
        self.produced.set(number + 1);
        self.change(number);
        let placed = self.append(input);
        if let Some((place, offset)) = placed {
            let value = input.value.as_deref().map_or("null".into(), String::from_utf8_lossy);
            let aborted = if input.aborted { ", aborted" } else { "" };
            self.world.tell("producer", format_args!("{place}@{offset}: {value}{aborted}"));
        }
    }

    fn append(&self, input: &Input) -> Option<(TopicPartition, Offset)> {
        let mut broker = self.world.broker();
        if let Some(Foreign { open, commits }) = input.foreign {
            self.world.count(|happened| happened.foreign += 1);
            self.foreign.set(Some(broker.begin_foreign(open, commits)));
        }
        // Sometimes the next record is part of the transaction too.
        let txn = self.foreign.get().filter(|_| input.foreign.is_some() || self.schedule.borrow_mut().one_in(2));
        let placed = txn.filter(|_| !input.aborted).and_then(|txn| broker.append_foreign(txn, input.record()));
        placed.or_else(|| broker.append_alone(input.record(), input.aborted))
    }

    /// A new process on a host, with the next number.
    pub(crate) fn next_process(&self, host: usize) -> Arc<Process> {
        self.processes.set(self.processes.get() + 1);
        Process::new(self.world.clone(), host, self.processes.get())
    }

    /// Returns true if a check has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    pub(crate) fn fail(&self, what: String) {
        self.world.tell("life", format_args!("WRONG: {what}"));
        self.failure.borrow_mut().get_or_insert(what);
    }

    pub(crate) fn note(&self, wrong: Option<String>) {
        if let Some(what) = wrong {
            self.fail(what);
        }
    }

    /// Takes a worker's work out of its slot while the worker runs.
    pub(crate) fn take(&self, place: &Place) -> Option<Work> {
        let mut hosts = self.hosts.borrow_mut();
        let slot = hosts.get_mut(place.host)?.run.as_mut()?.workers.get_mut(place.worker)?;
        Some(std::mem::replace(&mut slot.work, Work::Busy))
    }

    /// Puts the work back, if its process still exists.
    pub(crate) fn put_back(&self, process: &Process, worker: usize, work: Work) {
        let mut hosts = self.hosts.borrow_mut();
        let run = hosts.get_mut(process.host).and_then(|host| host.run.as_mut());
        let Some(run) = run.filter(|run| run.process.number == process.number) else {
            // The borrow ends before the drop, because dropping may look at the hosts.
            drop(hosts);
            return drop(work);
        };
        if let Some(slot) = run.workers.get_mut(worker) {
            slot.work = work;
        }
    }
}
