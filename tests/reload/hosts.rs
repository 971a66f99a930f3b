//! Several hosts on one Kafka and one registry.

use std::process::{Child, Command, Stdio};

use heddle_core::event::NewRecord;
use heddle_fixtures::kafka::Kafka;
use serde_json::Value;

use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{Orders, Platform, ledger};
use crate::reload::versions::{digest, numbered, with_store};

const PARTITIONS: &str = "3";

/// A registry that runs until it is dropped.
pub(crate) struct Registry(Child, String);

impl Registry {
    pub(crate) fn start() -> Self {
        use std::io::{BufRead as _, BufReader};
        let data = tempfile::tempdir().unwrap().keep();
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(["registry", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self(process, url)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn platform(broker: &Kafka, registry: &Registry) -> Platform {
    let platform = Platform { registry: Some(registry.1.clone()), ..Platform::kafka(broker.bootstrap()) };
    ["ORDERS_CREATED", "ORDERS_STATUS", "CUSTOMERS_TIER"]
        .into_iter()
        .fold(platform, |platform, topic| platform.with(topic_variable(topic), PARTITIONS))
}

fn topic_variable(topic: &str) -> &'static str {
    match topic {
        "ORDERS_CREATED" => "HEDDLE_TOPICS_ORDERS_CREATED_PARTITIONS",
        "ORDERS_STATUS" => "HEDDLE_TOPICS_ORDERS_STATUS_PARTITIONS",
        _ => "HEDDLE_TOPICS_CUSTOMERS_TIER_PARTITIONS",
    }
}

fn verdicts(outcome: &str) -> Vec<String> {
    let outcome: Value = serde_json::from_str(outcome).unwrap();
    let mut verdicts = outcome["hosts"]
        .as_object()
        .unwrap()
        .values()
        .map(|host| host["verdict"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    verdicts.sort();
    verdicts
}

/// The digests in dead letters, which name the version that processed the record.
fn letters(platform: &Platform) -> Vec<String> {
    let log = platform.log();
    let mut digests = vec![];
    for partition in 0..PARTITIONS.parse().unwrap() {
        let place = heddle_core::event::TopicPartition::new("shop.ledger.dlq", partition);
        let end = log.watermarks("shop.ledger.dlq").unwrap()[usize::try_from(partition).unwrap()].high;
        let mut reader = log.reader(&[(place.clone(), heddle::log::Start::Beginning)]).unwrap();
        while reader.positions().unwrap().get(&place).is_none_or(|position| *position < end) {
            for letter in reader.poll(std::time::Duration::from_millis(100)).unwrap() {
                let header = letter.headers.into_iter().find(|header| header.name == "heddle.digest").unwrap();
                digests.push(String::from_utf8(header.value.unwrap().to_vec()).unwrap());
            }
        }
    }
    digests
}

#[test]
fn a_host_that_was_down_during_a_deployment_runs_it_before_it_takes_a_record() {
    let (broker, registry) = (Kafka::start(), Registry::start());
    let platform = platform(&broker, &registry);
    let [first, second, third] = [0, 1, 2].map(|number| Host::start(&platform, number));
    let orders = Orders::new(&platform.registry());
    // The ledger dead-letters orders without items, and each letter names its version.
    let append = |numbers: std::ops::Range<usize>| {
        let records = numbers.map(|n| orders.order(n, false)).collect::<Vec<NewRecord>>();
        platform.log().append(&records).unwrap();
    };
    append(0..60);
    wait_until("the first orders are dead-lettered", || letters(&platform).len() == 60);
    third.kill();
    let version = numbered(ledger(), 1);
    let outcome = platform.ok(&["deploy", &platform.version("next.wasm", &version), "--json"]);
    assert_eq!(verdicts(&outcome), ["away", "runs", "runs"], "{outcome}");
    for number in [0, 1] {
        assert_eq!(platform.status(number)["digest"], digest(&version));
    }
    first.stop();
    second.stop();
    // From now on, only the host that missed the deployment processes records.
    append(60..120);
    let third = Host::start(&platform, 2);
    wait_until("all orders are dead-lettered", || letters(&platform).len() == 120);
    let letters = letters(&platform);
    let by = |wasm: &[u8]| letters.iter().filter(|letter| **letter == digest(wasm)).count();
    assert_eq!((by(ledger()), by(&version)), (60, 60), "{letters:?}");
    assert!(third.told().contains("runs") && third.told().contains("deployed"), "{}", third.told());
    third.stop();
}

#[test]
fn a_version_that_one_host_refuses_runs_on_no_host() {
    let (broker, registry) = (Kafka::start(), Registry::start());
    let (here, there) = (platform(&broker, &registry), platform(&broker, &registry));
    // The other host has a store of that name in another changelog.
    let other = with_store(ledger(), "extra", "changelog = \"elsewhere\"");
    std::fs::write(there.path("ledger.wasm"), &other).unwrap();
    let hosts = [Host::start(&here, 0), Host::start(&there, 1)];
    let file = here.version("next.wasm", &with_store(ledger(), "extra", ""));
    let told = here.refused(&["deploy", &file]);
    assert!(told.contains("refused it, so every host runs"), "{told}");
    assert!(told.contains("the changelog of the store `extra` was `elsewhere`"), "{told}");
    assert_eq!(here.status(0)["digest"], digest(ledger()));
    let history: Value = serde_json::from_str(&here.ok(&["deployments", "ledger", "--json"])).unwrap();
    assert_eq!(history["deployment"]["digest"], digest(ledger()), "{history}");
    hosts.into_iter().for_each(Host::stop);
}
