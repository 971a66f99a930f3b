//! Warnings about the topics of a component's tables.

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::tables::TableSpec;
use heddle_contract::section::Contract;
use heddle_contract::wire::key_subject;

use crate::log::Log;

/// Topics of tables that do not keep the newest value of every key, a line each. Unknown settings of the log cause no
/// warning.
#[must_use]
pub fn short_lived_tables(log: &dyn Log, manifest: &Manifest) -> Vec<String> {
    let trouble = |(name, table): (&String, &TableSpec)| {
        let policy = match log.topic_option(&table.topic, "cleanup.policy") {
            Ok(Some(policy)) => policy,
            _ if log.is_here() && log.limits(&table.topic).is_ok_and(|limits| !limits.keyed) => "delete".to_owned(),
            _ => return None,
        };
        let has = |word: &str| policy.split(',').any(|part| part.trim() == word);
        let what = match (has("compact"), has("delete")) {
            (true, false) => return None,
            (true, true) => "hosts that read it later lack entries that others have",
            (false, _) => "its entries are gone with its retention",
        };
        Some(format!(
            "the topic `{}` of the table `{name}` has cleanup.policy={policy}: {what}; set cleanup.policy=compact on it",
            table.topic
        ))
    };
    manifest.tables.iter().filter_map(trouble).collect()
}

/// Tables whose keys are taken for text because nothing declares their type, one per line.
#[must_use]
pub fn untyped_table_keys(contract: &Contract, manifest: &Manifest) -> Vec<String> {
    let trouble = |(name, table): (&String, &TableSpec)| {
        let subject = key_subject(&table.topic);
        let is_said = table.key.is_some() || contract.schemas.contains_key(&subject);
        (!is_said).then(|| {
            format!(
                "the keys of the table `{name}` are taken for text: if a schema writes them, nothing is found; add contracts/{subject}.avsc, or key = \"string\" to [tables.{name}]"
            )
        })
    };
    manifest.tables.iter().filter_map(trouble).collect()
}
