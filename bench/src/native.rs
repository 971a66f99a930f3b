//! The hand-written loop: the cost of the flow without a sandbox and without durable state.
//!
//! Its state is in hash maps and is lost when it ends. It writes the changelogs nevertheless, because a real program
//! would have to restore from them.
#![allow(unsafe_code)] // see `commit`

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::format::avro::binary::{Reader, write_bytes, write_double, write_long};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;

use crate::orders::INPUT;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait of a poll while there is nothing to commit.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// The order value of a tier.
const TIER: f64 = 10_000.0;

/// Options of the run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    interval: u64,
    /// The changelog of the accounts.
    #[arg(long)]
    accounts: String,
    /// The changelog of the ids that were seen.
    #[arg(long)]
    seen: String,
    /// The schemas' ids.
    #[arg(long, value_delimiter = ',')]
    ids: Vec<u32>,
    /// Write the ids of a transaction as one record a partition.
    #[arg(long)]
    packed: bool,
}

#[derive(Clone, Debug, Default)]
struct Account {
    orders: i64,
    total: f64,
    last: String,
}

/// The state of one partition, and the changes of the open transaction.
#[derive(Default)]
struct Task {
    accounts: HashMap<String, Account>,
    seen: HashSet<String>,
    changed: HashSet<String>,
    fresh: Vec<String>,
    next: i64,
}

struct Flow<'a> {
    options: &'a Options,
    producer: ThreadedProducer<DefaultProducerContext>,
    tasks: HashMap<i32, Task>,
    value: Vec<u8>,
}

/// Runs until the process is killed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .set("group.id", &options.group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .set("transactional.id", &options.group)
        .set("partitioner", "murmur2_random")
        .set("delivery.report.only.error", "true")
        .set("retry.backoff.ms", "5")
        .set("linger.ms", "5")
        .create()?;
    producer.init_transactions(TIMEOUT)?;
    consumer.subscribe(&[INPUT])?;
    let mut flow = Flow { options, producer, tasks: HashMap::new(), value: vec![] };
    let interval = Duration::from_millis(options.interval);
    let mut since: Option<Instant> = None;
    loop {
        let wait = since.map_or(POLL_WAIT, |since| interval.saturating_sub(since.elapsed()));
        if let Some(message) = consumer.poll(wait) {
            let message = message?;
            if since.is_none() {
                flow.producer.begin_transaction()?;
                since = Some(Instant::now());
            }
            let key = message.key().unwrap_or_default();
            let value = message.payload().context("an order without a value")?;
            let timestamp = message.timestamp().to_millis().unwrap_or(-1);
            flow.handle(message.partition(), message.offset(), key, value, timestamp)?;
        }
        if since.is_some_and(|since| since.elapsed() >= interval) {
            flow.commit(&consumer)?;
            since = None;
        }
    }
}

impl Flow<'_> {
    fn handle(&mut self, partition: i32, offset: i64, key: &[u8], value: &[u8], timestamp: i64) -> Result<()> {
        let task = self.tasks.entry(partition).or_default();
        task.next = offset + 1;
        let mut reader = Reader::new(value.get(5..).context("an order without a schema")?);
        let (order, customer) = (reader.string()?, reader.string()?);
        let (_, amount) = (reader.long()?, reader.double()?);
        let mut items = 0;
        reader.blocks(|item| {
            items += 1;
            item.string()?;
            item.int()?;
            item.double()?;
            Ok(())
        })?;
        reader.finish()?;
        if items == 0 || !task.seen.insert(order.to_owned()) {
            return Ok(());
        }
        task.fresh.push(order.to_owned());
        if !task.accounts.contains_key(customer) {
            task.accounts.insert(customer.to_owned(), Account::default());
        }
        let Some(account) = task.accounts.get_mut(customer) else { return Ok(()) };
        let before = account.total;
        account.orders += 1;
        account.total += amount;
        order.clone_into(&mut account.last);
        let (orders, total) = (account.orders, account.total);
        if !task.changed.contains(customer) {
            task.changed.insert(customer.to_owned());
        }
        let tier = (total / TIER) as i32;
        let out = &mut self.value;
        if tier > (before / TIER) as i32 {
            begin(out, self.options.ids[2]);
            write_bytes(customer.as_bytes(), out);
            write_long(tier.into(), out);
            write_bytes(order.as_bytes(), out);
            send(&self.producer, BaseRecord::to("customers.tier").key(key).payload(out).timestamp(timestamp))?;
        }
        begin(out, self.options.ids[1]);
        write_bytes(order.as_bytes(), out);
        write_bytes(customer.as_bytes(), out);
        write_long(orders, out);
        write_double(total, out);
        send(&self.producer, BaseRecord::to("orders.status").key(key).payload(out).timestamp(timestamp))
    }

    fn commit(&mut self, consumer: &BaseConsumer) -> Result<()> {
        let mut positions = TopicPartitionList::new();
        for (partition, task) in &mut self.tasks {
            positions.add_partition_offset(INPUT, *partition, rdkafka::Offset::Offset(task.next))?;
            for customer in task.changed.drain() {
                let Some(account) = task.accounts.get(&customer) else { continue };
                let out = &mut self.value;
                begin(out, self.options.ids[3]);
                write_long(account.orders, out);
                write_double(account.total, out);
                write_bytes(account.last.as_bytes(), out);
                let record = BaseRecord::to(&self.options.accounts).partition(*partition).key(&customer).payload(out);
                send(&self.producer, record)?;
            }
            let seen = || BaseRecord::<str, str>::to(&self.options.seen).partition(*partition);
            if self.options.packed {
                let packed = task.fresh.drain(..).collect::<Vec<_>>().join("\n");
                send(&self.producer, seen().key("").payload(&packed))?;
            } else {
                for id in task.fresh.drain(..) {
                    send(&self.producer, seen().key(id.as_str()).payload(""))?;
                }
            }
        }
        let group = consumer.group_metadata().context("the group is gone")?;
        self.producer.send_offsets_to_transaction(&positions, &group, TIMEOUT)?;
        commit(&self.producer)
    }
}

/// The five bytes before a value in the wire format.
fn begin(out: &mut Vec<u8>, id: u32) {
    out.clear();
    out.push(0);
    out.extend(id.to_be_bytes());
}

fn send<K, P>(producer: &ThreadedProducer<DefaultProducerContext>, record: BaseRecord<'_, K, P>) -> Result<()>
where
    K: rdkafka::message::ToBytes + ?Sized,
    P: rdkafka::message::ToBytes + ?Sized,
{
    let mut record = record;
    while let Err((error, refused)) = producer.send(record) {
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                std::thread::sleep(Duration::from_millis(1));
                record = refused;
            }
            other => return Err(other.into()),
        }
    }
    Ok(())
}

/// Commits directly through librdkafka, because rdkafka's own call first waits in slices of 100 ms.
fn commit(producer: &ThreadedProducer<DefaultProducerContext>) -> Result<()> {
    // SAFETY: the producer owns a live client for as long as it is borrowed here; the error is null or ours, and
    // destroyed once.
    unsafe {
        let error = sys::rd_kafka_commit_transaction(producer.client().native_ptr(), 30_000);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            sys::rd_kafka_error_destroy(error);
            bail!("the transaction cannot be committed: {code:?}");
        }
    }
    Ok(())
}
