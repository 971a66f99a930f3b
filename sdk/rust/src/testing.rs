//! A host for unit tests. It runs handlers natively, with emits, stores, tables, log and random numbers in memory. It
//! exists only in `cargo test`, not in a component.
//!
//! ```ignore
//! use heddle_sdk::testing::TestHost;
//!
//! #[test]
//! fn an_order_without_items_is_rejected() {
//!     let mut host = TestHost::new();
//!     let handle = <Intake as on_orders_created::Guest>::handle;
//!     let outcome = host.deliver(handle, OrderCreated { items: vec![], ..order() });
//!     assert_eq!(outcome.failure, Some(Failure::rejected("the order has no items")));
//!     assert!(outcome.emits.is_empty());
//! }
//! ```
//!
//! A table is filled before a delivery, as its topic would: `table_products::fill(&mut host, "p1", Some(product))`.
#![allow(clippy::panic, reason = "a test that is written wrongly has nobody to hand an error to")]

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::rc::Rc;

use crate::context::Delivery;
use crate::log::Level;
use crate::{Failure, Header};

/// The entries of one store or table: key and value, by the bytes that order keys.
type Entries = BTreeMap<Vec<u8>, Rc<dyn Any>>;

/// One partition of the component. The store writes of a successful handler are visible in the next delivery.
pub struct TestHost {
    /// The result of [`context::current`](crate::context::current) in the next delivery. Its offset grows by one after
    /// each.
    pub delivery: Delivery,
    stores: BTreeMap<&'static str, Entries>,
    tables: BTreeMap<&'static str, Entries>,
}

/// The outcome of a delivery.
#[derive(Debug)]
pub struct Outcome {
    /// The emits, in order. Empty if the handler failed.
    pub emits: Vec<Emit>,
    /// The handler's failure, if it failed.
    pub failure: Option<Failure>,
    /// The logged lines.
    pub log: Vec<Line>,
}

/// A record that a handler emitted.
pub struct Emit {
    /// The topic of the emit.
    pub topic: &'static str,
    /// The headers of the emit.
    pub headers: Vec<Header>,
    value: Option<Box<dyn Any>>,
    key: Option<Box<dyn Any>>,
}

/// A line that a handler logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The level of the line.
    pub level: Level,
    /// The text of the line.
    pub message: String,
}

impl Emit {
    /// The value, in the type of the topic's schema.
    ///
    /// # Panics
    /// If it has another type, or is a tombstone.
    #[must_use]
    pub fn value<T: 'static>(&self) -> &T {
        match &self.value {
            Some(value) => typed(&**value, self.topic, "value"),
            None => panic!("a tombstone was emitted to `{}`, which has no value", self.topic),
        }
    }

    /// Returns true for a tombstone: a key without a value.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    /// The key: a `String`, a `Vec<u8>`, or the type of the keys' schema. `None` stands for the key of the delivered
    /// record.
    ///
    /// # Panics
    /// If it has another type.
    #[must_use]
    pub fn key<T: 'static>(&self) -> Option<&T> {
        self.key.as_deref().map(|key| typed(key, self.topic, "key"))
    }
}

impl fmt::Debug for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit").field("topic", &self.topic).field("headers", &self.headers).finish_non_exhaustive()
    }
}

fn typed<'a, T: 'static>(any: &'a dyn Any, of: &str, what: &str) -> &'a T {
    any.downcast_ref().unwrap_or_else(|| panic!("the {what} of `{of}` is not a {}", std::any::type_name::<T>()))
}

/// A delivery in progress.
struct Running {
    delivery: Delivery,
    stores: BTreeMap<&'static str, Entries>,
    tables: BTreeMap<&'static str, Entries>,
    emits: Vec<Emit>,
    log: Vec<Line>,
    drawn: u64,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Acts on the delivery in progress.
fn running<T>(act: impl FnOnce(&mut Running) -> T) -> T {
    RUNNING.with_borrow_mut(|running| match running {
        Some(running) => act(running),
        None => panic!("there is no host: call the handler through heddle_sdk::testing::TestHost"),
    })
}

impl TestHost {
    /// Creates a host with empty stores and tables.
    #[must_use]
    pub fn new() -> Self {
        let delivery = Delivery {
            id: String::new(),
            attempt: 1,
            topic: "topic".to_owned(),
            partition: 0,
            offset: 0,
            timestamp: 0,
            key: None,
            headers: vec![],
        };
        Self { delivery, stores: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Calls a handler as the host does. The handler is `<Component as on_<topic>::Guest>::handle`, or a closure that
    /// calls one with typed keys.
    ///
    /// A panic is passed on to the test. In a component it is a trap.
    pub fn deliver<V>(&mut self, handler: impl FnOnce(V) -> Result<(), Failure>, value: V) -> Outcome {
        let mut delivery = self.delivery.clone();
        if delivery.id.is_empty() {
            delivery.id = format!("test.component/{}/{}/{}", delivery.topic, delivery.partition, delivery.offset);
        }
        // The numbers differ from those of a real host, but are the same in every run.
        let drawn = delivery.offset.cast_unsigned();
        let (stores, tables) = (self.stores.clone(), self.tables.clone());
        RUNNING.set(Some(Running { delivery, stores, tables, emits: vec![], log: vec![], drawn }));
        let done = handler(value);
        let Some(ran) = RUNNING.take() else { panic!("a handler delivered something else itself") };
        self.delivery.offset += 1;
        match done {
            Ok(()) => {
                self.stores = ran.stores;
                Outcome { emits: ran.emits, failure: None, log: ran.log }
            }
            Err(failure) => Outcome { emits: vec![], failure: Some(failure), log: ran.log },
        }
    }

    /// The entries of a store, in the order of their keys.
    ///
    /// # Panics
    /// If its keys or values have other types.
    #[must_use]
    pub fn store<K: Clone + 'static, V: Clone + 'static>(&self, name: &str) -> Vec<(K, V)> {
        self.stores.get(name).into_iter().flat_map(BTreeMap::values).map(|entry| pair(entry, name)).collect()
    }

    #[doc(hidden)]
    pub fn fill_table<K: 'static, V: 'static>(&mut self, table: &'static str, at: Vec<u8>, key: K, value: Option<V>) {
        let entries = self.tables.entry(table).or_default();
        match value {
            Some(value) => entries.insert(at, Rc::new((key, value))),
            None => entries.remove(&at),
        };
    }
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

fn pair<K: Clone + 'static, V: Clone + 'static>(entry: &Rc<dyn Any>, store: &str) -> (K, V) {
    typed::<(K, V)>(&**entry, store, "entry").clone()
}

pub(crate) fn current() -> Delivery {
    running(|running| running.delivery.clone())
}

pub(crate) fn log(level: Level, message: &str) {
    running(|running| running.log.push(Line { level, message: message.to_owned() }));
}

/// splitmix64.
pub(crate) fn next_u64() -> u64 {
    running(|running| {
        running.drawn = running.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let next = running.drawn;
        let next = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let next = (next ^ (next >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        next ^ (next >> 31)
    })
}

pub(crate) fn bytes(len: u32) -> Vec<u8> {
    (0..len).map(|_| next_u64().to_le_bytes()[0]).collect()
}

// The functions below are called by the fakes that `heddle build` writes for a component's emitters and stores.

#[doc(hidden)]
pub fn send<V: 'static, K: 'static>(topic: &'static str, value: V, key: Option<K>, headers: &[Header]) {
    let key = key.map(|key| Box::new(key) as Box<dyn Any>);
    let emit = Emit { topic, headers: headers.to_vec(), value: Some(Box::new(value)), key };
    running(|running| running.emits.push(emit));
}

#[doc(hidden)]
pub fn send_tombstone<K: 'static>(topic: &'static str, key: K) {
    let emit = Emit { topic, headers: vec![], value: None, key: Some(Box::new(key)) };
    running(|running| running.emits.push(emit));
}

#[doc(hidden)]
#[must_use]
pub fn get<K: Clone + 'static, V: Clone + 'static>(store: &'static str, at: &[u8]) -> Option<V> {
    running(|running| Some(pair::<K, V>(running.stores.get(store)?.get(at)?, store).1))
}

#[doc(hidden)]
pub fn put<K: 'static, V: 'static>(store: &'static str, at: Vec<u8>, key: K, value: V) {
    running(|running| running.stores.entry(store).or_default().insert(at, Rc::new((key, value))));
}

#[doc(hidden)]
pub fn delete(store: &'static str, at: &[u8]) {
    running(|running| running.stores.entry(store).or_default().remove(at));
}

#[doc(hidden)]
#[must_use]
pub fn scan<K: Clone + 'static, V: Clone + 'static>(
    store: &'static str,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: u32,
) -> Vec<(K, V)> {
    running(|running| running.stores.get(store).map(|entries| found(store, entries, prefix, after, limit)))
        .unwrap_or_default()
}

#[doc(hidden)]
#[must_use]
pub fn table_get<K: Clone + 'static, V: Clone + 'static>(table: &'static str, at: &[u8]) -> Option<V> {
    running(|running| Some(pair::<K, V>(running.tables.get(table)?.get(at)?, table).1))
}

#[doc(hidden)]
#[must_use]
pub fn table_scan<K: Clone + 'static, V: Clone + 'static>(
    table: &'static str,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: u32,
) -> Vec<(K, V)> {
    running(|running| running.tables.get(table).map(|entries| found(table, entries, prefix, after, limit)))
        .unwrap_or_default()
}

fn found<K: Clone + 'static, V: Clone + 'static>(
    name: &str,
    entries: &Entries,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: u32,
) -> Vec<(K, V)> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let found = entries.range::<[u8], _>((from, Bound::Unbounded));
    let found = found.take_while(|(at, _)| at.starts_with(prefix)).take(limit as usize);
    found.map(|(_, entry)| pair(entry, name)).collect()
}
