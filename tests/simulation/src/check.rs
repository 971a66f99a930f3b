//! Compares the results of a life with the model.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use heddle::state::TaskStores;
use heddle_core::dedup::{LINGER_MILLIS_MAX, MessageId, unpack};
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::failed::{header, is_reduced};
use heddle_core::fault::TaskFault;
use heddle_core::settle::CE_ID;
use heddle_core::state::{Range, StoreIndex, TaskState as _};
use heddle_core::tables::GlobalTable as _;
use heddle_fixtures::copies::allowed;

use crate::disk::SimDisk;
use crate::host::bounds;
use crate::life::Life;
use crate::log::{Broker, KNOWN_TOPICS, TxnId, topic_id};
use crate::model::{Lines, Model, REDUCED, TaskModel};
use crate::plan::Plan;
use crate::reference::without_versions;
use crate::time;
use crate::world::World;

/// Checks everything, after all work is done. Returns the first difference.
pub(crate) fn at_end(life: &Life) -> Option<String> {
    let world = &life.world;
    let model = model(world);
    let left_to_wait = waited(world);
    world.count(|happened| {
        happened.retried += left_to_wait;
        happened.records += model.records;
        happened.duplicates += model.duplicates;
        happened.late_duplicates += model.late_duplicates;
        let letters = model.dead_letters.values().flatten();
        happened.reduced += letters.filter(|line| line.contains(": reduced (")).count() as u64;
        happened.dead_letters += model.dead_letters.values().map(|lines| lines.len() as u64).sum::<u64>();
    });
    positions(world)
        .or_else(|| tables(life))
        .or_else(|| tables_go_on(world))
        .or_else(|| lines(world, &world.plan.output, &model.outputs, output_line))
        .or_else(|| {
            let line = if world.plan.retries() { retried_dead_letter_line } else { dead_letter_line };
            lines(world, &world.plan.spec.policy.dead_letter, &model.dead_letters, line)
        })
        .or_else(|| losses(life))
        .or_else(|| changelogs(world, &model))
        .or_else(|| live_tasks(life, &model))
        .or_else(|| {
            let hosts = life.hosts.borrow();
            hosts.iter().enumerate().find_map(|(index, host)| disk(world, index, &host.disk))
        })
}

fn model(world: &World) -> Model {
    let (mut model, broker) = (Model::default(), world.broker());
    for topic in &world.plan.inputs {
        let first = known_first(&broker, &world.plan, topic);
        for log in broker.incarnations(topic) {
            let is_other = first.as_ref().is_some_and(|first| *first != topic_id(topic, log.incarnation).0);
            for partition in &log.partitions {
                let records = partition.all().filter(|(_, txn)| is_committed(&broker, *txn));
                for (record, _) in
                    records.filter(|(record, _)| broker.counts(&record.source, log.incarnation, record.offset))
                {
                    model.take(&world.plan, record, is_other);
                }
            }
        }
    }
    model
}

/// Checks that the global table of every host holds the content of its topic.
pub(crate) fn tables(life: &Life) -> Option<String> {
    let reference = life.world.plan.reference.as_ref().filter(|_| life.world.plan.spec.tables.is_empty())?;
    let expected = {
        let broker = life.world.broker();
        let mut entries = BTreeMap::new();
        for source in partitions(&broker, &reference.topic) {
            fold_into(&mut entries, committed(&broker, &source));
        }
        entries
    };
    let hosts = life.hosts.borrow();
    hosts.iter().enumerate().find_map(|(index, host)| {
        let table = &host.run.as_ref()?.following.as_ref()?.table;
        let found = table.scan(&Range { prefix: b"", after: None }, usize::MAX);
        let found = found.map(|found| found.into_iter().map(|(key, value)| (text(&key), text(&value))).collect());
        differ(&format!("the table on host {index}"), &found.map_err(|error| error.0), &Ok(expected.clone()))
    })
}

/// Checks that no record found an older value in its task's table than an earlier record of its partition did.
fn tables_go_on(world: &World) -> Option<String> {
    if world.plan.spec.tables.is_empty() || world.plan.retries() {
        return None;
    }
    let (mut lookups, broker) = (vec![], world.broker());
    for number in 0..world.plan.partitions {
        for record in committed(&broker, &TopicPartition::new(world.plan.output.clone(), number)) {
            let id = header(record, CE_ID);
            let place = id.rsplitn(3, '/').nth(2).unwrap_or_default().to_owned();
            let offset = id.rsplit('/').nth(1).and_then(|offset| offset.parse::<i64>().ok()).unwrap_or(-1);
            let (_, found) = without_versions(&text(record.value.as_deref().unwrap_or_default()));
            lookups.extend(found.into_iter().map(|(key, version)| (place.clone(), offset, key, version)));
        }
    }
    lookups.sort();
    let mut newest = BTreeMap::new();
    lookups.into_iter().find_map(|(place, offset, key, version)| {
        let before = newest.insert((place.clone(), key.clone()), version).unwrap_or(version);
        let what = format!("the version of `{key}` in the table, as {place}/{offset} found it,");
        (version < before).then(|| differ(&what, &version, &before)).flatten()
    })
}

/// Applies records to entries.
fn fold_into<'r>(entries: &mut BTreeMap<String, String>, records: impl Iterator<Item = &'r Record>) {
    for record in records {
        let key = text(record.key.as_deref().unwrap_or_default());
        match &record.value {
            Some(value) => drop(entries.insert(key, text(value))),
            None => drop(entries.remove(&key)),
        }
    }
}

/// The id of the topic that the component first knew under this name, if it knew one.
fn known_first(broker: &Broker, plan: &Plan, topic: &Topic) -> Option<String> {
    let key = format!("{}/{topic}", plan.spec.component);
    let known = TopicPartition::new(KNOWN_TOPICS, 0);
    let noted = committed(broker, &known).find(|record| record.key.as_deref() == Some(key.as_bytes()))?;
    let value = text(noted.value.as_deref()?);
    let (_, rest) = value.split_once("\"first\":\"")?;
    rest.split_once('"').map(|(first, _)| first.to_owned())
}

/// Checks that the hosts reported every loss of which the group had to be notified.
fn losses(life: &Life) -> Option<String> {
    let world = &life.world;
    life.hosts.borrow().iter().filter_map(|host| host.run.as_ref()).for_each(|run| run.tell_losses(world));
    let (told, broker) = (world.told_losses(), world.broker());
    let mut lost = BTreeMap::<&TopicPartition, u64>::new();
    for gap in broker.lost().iter().filter(|gap| gap.is_told) {
        *lost.entry(&gap.source).or_default() += u64::try_from(gap.to.0 - gap.from.0).unwrap_or(0);
    }
    world.count(|happened| happened.lost_offsets += lost.values().sum::<u64>());
    lost.into_iter().find_map(|(source, offsets)| {
        let told = told.get(source).copied().unwrap_or(0);
        let what = format!("the offsets of {source} that were reported as lost, at least");
        (told < offsets).then(|| differ(&what, &told, &offsets)).flatten()
    })
}

fn partitions(broker: &Broker, topic: &Topic) -> Vec<TopicPartition> {
    let count = broker.topic(topic).map_or(0, <[_]>::len);
    (0..count).map(|n| TopicPartition::new(topic.clone(), i32::try_from(n).unwrap_or(i32::MAX))).collect()
}

/// The number of tasks of the component.
fn tasks(world: &World) -> i32 {
    world.broker().group.numbers()
}

/// The partitions in which records are parked: those of the retry topics, and those of the schedule's changelog.
fn places_to_wait(broker: &Broker, plan: &Plan) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
    let of_topic = |topic: &Topic| partitions(broker, topic);
    let spec = &plan.spec;
    (spec.retry_topics.iter().flat_map(of_topic).collect(), spec.schedule.iter().flat_map(of_topic).collect())
}

/// The number of times that a record was parked.
fn waited(world: &World) -> u64 {
    let broker = world.broker();
    let (topics, state) = places_to_wait(&broker, &world.plan);
    let of =
        |source: &TopicPartition| committed(&broker, source).filter(|record| record.value.is_some()).count() as u64;
    topics.iter().chain(&state).map(of).sum()
}

/// The records of a partition that are committed.
fn committed<'a>(broker: &'a Broker, source: &TopicPartition) -> impl Iterator<Item = &'a Record> + use<'a> {
    let all = broker.partition(source).ok().into_iter().flat_map(|log| log.all());
    all.filter(|(_, txn)| is_committed(broker, *txn)).map(|(record, _)| record)
}

fn is_committed(broker: &Broker, txn: Option<TxnId>) -> bool {
    txn.is_none_or(|txn| broker.decision(txn) == Some(true))
}

/// Checks that the group has reached the end of its input.
pub(crate) fn positions(world: &World) -> Option<String> {
    let broker = world.broker();
    let (retries, waiting) = places_to_wait(&broker, &world.plan);
    let left = waiting.into_iter().find_map(|source| {
        let mut keys = BTreeMap::new();
        for record in committed(&broker, &source) {
            keys.insert(&record.key, &record.value);
        }
        let left = keys.values().filter(|value| value.is_some()).count();
        differ(&format!("how many records wait in {source}"), &left, &0)
    });
    left.or_else(|| {
        let tables = world.plan.spec.tables.iter().map(|table| &table.topic);
        let inputs = world.plan.inputs.iter().chain(tables).flat_map(|topic| partitions(&broker, topic));
        inputs.chain(retries).find_map(|source| {
            let low = broker.partition(&source).map_or(Offset(0), |log| log.low());
            let last = committed(&broker, &source).last().filter(|record| record.offset >= low);
            let expected = last.map(|record| record.offset.next());
            let found = broker.position(&source);
            // A partition without records may have its beginning committed, but need not.
            let found = found.filter(|found| expected.is_some() || *found > low);
            differ(&format!("the committed position of {source}"), &found, &expected)
        })
    })
}

/// Checks that a topic holds exactly these records, those of each source in order.
fn lines(
    world: &World,
    topic: &Topic,
    expected: &Lines,
    line: fn(&Record) -> (TopicPartition, String),
) -> Option<String> {
    let (mut found, broker) = (Lines::new(), world.broker());
    for number in 0..world.plan.partitions {
        for record in committed(&broker, &TopicPartition::new(topic.clone(), number)) {
            let (source, text) = line(record);
            found.entry((number, source)).or_default().push(text);
        }
    }
    let mut expected = expected.clone();
    if world.plan.retries() {
        // Keys overtake each other. The content of the lines shows whether the order within a key was kept.
        found.values_mut().chain(expected.values_mut()).for_each(|lines| lines.sort());
    }
    let places = expected.keys().chain(found.keys());
    places.into_iter().find_map(|place| {
        let nothing = vec![];
        let (expected, found) = (expected.get(place).unwrap_or(&nothing), found.get(place).unwrap_or(&nothing));
        let at = (0..expected.len().max(found.len())).find(|at| expected.get(*at) != found.get(*at))?;
        let what = format!("`{topic}`/{} record {at} of those that come from {}", place.0, place.1);
        let text = |line: Option<&String>| line.map_or_else(|| "nothing".to_owned(), String::clone);
        Some(format!("{what}\n  found    {}\n  expected {}", text(found.get(at)), text(expected.get(at))))
    })
}

fn header(record: &Record, name: &str) -> String {
    let value = record.headers.iter().find(|header| header.name == name).and_then(|header| header.value.as_deref());
    String::from_utf8_lossy(value.unwrap_or(b"?")).into_owned()
}

fn key_and_value(record: &Record) -> (String, String) {
    let text = |bytes: Option<&[u8]>| bytes.map_or("null".into(), String::from_utf8_lossy).into_owned();
    (text(record.key.as_deref()), text(record.value.as_deref()))
}

fn output_line(record: &Record) -> (TopicPartition, String) {
    let ((key, value), id) = (key_and_value(record), header(record, CE_ID));
    let (value, _) = without_versions(&value);
    // <component>/<topic>/<partition>/<offset>/<number>
    let mut parts = id.split('/').skip(1);
    let (topic, partition) = (parts.next().unwrap_or("?"), parts.next().and_then(|n| n.parse().ok()));
    // <topic>@<epoch>, if it is not the topic that was known first. A life has at most one epoch.
    let Some((name, epoch)) = topic.split_once('@') else {
        return (TopicPartition::new(topic, partition.unwrap_or(-1)), format!("{key}: {value} ({id})"));
    };
    let id = id.replace(epoch, "");
    (TopicPartition::new(name, partition.unwrap_or(-1)), format!("{key}: {value} ({id})"))
}

fn dead_letter_line(record: &Record) -> (TopicPartition, String) {
    aside(record, &format!(" after {}", header(record, header::ATTEMPTS)))
}

/// Leaves out the attempts: their number depends on whether the record found its key parked.
fn retried_dead_letter_line(record: &Record) -> (TopicPartition, String) {
    aside(record, "")
}

fn aside(record: &Record, attempts: &str) -> (TopicPartition, String) {
    let (key, value) = key_and_value(record);
    let value = if is_reduced(&record.headers) { REDUCED.to_owned() } else { value };
    let of = |name| header(record, name);
    let source = TopicPartition::new(of(header::TOPIC), of(header::PARTITION).parse().unwrap_or(-1));
    let (reason, offset) = (of(header::KIND), of(header::OFFSET));
    (source, format!("{key}: {value} ({reason}{attempts}, was {offset})"))
}

/// The state of a task, folded from the committed records of its changelogs below these offsets.
fn fold(broker: &Broker, plan: &Plan, number: i32, below: impl Fn(&Topic) -> Offset) -> TaskModel {
    let mut task = TaskModel::default();
    let records = |topic: &Topic| {
        let end = below(topic);
        committed(broker, &TopicPartition::new(topic.clone(), number)).take_while(move |record| record.offset < end)
    };
    for (store, (_, topic)) in task.stores.iter_mut().zip(plan.spec.stores()) {
        fold_into(store, records(topic));
    }
    plan.spec.tables.iter().for_each(|table| fold_into(&mut task.table, records(&table.topic)));
    for record in plan.spec.seen_changelog.iter().flat_map(records) {
        let topic = text(record.key.as_deref().unwrap_or_default());
        for (id, at) in unpack(record.value.clone().unwrap_or_default()).unwrap_or_default() {
            let noted = task.seen.entry((topic.clone(), text(&id.0))).or_insert(at);
            *noted = at.max(*noted);
        }
    }
    task
}

fn changelogs(world: &World, model: &Model) -> Option<String> {
    let (tasks, broker) = (tasks(world), world.broker());
    (0..tasks).find_map(|number| {
        let expected = model.tasks.get(&number).cloned().unwrap_or_default();
        let found = fold(&broker, &world.plan, number, |_| Offset(i64::MAX));
        let mut stores = world.plan.spec.stores().zip(found.stores.iter().zip(&expected.stores));
        stores
            .find_map(|((_, changelog), (found, expected))| {
                differ(&format!("the changelog `{changelog}`/{number}, folded,"), found, expected)
            })
            .or_else(|| differ(&format!("the changelog of message ids/{number}, folded,"), &found.seen, &expected.seen))
    })
}

/// Checks that every open task holds the state of the model, in memory and on disk together. Then checks that it can be
/// written.
fn live_tasks(life: &Life, model: &Model) -> Option<String> {
    let mut owners = BTreeMap::<i32, usize>::new();
    for (index, host) in life.hosts.borrow().iter().enumerate() {
        let Some(run) = &host.run else { continue };
        for (_, partition, stores) in run.state.tasks() {
            *owners.entry(partition.0).or_default() += 1;
            let mut expected = model.tasks.get(&partition.0).cloned().unwrap_or_default();
            let end = |_: &Topic| Offset(i64::MAX);
            expected.table = fold(&life.world.broker(), &life.world.plan, partition.0, end).table;
            let what = format!("task {partition} on host {index}");
            let wrong = holds(&what, &life.world.plan, &stores, &expected).or_else(|| {
                if let Err(error) = stores.flush() {
                    return Some(format!("{what} cannot be written: {error}"));
                }
                let what = format!("{what}, written to disk,");
                holds(&what, &life.world.plan, &stores, &expected)
                    .or_else(|| complete(&life.world, &what, host, partition))
            });
            if wrong.is_some() {
                return wrong;
            }
        }
    }
    (0..tasks(&life.world)).find_map(|number| {
        differ(&format!("how many hosts have task {number}"), &owners.get(&number).copied().unwrap_or(0), &1)
    })
}

/// Checks that the local copies have reached the end of their changelogs, so that a restart restores almost nothing.
fn complete(world: &World, what: &str, host: &crate::host::Host, partition: Partition) -> Option<String> {
    let copy = host.disk.copy();
    let stores = match open(&world.plan, &copy, partition) {
        Ok(stores) => stores,
        Err(error) => return Some(format!("{what} cannot be opened: {error}")),
    };
    let broker = world.broker();
    stores.watermarks().into_iter().find_map(|(topic, watermark)| {
        let source = TopicPartition { topic, partition };
        let end = committed(&broker, &source).last().map(|record| record.offset.next())?;
        let offset = watermark.map(|watermark| watermark.offset);
        (offset < Some(end))
            .then(|| format!("{what} covers {source} up to {offset:?}, and its last record ends at {end}"))
    })
}

fn open(
    plan: &Plan,
    disk: &SimDisk,
    partition: Partition,
) -> Result<std::sync::Arc<TaskStores>, heddle::state::StateError> {
    TaskStores::open(&*disk.engine(None), &plan.spec, partition, bounds())
}

/// Checks that every local copy is the fold of its changelog below its watermark. Some keys may be newer where a crash
/// cut a write off (G3).
pub(crate) fn disk(world: &World, host: usize, disk: &SimDisk) -> Option<String> {
    let copy = disk.copy();
    (0..tasks(world)).find_map(|number| {
        let stores = match open(&world.plan, &copy, Partition(number)) {
            Ok(stores) => stores,
            Err(error) => return Some(format!("the disk of host {host} cannot be read: {error}")),
        };
        let watermarks = stores.watermarks().into_iter().filter_map(|(topic, mark)| Some((topic, mark?.offset)));
        let watermarks = watermarks.collect::<BTreeMap<_, _>>();
        world.count(|happened| happened.trees += watermarks.len() as u64);
        let below = |topic: &Topic| watermarks.get(topic).copied().unwrap_or(Offset(0));
        let mut expected = fold(&world.broker(), &world.plan, number, below);
        // A crash during a memtable's write leaves newer values in some keys.
        for (index, changelog) in copied(&world.plan) {
            let cut_off = below(changelog)..stores.end_found(changelog).unwrap_or(below(changelog));
            if cut_off.is_empty() {
                continue;
            }
            world.count(|happened| happened.written_in_part += 1);
            let found = match entries(&stores, index) {
                Ok(entries) => entries,
                Err(error) => return Some(format!("the copy of {changelog} on the disk of host {host}: {error}")),
            };
            let broker = world.broker();
            let later = committed(&broker, &TopicPartition::new(changelog.clone(), number));
            let later = later
                .filter(|record| cut_off.contains(&record.offset))
                .map(|record| (text(record.key.as_deref().unwrap_or_default()), record.value.as_deref().map(text)));
            let expected = expected.entries_mut(index);
            *expected = allowed(&found, expected, later);
        }
        let marks = watermarks.iter().map(|(topic, offset)| format!("{topic}@{offset}")).collect::<Vec<_>>();
        let what = format!("the copy of task {number} on the disk of host {host} (watermarks {})", marks.join(" "));
        holds(&what, &world.plan, &stores, &expected)
    })
}

/// The topics that the stores and tables of tasks are copies of.
fn copied(plan: &Plan) -> impl Iterator<Item = (StoreIndex, &Topic)> {
    plan.spec.stores().chain(plan.spec.tables.iter().map(|table| (table.index, &table.topic)))
}

/// All entries of a store.
fn entries(stores: &TaskStores, index: StoreIndex) -> Result<BTreeMap<String, String>, TaskFault> {
    let entries = stores.scan(index, &Range { prefix: b"", after: None }, usize::MAX)?;
    Ok(entries.into_iter().map(|(key, value)| (text(&key), text(&value))).collect())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that a task has the expected state.
fn holds(what: &str, plan: &Plan, stores: &TaskStores, expected: &TaskModel) -> Option<String> {
    for (index, _) in copied(plan) {
        let expected = expected.entries(index);
        let found = match entries(stores, index) {
            Ok(entries) => entries,
            Err(error) => return Some(format!("{what}: {error}")),
        };
        let name = if index.is_table() { "the table".to_owned() } else { format!("store {}", index.0) };
        let wrong = differ(&format!("{what} {name}"), &found, expected);
        if wrong.is_some() {
            return wrong;
        }
        let get = |key: &String| stores.get(index, key.as_bytes()).ok().flatten().map(|value| text(&value));
        if let Some(key) = expected.keys().find(|key| get(key).as_ref() != expected.get(*key)) {
            return differ(&format!("{what} {name} key {key}"), &get(key), &expected.get(key).cloned());
        }
    }
    plan.spec.windows.iter().find_map(|(topic, window)| {
        let of_topic = |((of, id), at): (&(String, String), &Timestamp)| (**topic == **of).then(|| (id.clone(), *at));
        let noted = expected.seen.iter().filter_map(of_topic).collect::<BTreeMap<_, _>>();
        let newest = noted.values().max()?.0;
        let lingering = time::now() < (*window).min(Duration::from_millis(LINGER_MILLIS_MAX.unsigned_abs()));
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        ids(plan).find_map(|id| {
            let at = noted.get(&id).copied();
            if !lingering && at.is_some_and(|at| at.0 <= newest - window) {
                // The id is past its window and may not have been handled lately, so it may be forgotten or not.
                return None;
            }
            let seen = stores.seen(topic, &MessageId(id.clone().into()), at.unwrap_or(Timestamp(newest)));
            differ(&format!("{what} whether message {id} of `{topic}` was seen"), &seen.ok(), &Some(at.is_some()))
        })
    })
}

/// All message ids that a life may use.
fn ids(plan: &Plan) -> impl Iterator<Item = String> {
    (0..plan.records.len()).map(|number| format!("m{number}"))
}

fn differ<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Option<String> {
    (found != expected).then(|| format!("{what}\n  found    {found:?}\n  expected {expected:?}"))
}
