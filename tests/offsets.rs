//! Committed positions of a component's group: its start, positions that are shown, set and copied, and records that
//! are deleted before they are read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::now;
use heddle_contract::section;
use heddle_core::event::{Offset, Timestamp, TopicPartition};
use heddle_fixtures::group::Protocol;
use heddle_fixtures::kafka::Kafka;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset as RdOffset, TopicPartitionList};
use serde_json::Value;

use crate::support::app::{App, quickstart};

const INPUT: &str = "orders.created";
const PARTITIONS: i32 = 4;
const WAIT: Duration = Duration::from_secs(60);

/// The quickstart with a changed manifest.
struct Bed {
    app: App,
    broker: Option<Kafka>,
    component: PathBuf,
}

impl Bed {
    fn new(app: App, broker: Option<Kafka>) -> Self {
        app.build();
        let bed = Self { component: app.data.path().join("intake.wasm"), app, broker };
        bed.manifest("", "");
        bed
    }

    /// Adds lines to `[component]` and to the consumed topic.
    fn manifest(&self, component: &str, consumes: &str) {
        let wasm = std::fs::read(quickstart().join("components/intake/intake.wasm")).unwrap();
        let mut contract = section::extract(&wasm).unwrap();
        let manifest = &mut contract.component.manifest;
        *manifest = manifest.replace("[component]\n", &format!("[component]\n{component}\n"));
        *manifest = manifest
            .replace("[consumes.\"orders.created\"]\n", &format!("[consumes.\"orders.created\"]\n{consumes}\n"));
        std::fs::write(&self.component, section::embed(&wasm, &contract).unwrap()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.app.command(arguments);
        command.env("HEDDLE_APP_COMPONENTS", &self.component);
        if self.broker.is_some() {
            command.envs([Protocol::chosen().variable()]);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs until idle. Returns the number of consumed records and the other output.
    fn work_off(&self) -> (u64, String) {
        let output = self.run(&["run", "--until-idle", "--json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
        (counts["in"].as_u64().unwrap(), said)
    }

    fn produce(&self, numbers: Range<u32>) {
        let mut lines = String::new();
        for number in numbers {
            let order = r#""customerId":"C","orderDate":0,"totalAmount":1.5,"items":[]"#;
            writeln!(lines, r#"{{"orderId":"O-{number}",{order}}}"#).unwrap();
        }
        let file = self.app.data.path().join("orders.jsonl");
        std::fs::write(&file, lines).unwrap();
        let output = self.run(&["produce", INPUT, "--key", "orderId", "--file", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Position and lag, summed over all partitions.
    fn sums(printed: &[u8]) -> (i64, i64) {
        let lines = std::str::from_utf8(printed).unwrap().lines();
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(lines.len(), PARTITIONS as usize);
        let sum = |key: &str| lines.iter().map(|line| line[key].as_i64().unwrap_or(0)).sum();
        (sum("position"), sum("lag"))
    }

    fn shown(&self) -> (i64, i64) {
        let output = self.run(&["offsets", "show", "intake", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::sums(&output.stdout)
    }

    /// Changes positions. On Kafka, a stopped host remains a member until its session expires.
    fn change(&self, arguments: &[&str]) -> (i64, i64) {
        let until = Instant::now() + WAIT;
        loop {
            let output = self.run(&[arguments, &["--json"]].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                return Self::sums(&output.stdout);
            }
            assert!(
                said.contains("is active") && said.contains("hint: stop all hosts") && Instant::now() < until,
                "{said}"
            );
            sleep(Duration::from_millis(500));
        }
    }

    /// Deletes all records of the input.
    fn trim(&self) {
        let Some(broker) = &self.broker else {
            let log = EmbeddedLog::open(&self.app.data.path().join("log"), EmbeddedOptions::default()).unwrap();
            log.maintain(Timestamp(now().0 + 30 * 24 * 3_600 * 1_000)).unwrap();
            return;
        };
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(INPUT, partition, RdOffset::End).unwrap();
        }
        let deleted = block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
        deleted.elements().iter().for_each(|partition| partition.error().unwrap());
    }

    fn host(&self) -> Host {
        Host(self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// The status of the running host, once it reports a loss.
    fn status(&self) -> Value {
        let until = Instant::now() + WAIT;
        loop {
            let output = self.run(&["status", "--json"]);
            let status = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
            if !status["lost"].is_null() {
                return status;
            }
            assert!(Instant::now() < until, "{status} {}", String::from_utf8_lossy(&output.stderr));
            sleep(Duration::from_millis(200));
        }
    }
}

struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn positions_are_shown_set_and_copied(bed: &Bed) {
    bed.manifest("", "start = \"end\"");
    bed.produce(0..5);
    assert_eq!(bed.work_off().0, 0, "what was there before the group is not consumed");
    // No host ran when these arrived, and still they are not skipped.
    bed.produce(5..8);
    assert_eq!(bed.work_off().0, 3);
    assert_eq!(bed.shown(), (8, 0));
    assert_eq!(bed.change(&["offsets", "set", "intake", "--to", "beginning"]), (0, 8));
    assert_eq!(bed.work_off().0, 8);
    let refused = bed.run(&["offsets", "set", "intake", INPUT, "--partition", "0", "--to", "1000"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("has no offset 1000"), "{said}");
    // Another group has a lower position.
    let other = (0..PARTITIONS).map(|number| (TopicPartition::new(INPUT, number), Offset(0))).collect::<Vec<_>>();
    bed.app.log().set_committed("spring", &other).unwrap();
    assert_eq!(bed.change(&["offsets", "copy", "intake", "--from-group", "spring"]), (0, 8));
    assert_eq!(bed.work_off().0, 8);
    let unknown = bed.run(&["offsets", "copy", "intake", "--from-group", "winter"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("the group `winter` has no position"), "{said}");
    // Alternatively, the component continues as that group.
    bed.manifest("group = \"spring\"", "");
    assert_eq!(bed.shown(), (0, 8));
    assert_eq!(bed.work_off().0, 8);
    assert_eq!(bed.shown(), (8, 0));
    bed.manifest("", "");
}

fn records_deleted_before_they_were_consumed_are_reported(bed: &Bed) {
    bed.produce(8..12);
    bed.trim();
    bed.produce(12..14);
    bed.manifest("", "on-loss = \"stop\"");
    let stopped = bed.run(&["run", "--until-idle"]);
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(!stopped.status.success(), "{said}");
    assert!(said.contains("records were deleted before `quickstart.intake` consumed them"), "{said}");
    assert!(said.contains("heddle offsets set quickstart.intake orders.created --partition"), "{said}");
    assert_eq!(bed.shown().0, 8, "nothing was committed");
    bed.manifest("", "");
    let (taken, said) = bed.work_off();
    assert_eq!(taken, 2);
    assert!(said.contains("records were deleted before they were consumed"), "{said}");
    bed.produce(14..20);
    bed.trim();
    let _host = bed.host();
    let status = bed.status();
    let lost = serde_json::from_value::<BTreeMap<String, u64>>(status["lost"].clone()).unwrap();
    assert_eq!(lost.values().sum::<u64>(), 6, "{status}");
    assert_eq!(status["lag"], 0);
    let address = std::fs::read_to_string(bed.app.data.path().join("admin-address")).unwrap();
    let metrics = ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    let counted = metrics.lines().filter(|line| line.starts_with("heddle_lost_offsets_total{"));
    assert_eq!(
        counted.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>(),
        6,
        "{metrics}"
    );
    // The group has active members.
    let refused = bed.run(&["offsets", "set", "intake", "--to", "end"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let told = match bed.broker {
        Some(_) => "is active: its members are `quickstart.intake-".to_owned(),
        None => format!("a running host owns this log\n  at: the host at {address}\n  hint: stop the host first"),
    };
    assert!(!refused.status.success() && said.contains(&told), "{said}");
}

#[test]
fn on_the_embedded_log() {
    let bed = Bed::new(App::embedded(), None);
    positions_are_shown_set_and_copied(&bed);
    records_deleted_before_they_were_consumed_are_reported(&bed);
}

#[test]
fn on_kafka() {
    let broker = Kafka::start();
    let bed = Bed::new(App::kafka(&broker), Some(broker));
    positions_are_shown_set_and_copied(&bed);
    records_deleted_before_they_were_consumed_are_reported(&bed);
}
