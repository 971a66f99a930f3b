//! Clusters that restrict a host. It reports what is missing, continues when that is granted, and stops on request.
//!
//! The rights in docs/rights.md are enough to run. When a host is killed, its successors end what it left open.
//!
//! The first part uses one broker, because each costs seconds. First the broker has too few replicas, then it requires
//! rights.

mod guarded;
mod machine;
mod takeover;

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heddle::cluster::{HostClient, Reach};
use heddle::log::TopicSpec;
use heddle_fixtures::kafka::shared;
use heddle_fixtures::{Ended, terminate};
use serde_json::Value;

use self::guarded::{Granted, Guarded};
use crate::failures::clinic;
use crate::failures::host::{Scripts, until};
use crate::support::app::App;

const TRANSACTIONS: &str = "transaction.state.log.replication.factor";
const OFFSETS: &str = "offsets.topic.replication.factor";

/// A host with a captured log. It ends with the test.
struct Host {
    process: Ended,
    log: std::path::PathBuf,
    address: std::path::PathBuf,
}

impl Host {
    fn start(app: &App, change: impl FnOnce(&mut Command)) -> Self {
        let (log, address) = (app.data.path().join("host.log"), app.data.path().join("admin-address"));
        let _ = std::fs::remove_file(&address);
        let mut run = app.command(&["run"]);
        run.env_remove("HEDDLE_TRACE").stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        change(&mut run);
        Self { process: Ended(run.spawn().unwrap()), log, address }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn ask(&self, path: &str) -> String {
        let Ok(address) = std::fs::read_to_string(&self.address) else { return String::new() };
        let answer = HostClient::new(&address, &Reach::default(), std::time::Duration::from_secs(10)).get(path);
        answer.map(|answer| answer.text()).unwrap_or_default()
    }

    /// Waits until the host reports this in its log, in its readiness and in its status.
    fn says(&self, parts: &[&str]) {
        let has_all = |text: &str| parts.iter().all(|part| text.contains(part));
        until(&format!("the host logs {parts:?}"), || has_all(&self.log()));
        until(&format!("it is not ready for {parts:?}"), || has_all(&self.ask("/health/ready")));
        let status = serde_json::from_str::<Value>(&self.ask("/status")).unwrap();
        assert!(has_all(status[0]["stalls"][0]["why"].as_str().unwrap()), "{status}");
        let stalls = "heddle_stalls{component=\"clinic.patient\",cause=\"coordinator\"} 1";
        assert!(self.ask("/metrics").contains(stalls), "{stalls}");
    }

    fn is_ready(&self) {
        until("the host is ready", || self.ask("/health/ready") == "ok");
    }

    /// Stops the host in order, whatever it is blocked by.
    fn stop(mut self) {
        let ended = terminate(&mut self.process.0);
        assert!(ended.success(), "{ended}: {}", self.log());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host wrote:\n{}", self.log());
        }
    }
}

/// The order matters, because each part leaves the broker as the next one needs it.
#[test]
fn a_host_copes_with_clusters_that_others_operate() {
    let guarded = Guarded::start(&format!("{TRANSACTIONS}=3\n{OFFSETS}=3\n"));
    let app = clinic(App::kafka(&guarded.broker), 2, "attempts = 1\nretry = [\"200ms\"]");
    too_few_brokers(&guarded, &app);
    let granted = rights_of_the_page();
    the_rights_of_the_page_are_enough(&guarded, &app, &granted);
    each_right_that_is_missing_is_named(&guarded, &app, &granted);
    workers_wait_for_rights(&guarded, &app, &granted);
    a_start_waits_for_the_registry(&guarded, &app, &granted);
    machine::a_host_ends_although_its_broker_does_not_answer(&app, &guarded.broker);
}

/// The parts run in sequence, because their hosts are of one app.
#[test]
fn a_host_copes_with_the_end_of_another_and_with_a_machine_that_runs_short() {
    let app = clinic(App::kafka(shared()), 2, "attempts = 1\nretry = [\"200ms\"]");
    takeover::an_open_transaction_of_a_killed_host_does_not_block_its_heirs(&app);
    takeover::a_restore_behind_an_open_transaction_goes_on_when_its_owner_is_gone(&app);
    machine::a_full_disk_keeps_state_in_memory_and_in_the_changelogs(&app);
    machine::few_descriptors_neither_hang_the_host_nor_are_kept_quiet(&app);
}

/// The internal topics cannot be created, and no broker returns an error for that.
fn too_few_brokers(guarded: &Guarded, app: &App) {
    // The embedded registry would need a transaction before the host runs.
    let without_registry = |run: &mut Command| {
        run.env("HEDDLE_REGISTRY_URL", "mock://few");
    };
    let host = Host::start(app, without_registry);
    host.says(&["no transaction can begin", "clinic.patient-", "has 1 brokers", TRANSACTIONS]);
    host.stop();
    guarded.broker.restart_with(&format!("{TRANSACTIONS}=1"));
    let host = Host::start(app, without_registry);
    host.says(&["the group's coordinator does not answer", "`clinic.patient`", "has 1 brokers", OFFSETS]);
    host.stop();
    guarded.broker.restart_with(&format!("{OFFSETS}=1"));
}

/// The table in docs/rights.md, for this app.
fn rights_of_the_page() -> Vec<Granted> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rights.md")).unwrap();
    let rows =
        page.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let mut all = vec![];
    for row in rows {
        let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
        // The component of this test has no tables.
        if cells[2].contains("table") {
            continue;
        }
        let name = match cells[2] {
            "each that a component consumes" => "in".to_owned(),
            "each that a component emits to" => "out".to_owned(),
            name => name.trim_matches('`').replace("<app>", "clinic"),
        };
        let (name, is_prefix) = match name.strip_suffix('*') {
            Some(prefix) => (prefix.to_owned(), true),
            None => (name, false),
        };
        all.extend(cells[3].split(", ").map(|operation| Granted {
            kind: cells[1].to_owned(),
            name: name.clone(),
            is_prefix,
            operation: operation.to_owned(),
        }));
    }
    assert_eq!(all.len(), 15, "{all:?}");
    all
}

fn the_rights_of_the_page_are_enough(guarded: &Guarded, app: &App, granted: &[Granted]) {
    let log = app.log();
    let there = log.topics().unwrap();
    for name in ["in", "out"].into_iter().filter(|name| there.iter().all(|topic| topic.name != *name)) {
        let spec = TopicSpec { name: name.into(), partitions: 2, replication: None, options: Default::default() };
        log.create_topic(&spec).unwrap();
    }
    // The host without a registry has created its topics already.
    for topic in there.iter().filter(|topic| topic.name.starts_with("clinic.")) {
        log.delete_topic(&topic.name).unwrap();
    }
    granted.iter().for_each(|right| guarded.grant(right));
    for right in granted.iter().filter(|right| right.operation == "Create") {
        is_missed(guarded, app, right);
    }
    let run = || {
        let mut run = app.command(&["run", "--until-idle", "--json"]);
        let output = guarded.as_user(&mut run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(run()["in"], 0);
    let scripts = Scripts::of(app);
    log.append(&[scripts.record(0, "k", "emit", 1), scripts.record(1, "k", "emit", 1)]).unwrap();
    assert_eq!(run()["in"], 2);
}

fn check(guarded: &Guarded, app: &App) -> (bool, String) {
    let output = guarded.as_user(&mut app.command(&["check"])).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// Waits until `heddle check` succeeds. Brokers apply a change of rights a moment later.
fn nothing_is_missed(guarded: &Guarded, app: &App) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (succeeded, told) = check(guarded, app);
        if succeeded {
            return;
        }
        assert!(Instant::now() < deadline, "still missing: {told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Checks that `heddle check` names the right while it is missing. The right is granted again afterwards.
fn is_missed(guarded: &Guarded, app: &App, right: &Granted) {
    guarded.revoke(right);
    let Granted { kind, name, operation, .. } = right;
    let option = match kind.as_str() {
        "Topic" => format!("--operation {operation} --topic {name}"),
        "Group" => format!("--operation {operation} --group {name}"),
        _ => format!("--operation {operation} --transactional-id {name}"),
    };
    let mut told = String::new();
    // Brokers apply the change a moment later.
    until(&format!("{right:?} is missed"), || {
        let (succeeded, stderr) = check(guarded, app);
        told = stderr;
        !succeeded
    });
    assert!(told.contains(&option) && told.contains(&format!("this user may not {operation}")), "{right:?}: {told}");
    guarded.grant(right);
}

fn each_right_that_is_missing_is_named(guarded: &Guarded, app: &App, granted: &[Granted]) {
    nothing_is_missed(guarded, app);
    // Existing topics are not created, so that right is not missed.
    granted.iter().filter(|right| right.operation != "Create").for_each(|right| is_missed(guarded, app, right));
    nothing_is_missed(guarded, app);
}

/// Workers wait for rights while the host starts, and a transaction timeout that is too long keeps them waiting.
fn workers_wait_for_rights(guarded: &Guarded, app: &App, granted: &[Granted]) {
    let right = |kind: &str, name: &str| granted.iter().find(|right| right.kind == kind && right.name == name).unwrap();
    let as_user = |run: &mut Command| {
        guarded.as_user(run);
    };
    let (ids, group) = (right("TransactionalId", "clinic."), right("Group", "clinic."));
    guarded.revoke(ids);
    guarded.revoke(group);
    let host = Host::start(app, as_user);
    host.says(&["no transaction can begin", "Transactional Id authorization failed", "`clinic.patient-", "grant"]);
    guarded.grant(ids);
    host.says(&["the group cannot be joined", "Group authorization failed", "`clinic.patient`", "grant"]);
    guarded.grant(group);
    host.is_ready();
    host.stop();
    let host = Host::start(app, |run| {
        as_user(run);
        run.env("HEDDLE_LOG_OPTIONS_TRANSACTION_TIMEOUT_MS", "900001");
    });
    host.says(&["no transaction can begin", "transaction.max.timeout.ms", "900001"]);
    host.stop();
}

/// The registry is a topic, and what keeps it from being read may pass: the host lives, says why it is not ready, and
/// begins by itself.
fn a_start_waits_for_the_registry(guarded: &Guarded, app: &App, granted: &[Granted]) {
    let is_it = |right: &&Granted| right.name == "heddle.registry" && right.operation == "Read";
    let read = granted.iter().find(is_it).unwrap();
    guarded.revoke(read);
    let starting = app.data.path().join("starting");
    let host = Host::start(app, |run| {
        guarded.as_user(run);
    });
    until("the host reports it", || host.log().contains("waiting for the schema registry"));
    let address = std::fs::read_to_string(starting).unwrap();
    let ask = |path: &str| {
        let client = HostClient::new(&address, &Reach::default(), std::time::Duration::from_secs(10));
        let answer = client.get(path).unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(ask("/health"), (200, "ok".to_owned()));
    let (status, why) = ask("/health/ready");
    assert!(status == 503 && why.contains("waiting for the schema registry"), "{status}: {why}");
    guarded.grant(read);
    host.is_ready();
    host.stop();
}
