//! Latency at a fixed rate: the time from the creation of an order until a read-committed consumer has its result.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use heddle::log::{Log as _, Start};

use crate::broker::{self, Group};
use crate::orders::{OUTPUTS, Orders, PARTITIONS};
use crate::program::Run;
use crate::session::Session;

/// The load time before latency counts. A virtual machine compiles meanwhile, and a host fills its caches.
const WARM_UP: Duration = Duration::from_secs(4);
/// The longest time until the first record after a restart is committed.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The interval between batches of orders.
const TICK: Duration = Duration::from_millis(2);

/// The latencies at a fixed rate.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    /// Orders per second.
    pub(crate) rate: u64,
    /// The time from the start of the process to its first commit, with the state of the previous run.
    pub(crate) restart_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Restarts a program, and sends it orders with the numbers from `next` on.
pub(crate) fn measure(
    session: &Session,
    run: &Run,
    orders: &Orders,
    next: &mut u64,
    rate: u64,
    seconds: u64,
) -> Result<Latency> {
    let group = Group::new(&session.bootstrap, &run.group(), PARTITIONS)?;
    let begun = group.committed()?;
    let mut send = |count: u64| {
        let at = Some(heddle::log::now());
        (*next..*next + count).try_for_each(|number| orders.send(number, at))?;
        *next += count;
        anyhow::Ok(())
    };
    send(1)?;
    orders.flush()?;
    let mut process = run.start(session)?;
    while group.committed()? == begun {
        process.check()?;
        if process.started.elapsed() > WAIT_MAX {
            bail!("nothing is committed after {WAIT_MAX:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let restart_ms = process.started.elapsed().as_secs_f64() * 1e3;
    // The program first processes the orders that were sent for other programs.
    let all = broker::input(&session.log)?;
    while group.committed()? < all {
        process.check()?;
        std::thread::sleep(TICK);
    }
    let done = AtomicBool::new(false);
    let mut latencies = std::thread::scope(|scope| {
        let reading = scope.spawn(|| observe(session, &done));
        let since = Instant::now();
        let mut sent = 0;
        let whole = WARM_UP + Duration::from_secs(seconds);
        while since.elapsed() < whole {
            let due = (since.elapsed().as_secs_f64() * rate as f64) as u64;
            let sending = send(due - sent);
            sent = due;
            if sending.and_then(|()| process.check()).is_err() {
                break;
            }
            std::thread::sleep(TICK);
        }
        std::thread::sleep(Duration::from_millis(1_500));
        done.store(true, Ordering::Relaxed);
        reading.join().unwrap_or_else(|_| bail!("the reader of the output failed"))
    })?;
    process.check()?;
    process.end()?;
    latencies.sort_unstable();
    let at = |share: f64| latencies.get(((latencies.len() as f64 * share) as usize).min(latencies.len() - 1));
    match (at(0.5), at(0.99), latencies.last()) {
        (Some(p50), Some(p99), Some(max)) => {
            Ok(Latency { rate, restart_ms, p50_ms: *p50 as f64, p99_ms: *p99 as f64, max_ms: *max as f64 })
        }
        _ => bail!("no order came out"),
    }
}

/// Reads the output, and records the age of each order in milliseconds, after the warm-up.
fn observe(session: &Session, done: &AtomicBool) -> Result<Vec<i64>> {
    let ends = broker::ends(&session.log, &OUTPUTS[..1])?;
    let starts = ends.into_iter().map(|(place, offset)| (place, Start::At(offset))).collect::<Vec<_>>();
    let mut reader = session.log.reader(&starts)?;
    let counts_from = heddle::log::now().0 + i64::try_from(WARM_UP.as_millis())?;
    let mut latencies = vec![];
    while !done.load(Ordering::Relaxed) {
        let records = reader.poll(Duration::from_millis(50))?;
        let now = heddle::log::now().0;
        let counted = records.iter().filter(|record| record.timestamp.0 >= counts_from);
        latencies.extend(counted.map(|record| now - record.timestamp.0));
    }
    Ok(latencies)
}
