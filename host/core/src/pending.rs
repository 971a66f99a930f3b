//! The writes to one store that are not in its tree yet. They belong to one transaction or to many committed ones.
//!
//! Every delivery looks up keys here, so keys are hashed. A sorted order is built at the first scan and maintained from
//! then on, because most stores are never scanned.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::OnceLock;

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// The last write to each key; `None` deletes.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Entries in the order of first writes, so that equal deliveries give an equal changelog.
    entries: IndexMap<Bytes, Option<Bytes>, RandomState>,
    order: OnceLock<BTreeSet<Bytes>>,
}

impl Pending {
    /// Creates an empty `Pending` with capacity for `room` keys.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        let entries = IndexMap::with_capacity_and_hasher(room, RandomState::default());
        Self { entries, order: OnceLock::new() }
    }

    /// Adds a write. Returns the write that it replaces.
    pub fn insert(&mut self, key: Bytes, value: Option<Bytes>) -> Option<Option<Bytes>> {
        if let Some(order) = self.order.get_mut() {
            order.insert(key.clone());
        }
        self.entries.insert(key, value)
    }

    /// The write to `key`, if there is one.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.entries.get(key)
    }

    /// All writes, in the order of the first write to each key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        self.entries.iter()
    }

    /// All writes by value, in the order of the first write to each key.
    pub fn into_writes(self) -> impl ExactSizeIterator<Item = (Bytes, Option<Bytes>)> {
        self.entries.into_iter()
    }

    /// The writes from `start` to keys that begin with `prefix`, in the order of the keys' bytes.
    pub fn range<'t>(
        &'t self,
        start: Bound<&[u8]>,
        prefix: &'t [u8],
    ) -> impl Iterator<Item = (&'t Bytes, &'t Option<Bytes>)> {
        let order = self.order.get_or_init(|| self.entries.keys().cloned().collect());
        let from = order.range::<[u8], _>((start, Bound::Unbounded));
        from.take_while(move |key| key.starts_with(prefix)).filter_map(|key| self.entries.get_key_value(key))
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pending: &Pending, start: Bound<&[u8]>, prefix: &str) -> String {
        let found = pending.range(start, prefix.as_bytes());
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let entry = |(key, value): (&Bytes, &Option<Bytes>)| match value {
            Some(value) => format!("{}={}", text(key), text(value)),
            None => format!("{}-", text(key)),
        };
        found.map(entry).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_are_in_order_whenever_they_came() {
        let mut pending = Pending::default();
        let put = |pending: &mut Pending, key: &'static str, value: Option<&'static str>| {
            pending.insert(Bytes::from(key), value.map(Bytes::from))
        };
        for (key, value) in [("b", Some("1")), ("ab", Some("2")), ("aa", None)] {
            assert_eq!(put(&mut pending, key, value), None);
        }
        assert_eq!(scan(&pending, Bound::Unbounded, ""), "aa- ab=2 b=1");
        // The sorted order exists now, and further writes maintain it.
        assert_eq!(put(&mut pending, "a", Some("3")), None);
        assert_eq!(put(&mut pending, "ab", None), Some(Some(Bytes::from("2"))));
        assert_eq!(scan(&pending, Bound::Unbounded, ""), "a=3 aa- ab- b=1");
        assert_eq!(scan(&pending, Bound::Excluded(b"a"), "a"), "aa- ab-");
        assert_eq!(scan(&pending, Bound::Included(b"ab"), ""), "ab- b=1");
        assert_eq!(pending.get(b"b"), Some(&Some(Bytes::from("1"))));
        assert_eq!((pending.get(b"c"), pending.len()), (None, 4));
        let came = pending.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        assert_eq!(came, ["b", "ab", "aa", "a"]);
    }
}
