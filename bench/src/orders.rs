//! The orders: which they are, and writing them to the log.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use heddle_contract::schema::binary::{write_bytes, write_double, write_index, write_long};
use heddle_core::event::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

/// The topic that all programs consume.
pub(crate) const INPUT: &str = "orders.created";
/// The topics that all programs write to.
pub(crate) const OUTPUTS: [&str; 2] = ["orders.status", "customers.tier"];
/// How many partitions each topic has.
pub(crate) const PARTITIONS: i32 = 4;
/// Every so many orders one is sent a second time.
const DUPLICATE_EVERY: u64 = 50;
/// How far behind the first time the second one comes.
const DUPLICATE_BEHIND: u64 = 40;
/// Orders a customer has, on average.
const ORDERS_A_CUSTOMER: u64 = 20;
/// How long an order is, about, if nothing is added to it.
pub(crate) const ORDER_BYTES: u64 = 100;
/// Items of an order.
const ITEMS: i64 = 3;
/// When the first order was made, in milliseconds since 1970.
const FIRST: i64 = 1_767_225_600_000;

/// Makes and sends orders.
pub(crate) struct Orders {
    producer: ThreadedProducer<DefaultProducerContext>,
    prefix: [u8; 5],
    customers: u64,
    /// What makes a product's id, and so an order, longer.
    padding: String,
}

/// How many customers have about twenty of so many orders each.
pub(crate) fn customers(orders: u64) -> u64 {
    (orders / ORDERS_A_CUSTOMER).max(1)
}

impl Orders {
    /// Orders of so many customers, written with the schema `id`.
    pub(crate) fn new(bootstrap: &str, id: u32, customers: u64) -> Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("delivery.report.only.error", "true")
            .set("linger.ms", "1")
            .create()?;
        let [a, b, c, d] = id.to_be_bytes();
        Ok(Self { producer, prefix: [0, a, b, c, d], customers, padding: String::new() })
    }

    /// The same orders with names of products so long that each order takes about so many bytes.
    pub(crate) fn padded(self, bytes: u64) -> Self {
        let more = (bytes as usize).saturating_sub(self.encode(0, &customer(0)).len());
        Self { padding: "x".repeat(more / ITEMS as usize), ..self }
    }

    /// Sends the order with this number: some numbers stand for an earlier order, once more.
    pub(crate) fn send(&self, number: u64, timestamp: Option<Timestamp>) -> Result<()> {
        let again = number % DUPLICATE_EVERY == DUPLICATE_EVERY - 1;
        let order = if again { number - DUPLICATE_BEHIND } else { number };
        let customer = customer(order.wrapping_mul(7_919) % self.customers);
        let value = self.encode(order, &customer);
        let timestamp = timestamp.map_or(FIRST + i64::try_from(number)?, |timestamp| timestamp.0);
        let mut record = BaseRecord::to(INPUT).key(&customer).payload(&value).timestamp(timestamp);
        while let Err((error, refused)) = self.producer.send(record) {
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

    /// Waits until everything sent is in the log.
    pub(crate) fn flush(&self) -> Result<()> {
        let since = Instant::now();
        self.producer.flush(Duration::from_secs(60)).context("the orders do not get into the log")?;
        if self.producer.in_flight_count() > 0 {
            bail!("orders are still on their way after {:?}", since.elapsed());
        }
        Ok(())
    }

    fn encode(&self, order: u64, customer: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + 3 * self.padding.len());
        out.extend(self.prefix);
        write_bytes(format!("O-{order:010}").as_bytes(), &mut out);
        write_bytes(customer.as_bytes(), &mut out);
        write_long(FIRST, &mut out);
        // Binary fractions: sums of them are exact, in whatever language.
        write_double((order % 40_000) as f64 / 32.0, &mut out);
        write_index(ITEMS as usize, &mut out);
        for item in 1..=ITEMS {
            write_bytes(format!("P-{item:03}{}", self.padding).as_bytes(), &mut out);
            write_long(item, &mut out);
            write_double(10.5, &mut out);
        }
        out.push(0);
        out
    }
}

fn customer(number: u64) -> String {
    format!("C-{number:08}")
}
