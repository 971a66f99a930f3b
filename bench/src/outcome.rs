//! The results of a program in the log, for comparing programs: digests of its outputs, and the last value of each
//! account.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use heddle::log::kafka::KafkaLog;
use heddle_core::event::{Offset, TopicPartition};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::broker::{self, Ends};
use crate::orders::OUTPUTS;

/// The results of a program. Two are equal only if both programs wrote the same records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// For each partition of an output: the number of records, and a digest of their keys, values and timestamps in
    /// order.
    outputs: BTreeMap<TopicPartition, (u64, u64)>,
    /// The number of accounts, and a digest of each key with its last value.
    accounts: (u64, u64),
}

impl Outcome {
    /// Reads the outputs since `before`, and the whole changelog.
    pub(crate) fn read(log: &KafkaLog, before: &Ends, changelog: &str) -> Result<Self> {
        let mut digests = BTreeMap::<TopicPartition, (u64, Xxh3)>::new();
        broker::read(log, before, &broker::ends(log, &OUTPUTS)?, |record| {
            let (count, digest) = digests.entry(record.source).or_default();
            *count += 1;
            digest.update(record.key.as_deref().unwrap_or_default());
            digest.update(record.value.as_deref().unwrap_or_default());
            digest.update(&record.timestamp.0.to_le_bytes());
        })?;
        let end = broker::ends(log, &[changelog])?;
        let beginning = end.keys().map(|place| (place.clone(), Offset(0))).collect();
        let mut accounts = BTreeMap::new();
        broker::read(log, &beginning, &end, |record| {
            accounts.insert(record.key, record.value);
        })?;
        let mut digest = Xxh3::new();
        for (key, value) in &accounts {
            digest.update(key.as_deref().unwrap_or_default());
            digest.update(&xxh3_64(value.as_deref().unwrap_or_default()).to_le_bytes());
        }
        let outputs = digests.into_iter().map(|(place, (count, digest))| (place, (count, digest.digest()))).collect();
        Ok(Self { outputs, accounts: (accounts.len() as u64, digest.digest()) })
    }

    /// The number of emitted records.
    pub(crate) fn emitted(&self) -> u64 {
        self.outputs.values().map(|(count, _)| count).sum()
    }

    /// Fails if another program's results differ.
    pub(crate) fn compare(&self, who: &str, other: &Self, other_who: &str) -> Result<()> {
        if self == other {
            return Ok(());
        }
        bail!("{who} and {other_who} did not write the same:\n{who}: {self:?}\n{other_who}: {other:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_wrote_something_else_is_found_out() {
        let outcome = |count, digest, account| Outcome {
            outputs: BTreeMap::from([(TopicPartition::new("orders.status", 0), (count, digest))]),
            accounts: (1, account),
        };
        let right = outcome(2, 7, 9);
        assert!(right.compare("one", &outcome(2, 7, 9), "other").is_ok());
        for wrong in [outcome(3, 7, 9), outcome(2, 8, 9), outcome(2, 7, 10)] {
            assert!(right.compare("one", &wrong, "other").is_err());
        }
    }
}
