//! `heddle check`: whether the components fit the registry and the topics, without running them. `run` and `dev` ask the same.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use heddle_contract::manifest::Manifest;
use heddle_contract::section::Contract;
use serde_json::json;

use super::run::component_files;
use super::{app, open};
use crate::guest::Component;
use crate::registry::{Registry, check};

/// Check the components as they were built against the registry and the topics, without running them.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print what does not fit as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let (engine, mut components) = (open::engine()?, vec![]);
        for (file, wasm) in component_files(folder, &app, false)? {
            Component::check(&engine, &file, &wasm)?;
            components.push(Component::contract(&file, &wasm)?);
        }
        let (log, registry) = (open::log(folder, &app)?, open::registry(folder, &app)?);
        let contracts = components.iter().map(|(contract, manifest)| (contract, manifest));
        let mut found = misfits(&app.name, contracts, registry.as_ref())?;
        let there = log.topics()?.into_iter().map(|topic| (topic.name, topic.partitions));
        let declared = app.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions));
        // What is there goes before what would be created.
        let topics = declared.chain(there).collect::<BTreeMap<_, _>>();
        found.extend(components.iter().flat_map(|(_, manifest)| topic_troubles(manifest, &topics)));
        for trouble in &found {
            if self.json {
                println!("{}", json!({ "message": trouble }));
            } else {
                eprintln!("error: {trouble}");
            }
        }
        match found.len() {
            0 => {
                eprintln!("{} components fit the registry and the topics", components.len());
                Ok(())
            }
            count => bail!("the components do not fit: {count} findings\n  what to do: what the lines above say"),
        }
    }
}

/// Refuses components whose schemas do not fit the registry, before a record is touched.
pub(super) fn refuse<'a>(
    app: &str,
    components: impl IntoIterator<Item = (&'a Contract, &'a Manifest)>,
    registry: &dyn Registry,
) -> Result<()> {
    let found = misfits(app, components, registry)?;
    if found.is_empty() { Ok(()) } else { bail!(found.join("\n")) }
}

/// What does not fit, in three lines each.
fn misfits<'a>(
    app: &str,
    components: impl IntoIterator<Item = (&'a Contract, &'a Manifest)>,
    registry: &dyn Registry,
) -> Result<Vec<String>> {
    let mut found = vec![];
    for (contract, manifest) in components {
        found.extend(check::misfits(registry, app, contract, manifest)?.iter().map(ToString::to_string));
    }
    Ok(found)
}

/// Topics that are missing, or do not go together, in three lines each.
pub(super) fn topic_troubles(manifest: &Manifest, topics: &BTreeMap<String, i32>) -> Vec<String> {
    let name = &manifest.name;
    let mut found = vec![];
    for topic in manifest.consumes.keys().chain(manifest.emits.keys()).filter(|topic| !topics.contains_key(*topic)) {
        found.push(format!(
            "the topic `{topic}` of the component `{name}` does not exist\n  where: the log\n  what to do: add [topics.\"{topic}\"] with its partitions to heddle.toml, or create it"
        ));
    }
    // A task owns one partition number of all its topics, and the state that goes with it.
    let counts = manifest.consumes.keys().filter_map(|topic| Some((topic, topics.get(topic)?))).collect::<Vec<_>>();
    let stateful = !manifest.stores.is_empty() || manifest.consumes.values().any(|consumes| consumes.dedup.is_some());
    if stateful
        && let Some((first, rest)) = counts.split_first()
        && let Some(other) = rest.iter().find(|(_, count)| *count != first.1)
    {
        found.push(format!(
            "the component `{name}` keeps state and consumes topics with different numbers of partitions: records of one key would meet different state\n  where: `{}` has {}, `{}` has {}\n  what to do: give both topics the same number of partitions",
            first.0, first.1, other.0, other.1
        ));
    }
    found
}
