//! The gate that every call of a host into the log or the disk passes. Here the host may crash, pause, or let others
//! act first.
//!
//! ```text
//!          ┌ crash: the call was not made        ┌ crash: it was made, and nobody knows
//!  call ───┼ pause beyond the session ──> work ──┼ pause                             ──> answer
//!          └ others go on for a while            └ others go on
//! ```
//!
//! A crash is an error and a flag: from then on every call of this process fails, also the calls of its cleanup. The
//! scheduler then drops the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use heddle::log::LogError;
use heddle::state::StateError;

use crate::life;
use crate::time;
use crate::world::World;

/// A call into the log or the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Joining the group.
    Join,
    /// Asking for records.
    Poll,
    /// Sending a record.
    Send,
    /// The first step of a commit: flushing the records.
    Flush,
    /// The second step of a commit: adding the offsets.
    Positions,
    /// The third step of a commit: ending the transaction.
    Decide,
    /// Aborting the transaction.
    Abort,
    /// Seeking, pausing, releasing partitions, leaving.
    Manage,
    /// Querying the log.
    Ask,
    /// Reading a changelog.
    Restore,
    /// Opening or reading a tree.
    DiskRead,
    /// Writing a tree.
    DiskWrite,
}

impl Call {
    /// A factor by which faults are rarer here than in a commit, because these calls are more frequent.
    fn rarity(self) -> u64 {
        match self {
            Self::Flush | Self::Positions | Self::Decide | Self::Abort => 1,
            Self::Send | Self::DiskWrite | Self::Join => 3,
            Self::Manage | Self::Ask | Self::Restore => 6,
            Self::Poll | Self::DiskRead => 25,
        }
    }

    fn is_commit(self) -> bool {
        matches!(self, Self::Flush | Self::Positions | Self::Decide)
    }
}

/// The answer of a call in a process that has ended.
pub(crate) trait Gone {
    fn gone() -> Self;
}

impl Gone for LogError {
    fn gone() -> Self {
        Self::Unreachable("this process has crashed".to_owned())
    }
}

impl Gone for StateError {
    fn gone() -> Self {
        Self::Unusable { folder: "disk".into(), why: "this process has crashed".to_owned() }
    }
}

/// One run of one host's process.
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) host: usize,
    /// A number that is unique among all runs of all hosts.
    pub(crate) number: u64,
    down: AtomicBool,
    still: AtomicBool,
}

impl Process {
    pub(crate) fn new(world: Arc<World>, host: usize, number: u64) -> Arc<Self> {
        Arc::new(Self { world, host, number, down: AtomicBool::new(false), still: AtomicBool::new(false) })
    }

    /// Returns true if the process has crashed.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Returns true while the process is paused.
    pub(crate) fn stands_still(&self) -> bool {
        self.still.load(Ordering::Relaxed)
    }

    /// Crashes the process immediately.
    pub(crate) fn crash(&self) {
        self.down.store(true, Ordering::Relaxed);
        self.world.broker().group.silence(self.number, time::now());
    }

    /// Pauses the process for `time`, including its heartbeats.
    fn stand_still(&self, time: Duration) {
        self.world.count(|happened| happened.pauses += 1);
        self.world.broker().group.silence(self.number, time::now());
        self.still.store(true, Ordering::Relaxed);
        life::meanwhile(time::now() + time);
        self.still.store(false, Ordering::Relaxed);
        if !self.is_down() {
            self.world.broker().group.hear(self.number);
        }
    }
}

/// A caller: a worker, the topic watcher, or the writer of a host's state.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) process: Arc<Process>,
    /// The name in the trace.
    pub(crate) name: Arc<str>,
    /// When the caller has something to do again, in microseconds.
    wake_at: Arc<AtomicU64>,
}

impl Caller {
    pub(crate) fn new(process: Arc<Process>, name: String) -> Self {
        Self { process, name: name.into(), wake_at: Arc::default() }
    }

    pub(crate) fn world(&self) -> &World {
        &self.process.world
    }

    /// Writes a line of the trace.
    pub(crate) fn tell(&self, what: std::fmt::Arguments<'_>) {
        self.world().tell(&self.name, what);
    }

    /// Sleeps for `time`, because there is nothing to do before.
    pub(crate) fn sleep(&self, time: Duration) {
        let at = time::now() + time;
        self.wake_at.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn wakes_at(&self) -> Duration {
        Duration::from_micros(self.wake_at.load(Ordering::Relaxed))
    }

    /// Makes a call, unless the process has crashed.
    pub(crate) fn pass<T, E: Gone>(&self, call: Call, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.interrupt(call, "before")?;
        let answer = work();
        self.interrupt(call, "after")?;
        answer
    }

    /// Waits until then, while the others go on.
    pub(crate) fn wait<E: Gone>(&self, until: Duration) -> Result<(), E> {
        life::meanwhile(until);
        if self.process.is_down() { Err(E::gone()) } else { Ok(()) }
    }

    /// Pauses this thread alone for `time`. Heartbeats go on, but the group expels a member that does not poll.
    fn stand_still(&self, time: Duration) {
        self.world().count(|happened| happened.hung += 1);
        let in_group = self.world().plan.session / 2;
        life::meanwhile(time::now() + in_group);
        self.world().broker().group.expel(self.process.number, &self.name, time::now());
        life::meanwhile(time::now() + time.saturating_sub(in_group));
    }

    fn interrupt<E: Gone>(&self, call: Call, when: &str) -> Result<(), E> {
        if self.process.is_down() {
            return Err(E::gone());
        }
        let rarity = call.rarity();
        let world = self.world();
        let (crash, pause, alone, others) = {
            let mut faults = world.faults();
            let crash = faults.grave(|rates| rates.crash * rarity);
            let pause = (!crash && faults.grave(|rates| rates.pause * rarity))
                .then(|| world.plan.session + faults.chance.millis(1, 5_000));
            // A thread in a disk call may hold a lock that others of this host wait for, so none of them runs in
            // between.
            let open = !matches!(call, Call::DiskRead | Call::DiskWrite);
            let alone = open && pause.is_some() && faults.chance.one_in(2);
            let mayhap = open && faults.slight(|rates| rates.interleave * rarity);
            let others = mayhap.then(|| faults.chance.millis(1, 60));
            (crash, pause, alone, others)
        };
        if crash {
            self.tell(format_args!("CRASH {when} {call:?}"));
            world.count(|happened| {
                happened.crashes += 1;
                happened.crashes_in_commit += u64::from(call.is_commit());
            });
            self.process.crash();
        } else if let Some(time) = pause {
            let whole = if alone { "alone" } else { "with its process" };
            self.tell(format_args!("pauses {whole} for {time:?}, {when} {call:?}"));
            if alone {
                self.stand_still(time);
            } else {
                self.process.stand_still(time);
            }
            self.tell(format_args!("wakes up"));
        } else if let Some(time) = others {
            world.count(|happened| happened.interleaved += 1);
            life::meanwhile(time::now() + time);
        }
        if self.process.is_down() { Err(E::gone()) } else { Ok(()) }
    }
}
