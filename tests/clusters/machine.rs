//! A machine with a shortage, beside a Kafka: a full disk, few descriptors, a broker that does not answer.

use std::path::PathBuf;
use std::process::Command;

use heddle_fixtures::kafka::Kafka;
use serde_json::Value;

use crate::failures::host::{Scripts, until};
use crate::machine::{Host, fill, small_disk};
use crate::support::app::App;

/// The disk with the local state fills up and has room again. No store is ever wrong.
pub(crate) fn a_full_disk_keeps_state_in_memory_and_in_the_changelogs(app: &App) {
    let Some(small_disk) = small_disk() else {
        println!("this user may mount nothing: only `full_disks` and `task_stores` test a full disk");
        return;
    };
    let (scripts, log) = (Scripts::of(app), app.log());
    let small = app.data.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mut host = Host::start(app, &format!("export HEDDLE_APP_DATA={}\n{small_disk}", small.display()));
    let data = PathBuf::from(format!("/proc/{}/root{}", host.id(), small.display()));
    host.found_in(&data);
    until("it is ready", || host.log().contains(" ready "));
    let handled = |host: &Host| {
        let status = serde_json::from_str::<Value>(&host.ask("/status").unwrap().1).unwrap();
        status[0]["handled"].as_u64().unwrap()
    };
    let put = |count: i32| {
        let records = (0..count).map(|n| scripts.record(n % 2, &format!("k{n}"), "count", 1));
        log.append(&records.collect::<Vec<_>>()).unwrap();
    };
    put(10);
    until("these are handled", || handled(&host) == 10);
    let filler = fill(&data);
    put(10);
    until("it goes on", || handled(&host) == 20);
    until("it is reported", || host.ask("/health/ready").unwrap().1.contains("the disk is full"));
    assert!(host.ask("/metrics").unwrap().1.contains("heddle_machine_lacks{what=\"state disk\"} 1"));
    until("it is logged", || host.log().contains("state stays in memory and in the changelogs"));
    std::fs::remove_file(filler).unwrap();
    until("it is written", || host.log().contains("state can be written again"));
    until("it is ready again", || host.ask("/health/ready").unwrap() == (200, "ok".to_owned()));
    // The disk is full again when the host has to stop.
    let _filler = fill(&data);
    put(10);
    until("these are handled, too", || handled(&host) == 30);
    assert_eq!(host.stop(), Some(0), "{}", host.log());
    // State that is not on disk is restored from the changelogs, so the sums continue.
    app.ok(&["run", "--until-idle"]);
    put(2);
    app.ok(&["run", "--until-idle"]);
    let sums = app.ok(&["consume", "out", "--json"]);
    let of_first =
        sums.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|line| line["key"] == "k0");
    let sums = of_first.map(|line| line["value"]["did"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let wanted = (1..=sums.len()).map(|n| format!("count {n}"));
    assert!(sums.iter().filter(|did| did.starts_with("count ")).cloned().eq(wanted), "{sums:?}");
}

/// The host may fail to start, but it ends in any case.
pub(crate) fn few_descriptors_neither_hang_the_host_nor_are_kept_quiet(app: &App) {
    for limit in [24, 40, 64] {
        let mut host = Host::start(app, &format!("ulimit -n {limit}"));
        until("it says what is wrong", || host.has_ended() || host.log().contains("files and sockets open"));
        let told = host.log();
        let ended = host.stop();
        println!("with {limit} descriptors it ends with {ended:?}: {}", told.lines().last().unwrap_or_default());
        assert!(!told.is_empty() || ended == Some(0), "nothing was said");
    }
}

/// A broker that hangs answers nothing, not even to members that leave.
pub(crate) fn a_host_ends_although_its_broker_does_not_answer(app: &App, broker: &Kafka) {
    let (scripts, log) = (Scripts::of(app), app.log());
    let mut host = Host::start(app, "export HEDDLE_COMMIT_INTERVAL=3s");
    until("it is ready", || host.log().contains(" ready "));
    log.append(&[scripts.record(0, "k0", "count", 1)]).unwrap();
    let open = || log.watermarks("out").unwrap().iter().any(|bounds| bounds.end > bounds.high);
    until("a transaction is open", open);
    let signal = |signal: &str| {
        let told = Command::new("kill").args([signal, &broker.process_id().unwrap().to_string()]).status().unwrap();
        assert!(told.success());
    };
    signal("-STOP");
    let ended = host.stop();
    signal("-CONT");
    println!("beside a broker that hangs it ends with {ended:?}");
    assert!(ended == Some(0) || (ended == Some(1) && host.log().contains("ended by force")), "{}", host.log());
    app.ok(&["run", "--until-idle"]);
}
