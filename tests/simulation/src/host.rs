//! A host of a life: its disk, and a process with workers, as [`heddle::runtime::start`] runs them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use heddle::log::{Groups as _, Log as _, Member, MemberOptions, Start};
use heddle::runtime::{
    Common, Handler, KnownTopics, LOOK_EVERY, Needs, Progress, Remedy, SharedBreaker, Tasks, TopicWatch, Worker,
    WorkerFault, partition_counts,
};
use heddle::state::{Bounds, HostState};
use heddle_core::tables::GlobalTables;

use crate::check;
use crate::disk::SimDisk;
use crate::following::Following;
use crate::gate::{Caller, Process};
use crate::handler::CommandHandler;
use crate::life::Life;
use crate::log::SimLog;
use crate::observer::Ledger;
use crate::planted::{self, Planted};
use crate::reference::{Shown, TABLE};
use crate::time::{self, VirtualClock};
use crate::world::World;

/// The delay before a worker joins again.
pub(crate) const REJOIN_WAIT: Duration = Duration::from_millis(500);

/// A host.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) disk: SimDisk,
    /// The disk of its global table.
    pub(crate) tables: SimDisk,
    shown: Shown,
    pub(crate) run: Option<Run>,
    /// When a host that is down starts. Never, while it is still stopping.
    boots_at: Duration,
}

/// A process with its workers.
pub(crate) struct Run {
    pub(crate) process: Arc<Process>,
    pub(crate) state: Arc<HostState>,
    pub(crate) workers: Vec<Slot>,
    /// Watches the component's topics.
    pub(crate) topics: Arc<TopicWatch>,
    /// The caller that queries the log for `topics`.
    pub(crate) watcher: Caller,
    /// The time of its next query.
    pub(crate) look_at: Duration,
    /// Its global table, if it has one.
    pub(crate) following: Option<Following>,
    known: Arc<KnownTopics>,
}

/// A worker of a process.
pub(crate) struct Slot {
    caller: Caller,
    progress: Arc<Progress>,
    pub(crate) work: Work,
}

/// The activity of a worker.
pub(crate) enum Work {
    /// Joins the group when it wakes up.
    Joining,
    /// Runs turns.
    Turning(Box<Worker>),
    /// Is in the middle of a turn.
    Busy,
}

/// The identity of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) host: usize,
    pub(crate) worker: usize,
    caller: Caller,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Bounds that let every memtable be written at any time, and never let one grow so large that a worker blocks.
pub(crate) fn bounds() -> Bounds {
    Bounds {
        memtable_bytes: 64 << 20,
        memtable_age: Duration::ZERO,
        changes_at_once: 3,
        now: time::timestamp,
        ..Bounds::default()
    }
}

impl Run {
    /// Records the losses that its workers reported.
    pub(crate) fn tell_losses(&self, world: &World) {
        self.workers.iter().for_each(|slot| world.tell_losses(&slot.progress));
    }
}

impl Host {
    /// The workers of the host that have something to do.
    pub(crate) fn ready((host, this): (usize, &Self)) -> Vec<Place> {
        let Some(run) = this.run.as_ref().filter(|run| !run.process.stands_still()) else { return vec![] };
        let slots = run.workers.iter().enumerate();
        let ready = slots.filter(|(_, slot)| !matches!(slot.work, Work::Busy) && slot.caller.wakes_at() <= time::now());
        ready.map(|(worker, slot)| Place { host, worker, caller: slot.caller.clone() }).collect()
    }

    /// When each part of the host may go on.
    pub(crate) fn wakes_at(&self) -> Vec<Duration> {
        match &self.run {
            Some(run) => {
                let following = run.following.iter().map(|following| &following.caller);
                run.workers.iter().map(|slot| &slot.caller).chain(following).map(Caller::wakes_at).collect()
            }
            None => vec![self.boots_at],
        }
    }

    /// A description of unfinished work, if there is any.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let Some(run) = &self.run else { return Some("a host is not up".to_owned()) };
        let slot = run
            .workers
            .iter()
            .find(|slot| !matches!(slot.work, Work::Turning(_)) || slot.progress.snapshot().restoring > 0);
        slot.map(|slot| format!("{} has not joined, or not restored", slot.caller.name))
    }
}

impl Life {
    /// Starts the hosts that have been down for long enough.
    pub(crate) fn boot_due(self: &Rc<Self>) {
        for index in 0..self.world.plan.hosts {
            let mut hosts = self.hosts.borrow_mut();
            let healed = self.world.is_healed();
            let due = |host: &Host| {
                host.run.is_none() && (host.boots_at <= time::now() || (healed && host.boots_at < Duration::MAX))
            };
            let Some(host) = hosts.get_mut(index).filter(|host| due(host)) else { continue };
            let process = self.next_process(index);
            let caller = |name: &str| Caller::new(process.clone(), format!("h{index}.{name}"));
            let mut bounds = bounds();
            if self.options.planted == Some(Planted::Late) {
                bounds.late_ids_max = 0;
            }
            let state = HostState::without_flusher(host.disk.engine(Some(caller("disk"))), bounds);
            let following = self.following(host, caller);
            let progress = |name: &str| Arc::new(Progress::new(Ledger::telemetry(&self.world, name)));
            let slot = |worker| {
                let caller = caller(&format!("w{worker}"));
                Slot { progress: progress(&caller.name), caller, work: Work::Joining }
            };
            let workers = (0..self.world.plan.workers).map(slot).collect();
            let watcher = caller("topics");
            let known = Arc::new(KnownTopics::of(Arc::new(SimLog(watcher.clone())), "sim"));
            let needs: Arc<dyn Needs> = Arc::new(self.world.plan.clone());
            let topics = Arc::new(TopicWatch::new(move || needs.clone(), progress(&watcher.name), known.clone()));
            let (process, state, look_at) = (process.clone(), Arc::new(state), time::now() + LOOK_EVERY);
            host.run = Some(Run { process, state, workers, topics, watcher, look_at, known, following });
            self.world.tell(format!("h{index}"), format_args!("starts"));
        }
    }

    /// Runs a turn of a worker.
    pub(crate) fn turn(self: &Rc<Self>, place: &Place) {
        self.act(place, Worker::turn);
    }

    /// Lets a worker act, or join first.
    fn act(self: &Rc<Self>, place: &Place, act: impl FnOnce(&mut Worker) -> Result<(), WorkerFault>) {
        let Some(work) = self.take(place) else { return };
        let process = place.caller.process.clone();
        let done = match work {
            Work::Joining => self.join(place),
            Work::Turning(mut worker) => match worker.heed_notices() {
                Ok(true) => act(&mut worker).map(|()| Work::Turning(worker)),
                Ok(false) => worker.finish().map(|()| Work::Joining),
                Err(fault) => Err(fault),
            },
            Work::Busy => Ok(Work::Busy),
        };
        match done {
            Ok(work) => self.put_back(&process, place.worker, work),
            Err(fault) => {
                if !process.is_down() {
                    place.caller.tell(format_args!("ends: {fault}"));
                    if fault.remedy() == Remedy::Stop {
                        self.fail(format!("{} stops for good: {fault}", place.caller.name));
                    }
                }
                place.caller.sleep(REJOIN_WAIT);
                self.put_back(&process, place.worker, Work::Joining);
            }
        }
        self.note(self.world.complaint());
        self.bury(&process);
    }

    /// Joins the group if the component's topics fit.
    fn join(self: &Rc<Self>, place: &Place) -> Result<Work, WorkerFault> {
        let (plan, caller) = (&self.world.plan, &place.caller);
        let id = format!("{}-{}-{}", plan.spec.component, place.host, place.worker);
        let log = SimLog(caller.clone());
        let own = {
            let hosts = self.hosts.borrow();
            let run = hosts.get(place.host).and_then(|host| host.run.as_ref());
            run.and_then(|run| {
                let progress = run.workers.get(place.worker)?.progress.clone();
                let table = run.following.as_ref().map(|following| following.table.clone());
                Some((run.state.clone(), progress, run.topics.clone(), run.known.clone(), table))
            })
        };
        let Some((state, progress, topics, known, table)) = own.filter(|_| !caller.process.is_down()) else {
            return Err(WorkerFault::Stop("its process is gone".to_owned().into()));
        };
        if !topics.admit(&log, &partition_counts(log.topics()?))? {
            self.world.count(|happened| happened.not_admitted += 1);
            caller.sleep(LOOK_EVERY);
            return Ok(Work::Joining);
        }
        let notices = topics.reader(id.clone());
        let member = log.join(&MemberOptions {
            group: plan.spec.component.to_string(),
            topics: plan.read_topics(),
            transactional_id: id.clone(),
            instance_id: plan.static_members.then_some(id),
            start: Start::Beginning,
            starts: plan.spec.tables.iter().map(|table| (table.topic.clone(), Start::End)).collect(),
            transaction_time: heddle::runtime::TRANSACTION_TIME,
            batch_records_max: plan.batch_records_max,
        })?;
        let (member, handler) = self.plant(member, caller, &state);
        let tasks = Tasks::new(plan.spec.clone(), Arc::new(log), state, progress.clone(), plan.read_topics().len());
        let tables = table.map(|table| (TABLE, planted::table(self.options.planted, table)));
        let tasks = tasks.knowing(known).beside(GlobalTables::from_iter(tables));
        let breaker = SharedBreaker::new(plan.breaker, progress.clone());
        let common = Common {
            clock: Arc::new(VirtualClock),
            breaker,
            progress,
            shutdown: heddle::shutdown::Shutdown::default(),
        };
        let worker = Worker::new(member, handler, tasks, plan.commit, common).reading(notices);
        Ok(Work::Turning(Box::new(worker)))
    }

    /// The member and the handler of a worker, with the planted bug if there is one.
    fn plant(
        &self,
        member: Box<dyn Member>,
        caller: &Caller,
        state: &Arc<HostState>,
    ) -> (Box<dyn Member>, Box<dyn Handler>) {
        planted::apply(self.options.planted, member, Box::new(self.handler(caller)), caller, state)
    }

    fn handler(&self, caller: &Caller) -> CommandHandler {
        let plan = &self.world.plan;
        let registry = caller.clone();
        let is_global = plan.reference.is_some() && plan.spec.tables.is_empty();
        let shown = || self.hosts.borrow().get(caller.process.host).map(|host| host.shown.clone());
        CommandHandler {
            shown: if is_global { shown() } else { None },
            output: plan.output.clone(),
            dedup: !plan.spec.windows.is_empty(),
            registry: Box::new(move || {
                if registry.world().faults().slight(|rates| rates.registry) {
                    registry.world().count(|happened| happened.stalled += 1);
                    return Err("the registry does not answer".to_owned());
                }
                Ok(())
            }),
            unavailable: None,
        }
    }

    /// Removes a process that has crashed. Its disk keeps what survives the crash, and the check compares that with the
    /// log's commits.
    pub(crate) fn bury(self: &Rc<Self>, process: &Arc<Process>) {
        if !process.is_down() {
            return;
        }
        let (run, disk, undone) = {
            let mut hosts = self.hosts.borrow_mut();
            let Some(host) = hosts.get_mut(process.host) else { return };
            if host.run.as_ref().is_none_or(|run| run.process.number != process.number) {
                return;
            }
            let mut faults = self.world.faults();
            host.boots_at = time::now() + faults.chance.millis(5, 6_000);
            let undone = host.disk.crash(&mut faults.chance);
            if self.world.plan.reference.is_some() {
                host.tables.crash(&mut faults.chance);
            }
            (host.run.take(), host.disk.clone(), undone)
        };
        run.iter().for_each(|run| run.tell_losses(&self.world));
        // One of its calls may be in progress and hold locks that its other parts need when they are dropped.
        self.dead.borrow_mut().extend(run);
        self.world.count(|happened| happened.undone_applies += undone);
        self.note(check::disk(&self.world, process.host, &disk));
        self.lose(process.host, &disk);
    }

    /// Loses or damages the disk, in some crashes.
    fn lose(&self, host: usize, disk: &SimDisk) {
        let (lost, damaged) = {
            let mut faults = self.world.faults();
            (faults.chance.one_in(8), faults.chance.one_in(16))
        };
        if lost {
            self.world.count(|happened| happened.wiped += 1);
            self.world.tell(format!("h{host}"), format_args!("its disk is lost"));
        } else if damaged {
            // The engine reports damage when it opens, and the host recreates the folder.
            self.world.count(|happened| happened.corrupt += 1);
            self.world.tell(format!("h{host}"), format_args!("its state is damaged and rebuilt"));
        }
        if lost || damaged {
            disk.wipe();
            self.hosts.borrow().get(host).into_iter().for_each(|host| host.tables.wipe());
        }
    }

    /// Disturbs a host from outside.
    pub(crate) fn upset(self: &Rc<Self>) {
        let (host, what) = {
            let mut faults = self.world.faults();
            (faults.chance.below(self.world.plan.hosts as u64), faults.chance.below(5))
        };
        let host = usize::try_from(host).unwrap_or(0);
        let process = self.hosts.borrow().get(host).and_then(|host| Some(host.run.as_ref()?.process.clone()));
        let Some(process) = process else { return };
        match what {
            0 => {
                self.world.count(|happened| happened.kills += 1);
                self.world.tell(format!("h{host}"), format_args!("is killed"));
                process.crash();
                self.bury(&process);
            }
            1 => {
                if self.world.broker().group.cut_off(process.number, time::now()) {
                    self.world.count(|happened| happened.cut_off += 1);
                    self.world.tell(format!("h{host}"), format_args!("is cut off from the group"));
                }
            }
            2 => self.swap(host),
            _ => self.leave(host),
        }
    }

    /// Switches the workers of a host to a newer version of the component.
    fn swap(self: &Rc<Self>, host: usize) {
        // The new version would replace the planted bug, which has to be found.
        if self.options.planted.is_some() {
            return;
        }
        let places = self.hosts.borrow().get(host).map(|this| Host::ready((host, this))).unwrap_or_default();
        for place in places {
            // Others act during the previous worker's switch and may end the process.
            if place.caller.process.is_down() {
                return;
            }
            self.world.tell(format!("h{host}"), format_args!("w{} switches version", place.worker));
            self.act(&place, |worker| {
                self.world.count(|happened| happened.swapped += 1);
                worker.go_over(Box::new(self.handler(&place.caller)), self.world.plan.spec.clone())
            });
        }
    }

    /// Stops a host in order. It comes back later.
    fn leave(self: &Rc<Self>, host: usize) {
        let run = {
            let mut hosts = self.hosts.borrow_mut();
            let Some(host) = hosts.get_mut(host) else { return };
            let in_a_call = |run: &Run| {
                let follows = run.following.as_ref().is_some_and(|following| following.follower.is_none());
                follows || run.workers.iter().any(|slot| matches!(slot.work, Work::Busy))
            };
            if host.run.as_ref().is_none_or(|run| in_a_call(run) || run.process.stands_still()) {
                return;
            }
            host.boots_at = Duration::MAX;
            host.run.take()
        };
        let Some(run) = run else { return };
        self.world.count(|happened| happened.leaves += 1);
        self.world.tell(format!("h{host}"), format_args!("leaves"));
        run.tell_losses(&self.world);
        let process = run.process.clone();
        for slot in run.workers {
            if let Work::Turning(worker) = slot.work
                && let Err(fault) = worker.finish()
                && !process.is_down()
                && fault.remedy() == Remedy::Stop
            {
                self.fail(format!("{} cannot end: {fault}", slot.caller.name));
            }
        }
        if let Some(follower) = run.following.and_then(|following| following.follower) {
            follower.end(time::timestamp());
        }
        drop(run.state);
        let disk = {
            let mut hosts = self.hosts.borrow_mut();
            let Some(host) = hosts.get_mut(host) else { return };
            let mut faults = self.world.faults();
            host.boots_at = time::now() + faults.chance.millis(50, 4_000);
            if process.is_down() {
                host.disk.crash(&mut faults.chance);
            } else {
                host.disk.flush();
                host.tables.flush();
            }
            host.disk.clone()
        };
        self.note(check::disk(&self.world, host, &disk));
    }

    /// Takes one step in writing a host's state to disk. Steps are small, so that much can happen between them.
    pub(crate) fn write_state(self: &Rc<Self>) {
        let found = {
            let hosts = self.hosts.borrow();
            let moving = hosts.iter().filter(|host| host.run.as_ref().is_some_and(|run| !run.process.stands_still()));
            let tasks = moving.flat_map(|host| {
                let run = host.run.as_ref()?;
                Some(
                    run.state
                        .tasks()
                        .into_iter()
                        .map(|(_, _, stores)| (run.process.clone(), host.disk.clone(), stores)),
                )
            });
            self.schedule.borrow_mut().pick(&tasks.flatten().collect::<Vec<_>>())
        };
        let Some((process, disk, stores)) = found else { return };
        let draw = self.schedule.borrow_mut().below(8);
        // The next step retries after a failure, as the flusher does.
        let _again = match draw {
            0..=2 => Ok(stores.freeze()),
            3..=5 => stores.write_frozen().map(|_| true),
            6 => stores.maintain(),
            _ => {
                disk.flush();
                Ok(true)
            }
        };
        drop(stores);
        self.bury(&process);
    }
}
