//! Topics that are deleted and created again under the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_executor::block_on;
use heddle::log::{Log, TopicSpec};
use heddle_fixtures::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::{STATELESS, stateless, with_state};
use crate::failures::NAME;
use crate::failures::host::{Host, Scripts, header, status, told, until};
use crate::support::app::App;

fn make_anew(log: &dyn Log, name: &str) {
    log.delete_topic(name).unwrap();
    let spec = TopicSpec { name: name.to_owned(), partitions: 1, replication: None, options: BTreeMap::new() };
    until("its name is free", || log.create_topic(&spec).is_ok());
}

/// The ids of the output records.
fn ids(app: &App) -> Vec<String> {
    app.records("out").into_values().flatten().map(|record| header(&record, "ce_id")).collect()
}

/// The number of distinct ids for each spelling of the input topic.
fn by_topic(app: &App) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::<String, usize>::new();
    for id in ids(app).into_iter().collect::<BTreeSet<_>>() {
        *found.entry(id.split('/').nth(1).unwrap().to_owned()).or_default() += 1;
    }
    found
}

#[test]
fn a_recreated_topic_is_read_from_its_beginning_with_new_ids() {
    let broker = Kafka::start();
    let app = stateless(&broker, 1, "", "1s", "attempts = 1");
    let scripts = Scripts::of(&app);
    let log = app.log();
    let append = |count: usize| {
        log.append(&vec![scripts.record(0, "k", "emit-many", 1); count]).unwrap();
    };
    append(3);
    let host = Host::start(&app);
    until("the first ones are handled", || status(&app, STATELESS)["handled"] == 3);
    let first = ["0", "1", "2"].map(|offset| format!("clinic.scripted/in/0/{offset}/0"));
    assert_eq!(ids(&app), first, "the topic that is known first has ids as ever");
    // While the host runs. The new topic immediately has more records than the host had read of the old one.
    make_anew(&*log, "in");
    append(10);
    let anew = |app: &App| by_topic(app).into_iter().filter(|(topic, _)| topic.starts_with("in@")).collect::<Vec<_>>();
    until("all of the second topic is handled", || anew(&app).iter().any(|(_, count)| *count == 10));
    assert!(told(&app).contains("was recreated") || told(&app).contains("was deleted"), "{}", told(&app));
    host.stop();
    // Now between two runs.
    make_anew(&*log, "in");
    append(2);
    app.ok(&["run", "--until-idle"]);
    let mut counts = anew(&app).into_iter().map(|(_, count)| count).collect::<Vec<_>>();
    counts.sort_unstable();
    assert_eq!(counts, [2, 10], "{:?}", ids(&app));
}

fn set_policy(broker: &Kafka, topic: &str, policy: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("cleanup.policy", policy);
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    block_on(admin.alter_configs(&[config], &options)).unwrap().remove(0).unwrap();
}

#[test]
fn state_topics_that_lose_state_stop_the_component() {
    let broker = Kafka::start();
    let app = with_state(&broker, 1, "");
    let scripts = Scripts::of(&app);
    let log = app.log();
    let changelog = "clinic.patient.counts";
    let why = || status(&app, NAME)["stopped"].as_str().unwrap_or_default().to_owned();
    set_policy(&broker, changelog, "delete");
    log.append(&[scripts.record(0, "k", "count", 0)]).unwrap();
    let mut host = Host::start(&app);
    until("it is stopped", || why().contains("cleanup.policy=delete"));
    set_policy(&broker, changelog, "compact");
    until("it goes on", || status(&app, NAME)["handled"] == 1);
    // The state is gone, and no operator has accepted that.
    log.delete_topic(changelog).unwrap();
    until("it is stopped again", || why().contains("was deleted"));
    assert!(host.is_running());
    host.stop();
    let host = Host::start(&app);
    until("a start does not make it good", || why().contains("was deleted"));
    app.ok(&["topics", "accept", "patient", "--yes"]);
    log.append(&[scripts.record(0, "k", "count", 0)]).unwrap();
    until("it starts again", || status(&app, NAME)["handled"] == 1);
    assert!(app.records("out").into_values().flatten().count() == 2);
    // A recreated dead-letter topic stops nothing, but is reported.
    make_anew(&*log, "clinic.patient.dlq");
    until("it is reported", || told(&app).contains("the dead-letter topic was recreated"));
    assert_eq!(why(), "");
    host.stop();
}
