//! The gate that every call of a host into log or disk goes through. Here it may crash, stand still, or let others go
//! first.
//!
//! ```text
//!          ┌ crash: the call was not made        ┌ crash: it was made, and nobody knows
//!  call ───┼ stand still beyond the session ──> work ──┼ stand still                        ──> answer
//!          └ others go on for a while            └ others go on
//! ```
//!
//! A crash is an answer with an error and a flag: from then on nothing of this process gets through any more, whatever
//! its code tries on the way out. The scheduler then drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use heddle::log::LogError;
use heddle::state::StateError;

use crate::life;
use crate::time;
use crate::world::World;

/// A call into log or disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Joining the group.
    Join,
    /// Asking for records.
    Poll,
    /// Handing a record over.
    Send,
    /// The first step of a commit: the records.
    Flush,
    /// The second step of a commit: the positions.
    Positions,
    /// The third step of a commit: the decision.
    Decide,
    /// Aborting.
    Abort,
    /// Going back, holding back, letting go, leaving.
    Manage,
    /// Asking the log for something.
    Ask,
    /// Reading a changelog.
    Restore,
    /// Opening or reading a tree.
    DiskRead,
    /// Writing a tree.
    DiskWrite,
}

impl Call {
    /// How much rarer than in a commit it is that something goes wrong here: there are so many more of these calls.
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

/// What a call answers in a process that is gone.
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
    /// Another number for every run of every host.
    pub(crate) number: u64,
    down: AtomicBool,
    still: AtomicBool,
}

impl Process {
    pub(crate) fn new(world: Arc<World>, host: usize, number: u64) -> Arc<Self> {
        Arc::new(Self { world, host, number, down: AtomicBool::new(false), still: AtomicBool::new(false) })
    }

    /// Whether it has crashed.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Whether nothing in it moves for now.
    pub(crate) fn stands_still(&self) -> bool {
        self.still.load(Ordering::Relaxed)
    }

    /// Ends it on the spot.
    pub(crate) fn crash(&self) {
        self.down.store(true, Ordering::Relaxed);
        self.world.broker().group.silence(self.number, time::now());
    }

    /// Nothing in it moves for `time`, heartbeats included.
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

/// One that calls: a worker, or what writes a host's state to disk.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) process: Arc<Process>,
    /// Its name in the trace.
    pub(crate) name: Arc<str>,
    /// When it has something to do again, in microseconds.
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

    /// Nothing is there to do before.
    pub(crate) fn sleep(&self, time: Duration) {
        let at = time::now() + time;
        self.wake_at.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn wakes_at(&self) -> Duration {
        Duration::from_micros(self.wake_at.load(Ordering::Relaxed))
    }

    /// Makes a call, if the process lives on.
    pub(crate) fn pass<T, E: Gone>(&self, call: Call, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.interrupt(call, "before")?;
        let answer = work();
        self.interrupt(call, "after")?;
        answer
    }

    /// Waits, with the others going on, until then.
    pub(crate) fn wait<E: Gone>(&self, until: Duration) -> Result<(), E> {
        life::meanwhile(until);
        if self.process.is_down() { Err(E::gone()) } else { Ok(()) }
    }

    /// This one thread does not move for `time`. Heartbeats go on, but one that does not poll is expelled from the
    /// group.
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
            // Who is at the disk may hold a lock that the others of this host wait for, so none of them comes in
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
            self.tell(format_args!("stands still {whole} for {time:?}, {when} {call:?}"));
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
