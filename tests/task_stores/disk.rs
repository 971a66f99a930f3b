//! A host while its disk accepts no state, for a while or permanently. The faults are injected into the engine;
//! `tests/machine.rs` covers real file systems.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::{Log, MemberOptions, Start, TopicSpec};
use heddle::runtime::{
    Cause, CommitPolicy, Common, Handler, Progress, SharedBreaker, SystemClock, TRANSACTION_TIME, Tasks, Worker,
};
use heddle::state::{Bounds, HostState, StateEngine, StateError};
use heddle::telemetry::Telemetry;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::{NewRecord, Partition};
use heddle_core::fault::{EventFault, Fault};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::{Reads, TaskState as _};
use heddle_core::task::{Dispatch, Prepared, TaskSpec};
use tempfile::TempDir;

use crate::task_stores::flusher::{Control, Disk, bounds, eventually, wayward};
use crate::task_stores::harness::{Harness, STOCK, spec};

const RECORDS: u64 = 200;
/// The size of the state that each record writes.
const VALUE_BYTES: usize = 200;

/// Bounds with a memtable of a kilobyte.
fn small() -> Bounds {
    bounds(1_000, Duration::ZERO)
}

/// A handler that stores the value of each record under its key.
struct Keeper;

impl Dispatch for Keeper {
    fn identify(&mut self, _: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        Ok(None)
    }

    fn dispatch(&mut self, _: &Prepared<'_>, delivery: &Delivery<'_>, _: Reads) -> Result<Effects, Fault> {
        let (key, value) = (delivery.record.key.clone().unwrap(), delivery.record.value.clone());
        Ok(Effects { writes: [((STOCK, key), value)].into_iter().collect(), ..Effects::default() })
    }
}

impl Handler for Keeper {}

/// A worker with one task, on the embedded log and a controllable engine.
struct Shop {
    worker: Worker,
    state: Arc<HostState>,
    progress: Arc<Progress>,
    control: Arc<Control>,
    _harness: Harness,
    _folder: TempDir,
}

impl Shop {
    fn open() -> Self {
        let (harness, control) = wayward(small());
        let state = Arc::new(HostState::start(harness.engine.clone(), small()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap());
        for name in ["in", "store"] {
            let spec = TopicSpec { name: name.into(), partitions: 1, replication: None, options: Default::default() };
            log.create_topic(&spec).unwrap();
        }
        let record = |n: u64| NewRecord {
            topic: "in".into(),
            partition: Some(Partition(0)),
            timestamp: None,
            key: Some(Bytes::from(n.to_string())),
            value: Some(Bytes::from(vec![1; VALUE_BYTES])),
            headers: vec![],
        };
        log.append(&(0..RECORDS).map(record).collect::<Vec<_>>()).unwrap();
        let stateless = TaskSpec::stateless("shop.keeper".into(), FailurePolicy::in_place(1, "dlq"));
        let spec = Arc::new(TaskSpec { changelogs: vec!["store".into()], ..stateless });
        let options = MemberOptions {
            group: "shop.keeper".into(),
            topics: vec!["in".into()],
            transactional_id: "keeper".into(),
            instance_id: None,
            start: Start::Beginning,
            starts: Default::default(),
            transaction_time: TRANSACTION_TIME,
            batch_records_max: 5,
        };
        let member = log.join(&options).unwrap();
        let progress = Arc::new(Progress::new(Telemetry::new("shop.keeper")));
        let tasks = Tasks::new(spec, log, state.clone(), progress.clone(), 1);
        let common = Common {
            clock: Arc::new(SystemClock::default()),
            breaker: SharedBreaker::new(None, progress.clone()),
            progress: progress.clone(),
            shutdown: heddle::shutdown::Shutdown::default(),
        };
        let policy = CommitPolicy { interval: Duration::from_millis(1), records_max: 5 };
        let worker = Worker::new(member, Box::new(Keeper), tasks, policy, common);
        Self { worker, state, progress, control, _harness: harness, _folder: folder }
    }

    fn handled(&self) -> u64 {
        self.progress.snapshot().counts.handled
    }

    fn turn_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(120);
        while !is_so(self) {
            let (handled, pending, fault) = (self.handled(), self.pending(), self.state.fault());
            let late = std::time::Instant::now() >= deadline;
            assert!(!late, "{what}: {handled} handled, {pending} bytes pending, {fault:?}");
            self.worker.turn().unwrap();
        }
    }

    /// Returns true if the disk is reported as the cause of a stall.
    fn stalled(&self) -> bool {
        self.progress.stalls().iter().any(|stall| stall.cause == Cause::Disk)
    }

    fn pending(&self) -> usize {
        self.state.tasks().iter().map(|(.., stores)| stores.pending_bytes()).sum()
    }
}

#[test]
fn a_worker_pauses_while_the_disk_takes_no_state() {
    let mut shop = Shop::open();
    // A state that cannot even be opened is another case: the worker rejoins.
    shop.turn_until("it has its task", |shop| shop.progress.is_assigned());
    shop.control.set(Disk::Fails);
    shop.turn_until("it pauses", |shop| shop.stalled());
    let (handled, pending) = (shop.handled(), shop.pending());
    assert!((1..RECORDS).contains(&handled), "{handled} of {RECORDS}");
    // Four memtables, and the transaction that exceeded the bound.
    assert!((4_000..8_000).contains(&pending), "{pending} bytes");
    assert!(shop.state.fault().unwrap().what.contains("No space left on device"));
    // The worker stays in its group meanwhile, and still knows its work.
    (0..5).for_each(|_| shop.worker.turn().unwrap());
    assert_eq!(shop.handled(), handled);
    assert!(!shop.progress.idle_for(Duration::ZERO));
    shop.control.set(Disk::Works);
    shop.turn_until("all is handled", |shop| shop.handled() == RECORDS);
    shop.turn_until("nothing holds it up", |shop| !shop.stalled());
    let stores = shop.state.find(&"shop.keeper".into(), Partition(0)).unwrap();
    assert!((0..RECORDS).all(|n| stores.get(STOCK, n.to_string().as_bytes()).unwrap().is_some()));
}

#[test]
fn a_host_does_not_wait_for_ever_for_a_disk_that_does_not_answer() {
    let (mut harness, control) = wayward(small());
    let state = HostState::start(harness.engine.clone(), small()).unwrap();
    harness.stores = state.open(&spec(), Partition(3)).unwrap();
    harness.restore();
    control.stick(true);
    harness.put(STOCK, "a", "1");
    eventually("a write is under way", || harness.stores.pending_bytes() > 0 && !harness.stores.freeze());
    // Closing the task does not wait for the disk. Nobody can open it again before the write has ended.
    state.close(&harness.stores);
    assert!(!harness.stores.is_retired(), "the write may still come");
    assert!(matches!(state.open(&spec(), Partition(3)).map(|_| ()), Err(StateError::Unusable { .. })));
    eventually("it is reported", || state.fault().is_some_and(|why| why.what.starts_with("the disk is slow")));
    control.stick(false);
    eventually("it can be opened", || state.open(&spec(), Partition(3)).is_ok());
    assert!(harness.stores.is_retired());
    eventually("all is well", || state.fault().is_none());
}

#[test]
fn an_engine_that_stays_broken_is_reopened() {
    let (mut harness, control) = wayward(small());
    let broken = harness.engine.clone();
    let good: Arc<dyn StateEngine> = harness.engine.clone();
    let opened = control.clone();
    let reopen = move || {
        opened.set(Disk::Works);
        Ok(good.clone())
    };
    let state = HostState::start(broken, small()).unwrap().reopened_by(reopen);
    harness.stores = state.open(&spec(), Partition(3)).unwrap();
    harness.restore();
    harness.put(STOCK, "a", "1");
    eventually("it is on disk", || harness.watermark_on_disk("shop.intake.stock").is_some());
    control.set(Disk::Fails);
    harness.put(STOCK, "b", "2");
    eventually("its tasks are retired", || {
        state.mend();
        harness.stores.is_retired()
    });
    // Their workers notice that, and open them again.
    eventually("it can be opened", || {
        state.mend();
        state.fault().is_none() && state.open(&spec(), Partition(3)).is_ok()
    });
    harness.stores = state.find(&spec().component, Partition(3)).unwrap();
    assert_eq!(harness.get(STOCK, "b"), None, "that is in the changelog alone");
    harness.restore();
    assert_eq!(harness.scan(STOCK, "", None, 9), "a=1 b=2");
    eventually("all is on disk", || harness.on_disk(STOCK).len() == 2);
}
