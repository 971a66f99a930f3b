//! A real broker whose topics change while the host runs. The host learns its limits only when a record arrives.

use std::collections::{BTreeMap, HashMap};

use futures_executor::block_on;
use heddle::log::Log as _;
use heddle::log::kafka::KafkaLog;
use heddle_core::event::NewRecord;
use heddle_fixtures::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::cases::{Becomes, Case, cases, check, check_replay};
use super::{LETTERS, MUTE, MUTE_LETTERS, NAME, install, ward};
use crate::failures::host::{Host, Scripts, ended, status, told, until};
use crate::support::app::App;

/// Changes all options of a topic.
fn alter(broker: &Kafka, topic: &str, options: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    let entries = options.iter().copied().collect::<HashMap<_, _>>();
    let config = AlterConfig { specifier: ResourceSpecifier::Topic(topic), entries };
    let altered = block_on(admin.alter_configs(&[config], &AdminOptions::new())).unwrap();
    altered.into_iter().for_each(|altered| drop(altered.unwrap()));
}

fn records(cases: &[Case]) -> Vec<NewRecord> {
    cases.iter().map(|case| case.record.clone()).collect()
}

/// A record of 20 MB that compresses to a few kB. No topic of Heddle accepts it whole.
fn compressed(app: &App, scripts: &Scripts) -> Case {
    let mut record = scripts.record(0, "compressed", "count", 0);
    record.value = Some([record.value.unwrap().to_vec(), vec![0; 20_000_000]].concat().into());
    let options = [("compression.type", "zstd"), ("message.max.bytes", "33554432")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let log = KafkaLog::connect(app.bootstrap.as_ref().unwrap(), &BTreeMap::from(options)).unwrap();
    log.append(std::slice::from_ref(&record)).unwrap();
    Case { record, becomes: Becomes::Letter { kind: "too-large", reason: "more than the limit", reduced: true } }
}

#[test]
fn a_record_that_a_broker_refuses_on_arrival_fails_alone() {
    let broker = Kafka::start();
    let app = ward(
        App::kafka(&broker),
        r#""max.message.bytes" = "16000000", "message.timestamp.after.max.ms" = "9223372036854775807""#,
    );
    let scripts = Scripts::of(&app);
    let host = Host::start(&app);
    // The host has read the limits of the topics.
    let first = Case { record: scripts.record(0, "first", "count", 0), becomes: Becomes::Out { in_time: true } };
    app.log().append(&records(std::slice::from_ref(&first))).unwrap();
    let all = |count: usize| {
        until("all of them ended", || {
            let status = status(&app, NAME);
            ended(&status) >= count as u64 && status["lag"] == 0
        });
    };
    all(1);
    alter(&broker, "out", &[("cleanup.policy", "compact"), ("max.message.bytes", "1000000")]);
    let mut cases = cases(&scripts);
    app.log().append(&records(&cases)).unwrap();
    cases.push(first);
    all(cases.len());
    let aborts = status(&app, NAME)["aborts"].as_u64().unwrap();
    assert!((1..60).contains(&aborts), "{aborts} aborts");
    cases.push(compressed(&app, &scripts));
    all(cases.len());
    host.stop();
    for case in &mut cases {
        // The reporter depends on what was known when the record was sent.
        if let Becomes::Letter { kind: "emit", reason, .. } = &mut case.becomes {
            *reason = "topic `out`";
        }
    }
    check(&app, NAME, LETTERS, &cases);
    let large = |case: &&Case| matches!(case.becomes, Becomes::Letter { kind: "rejected", reduced: true, .. });
    check_replay(&app, cases.iter().find(large).unwrap());
    goes_on_when_the_topic_takes_it(&broker, &app, &scripts, cases.len() as u64);
}

/// A task whose dead letters are refused is blocked and reported, and continues by itself.
fn goes_on_when_the_topic_takes_it(broker: &Kafka, app: &App, scripts: &Scripts, before: u64) {
    install(app, "mute");
    app.log().append(&[scripts.record(1, "elsewhere", "count", 1)]).unwrap();
    let mut host = Host::start(app);
    until("its task is blocked", || status(app, MUTE)["stuck"].as_array().is_some_and(|stuck| stuck.len() == 1));
    until("the other task goes on", || status(app, MUTE)["handled"].as_u64() >= Some(3));
    // The replayed letter and this record.
    until("the other component goes on", || ended(&status(app, NAME)) == 2);
    assert!(host.is_running());
    let told = told(app);
    assert!(told.contains("a task is blocked") && told.contains(MUTE_LETTERS), "{told}");
    assert!(app.ok(&["status"]).contains("blocked at in/0@"));
    alter(broker, MUTE_LETTERS, &[("max.message.bytes", "8000")]);
    until("it goes on", || ended(&status(app, MUTE)) == before + 2);
    assert_eq!(status(app, MUTE)["stuck"], serde_json::json!([]));
    host.stop();
}
