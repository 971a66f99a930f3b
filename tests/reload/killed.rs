//! `kill -9` in the middle of a deployment: of the host that deploys, and of the command.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use heddle::log::Log;
use heddle_fixtures::kafka::Kafka;

use crate::reload::host::{Host, wait_until};
use crate::reload::hosts::{Registry, platform};
use crate::reload::platform::{Orders, Platform, bookings, check_bookings, ledger};
use crate::reload::versions::{digest, numbered, with_ballast};

/// The ballast gives a file so many chunks that there is time for a kill between the first and the last.
const BALLAST_BYTES: usize = 40 << 20;
const CHUNKS: i64 = 81;
/// The number of attempts to hit that time.
const ATTEMPTS: usize = 5;

/// The number of chunks in the log, of all files.
fn chunks(log: &dyn Log) -> i64 {
    log.watermarks("shop.artefacts").unwrap().first().map_or(0, |bounds| bounds.high.0)
}

fn deploy(platform: &Platform, file: &str) -> Child {
    platform.command(0, &["deploy", file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the log has some chunks more than `before`.
fn some_chunks(log: &dyn Log, before: i64) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while chunks(log) <= before {
        assert!(Instant::now() < deadline, "no chunk was written");
    }
}

#[test]
fn a_host_that_is_killed_between_two_chunks_keeps_the_previous_version() {
    let (broker, registry) = (Kafka::start(), Registry::start());
    let platform = platform(&broker, &registry);
    let [mut first, second] = [0, 1].map(|number| Host::start(&platform, number));
    let log = platform.log();
    let large = with_ballast(ledger(), BALLAST_BYTES);
    let mut hit = None;
    for attempt in 0..ATTEMPTS {
        let version = numbered(&large, attempt);
        let before = chunks(&*log);
        let mut command = deploy(&platform, &platform.version("large.wasm", &version));
        some_chunks(&*log, before);
        first.kill();
        assert!(!command.wait().unwrap().success(), "the host did not live to say that it runs");
        let written = chunks(&*log) - before;
        first = Host::start(&platform, 0);
        if written < CHUNKS {
            hit = Some((version, written));
            break;
        }
    }
    let (version, written) = hit.expect("no host was killed between two chunks");
    println!("killed after {written} of {CHUNKS} chunks");
    // No host has read about the version. Both hosts run the previous one, and records flow.
    for number in [0, 1] {
        assert_eq!(platform.status(number)["digest"], digest(ledger()), "host {number}");
    }
    let orders = Orders::new(&platform.registry());
    log.append(&(0..60).map(|n| orders.order(n, true)).collect::<Vec<_>>()).unwrap();
    let out = |number: usize| platform.status(number)["out"].as_u64().unwrap_or_default();
    wait_until("all orders are booked", || out(0) + out(1) == 60);
    // The same version again, so its first chunks are in the log twice.
    platform.ok(&["deploy", &platform.version("large.wasm", &version)]);
    for number in [0, 1] {
        assert_eq!(platform.status(number)["digest"], digest(&version), "host {number}");
    }
    let third = Host::start(&platform, 2);
    assert_eq!(platform.status(2)["digest"], digest(&version), "{}", third.told());
    [first, second, third].into_iter().for_each(Host::stop);
}

/// Wherever the host is killed, it returns with the previous version or the new one, as the log says. Nothing is lost.
#[test]
fn a_host_that_is_killed_anywhere_in_a_deployment_comes_back_with_one_version() {
    let platform = Platform::embedded();
    let mut host = Host::start(&platform, 0);
    let orders = Orders::new(&platform.registry());
    let mut running = ledger().to_vec();
    let (mut kept, mut went_over) = (0, 0);
    for attempt in 0..12 {
        let version = numbered(&with_ballast(ledger(), 2 << 20), attempt);
        platform.log().append(&[orders.order(attempt, true)]).unwrap();
        let file = platform.version("next.wasm", &version);
        let mut command = deploy(&platform, &file);
        std::thread::sleep(Duration::from_millis(20 * attempt as u64));
        host.kill();
        let said_so = command.wait().unwrap().success();
        host = Host::start(&platform, 0);
        let runs = platform.status(0)["digest"].clone();
        assert!(runs == digest(&version) || (runs == digest(&running) && !said_so), "attempt {attempt}: {runs}");
        if runs == digest(&version) {
            (running, went_over) = (version, went_over + 1);
        } else {
            kept += 1;
        }
    }
    println!("killed 12 times: {kept} times the previous version continues, {went_over} times the new one");
    let last = numbered(ledger(), 100);
    platform.ok(&["deploy", &platform.version("next.wasm", &last)]);
    assert_eq!(platform.status(0)["digest"], digest(&last));
    wait_until("all orders are booked", || bookings(&*platform.log()).len() == 12);
    check_bookings(&bookings(&*platform.log()), 12);
    host.stop();
}

#[test]
fn a_killed_command_leaves_its_host_on_one_of_the_two_versions() {
    let (broker, registry) = (Kafka::start(), Registry::start());
    let platform = platform(&broker, &registry);
    let [first, second] = [0, 1].map(|number| Host::start(&platform, number));
    // The kill comes before the host has the whole file, so no version is announced.
    let log = platform.log();
    let before = chunks(&*log);
    let address = std::fs::read_to_string(platform.data(0).join("admin-address")).unwrap();
    let mut half = TcpStream::connect(&address).unwrap();
    let head = format!("POST /deploy/ledger HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", ledger().len());
    half.write_all(head.as_bytes()).unwrap();
    half.write_all(&ledger()[..ledger().len() / 2]).unwrap();
    drop(half);
    // The kill comes after that, so the host continues without the command.
    let large = numbered(&with_ballast(ledger(), BALLAST_BYTES), 1);
    let mut command = deploy(&platform, &platform.version("large.wasm", &large));
    some_chunks(&*log, before);
    command.kill().unwrap();
    command.wait().unwrap();
    for number in [0, 1] {
        wait_until("the host switches version", || platform.status(number)["digest"] == digest(&large));
    }
    // The incomplete file left no version: the two lines are the large file and the one before it.
    assert!(platform.ok(&["deployments", "ledger"]).lines().count() == 2);
    let next = numbered(ledger(), 2);
    platform.ok(&["deploy", &platform.version("next.wasm", &next)]);
    let third = Host::start(&platform, 2);
    for number in [0, 1, 2] {
        assert_eq!(platform.status(number)["digest"], digest(&next), "host {number}");
    }
    [first, second, third].into_iter().for_each(Host::stop);
}
