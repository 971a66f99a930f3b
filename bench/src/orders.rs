//! The orders: their content, and writing them to the log.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use heddle_contract::format::avro::binary::{write_bytes, write_double, write_index, write_long};
use heddle_core::event::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

/// The topic that all programs consume.
pub(crate) const INPUT: &str = "orders.created";
/// The topics that all programs write to.
pub(crate) const OUTPUTS: [&str; 2] = ["orders.status", "customers.tier"];
/// The number of partitions of each topic.
pub(crate) const PARTITIONS: i32 = 4;
/// The interval of duplicates: every n-th order is a copy of an earlier one.
const DUPLICATE_EVERY: u64 = 50;
/// The distance of a copy from its original.
const DUPLICATE_BEHIND: u64 = 40;
/// The average number of orders of a customer.
const ORDERS_A_CUSTOMER: u64 = 20;
/// The approximate size of an order without padding, in bytes.
pub(crate) const ORDER_BYTES: u64 = 100;
/// The number of items of an order.
const ITEMS: i64 = 3;
/// The time of the first order, in milliseconds since 1970.
const FIRST: i64 = 1_767_225_600_000;

/// Generates and sends orders.
pub(crate) struct Orders {
    producer: ThreadedProducer<DefaultProducerContext>,
    prefix: [u8; 5],
    customers: u64,
    /// The padding of product names, which makes orders larger.
    padding: String,
}

/// The number of customers for `orders` orders, with about twenty orders each.
pub(crate) fn customers(orders: u64) -> u64 {
    (orders / ORDERS_A_CUSTOMER).max(1)
}

impl Orders {
    /// Creates orders of `customers` customers, written with the schema `id`.
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

    /// Pads the names of products, so that each order takes about `bytes` bytes.
    pub(crate) fn padded(self, bytes: u64) -> Self {
        let more = (bytes as usize).saturating_sub(self.encode(0, &customer(0)).len());
        Self { padding: "x".repeat(more / ITEMS as usize), ..self }
    }

    /// Sends the order with this number. Some numbers repeat an earlier order.
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

    /// Waits until the log has all sent orders.
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
        // Binary fractions have exact sums in every language.
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
