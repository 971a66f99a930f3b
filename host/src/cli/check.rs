//! `heddle check`: checks the components against the registry and the topics, without running them. `run` and `dev`
//! make the same checks.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use heddle_contract::manifest::app::Register;
use heddle_contract::manifest::{App, Manifest};
use heddle_contract::section::Contract;
use heddle_core::explain::{Explained, to_text};
use serde_json::json;

use super::run::component_files;
use super::{app, counted, open, report};
use crate::build::{AppContracts, unmatched};
use crate::cluster::Hosts;
use crate::deploy::{Topics, conflicts, contradictions, short_lived_tables, topic_troubles, untyped_table_keys};
use crate::guest::Component;
use crate::log::{Log, Operation, Resource, Right};
use crate::registry::{Registry, check};
use crate::runtime::{KnownTopics, OWN_TOPIC, rights, task_spec};

/// Check the built components against the registry and the topics, without running them.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print the findings as JSON, one object per line.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let (engine, mut components) = (open::engine()?, vec![]);
        for (file, wasm) in component_files(folder, &app, false)? {
            Component::check(&engine, &file, &wasm)?;
            let (contract, manifest) = Component::contract(&file, &wasm)?;
            components.push((contract, manifest.with_wires(&app.wires())));
        }
        let log = open::log(folder, &app)?;
        let lacking = missing_rights(&app, &components, log.as_ref())?;
        if !lacking.is_empty() {
            // Without these rights the other checks are not reliable.
            return self.tell(&lacking);
        }
        let registry = open::registry(folder, &app, Some(&log))?;
        let own_registry = app.registry.is_none().then_some(app.registry_topic.as_str());
        let mut found = conflicts(&app.name, own_registry, components.iter().map(|(_, manifest)| manifest));
        let contracts = components.iter().map(|(contract, manifest)| (contract, manifest));
        found.extend(misfits(&app.name, contracts, registry.as_ref())?);
        if app.register == Register::Never {
            for (contract, manifest) in &components {
                let missing = check::unregistered(registry.as_ref(), &app.name, contract, manifest)?;
                found.extend(missing.iter().map(Explained::of));
            }
        }
        let there = log.topics()?.into_iter().map(|topic| (topic.name, topic.partitions));
        let there = there.collect::<BTreeMap<_, _>>();
        let contracts = components.iter().map(|(contract, manifest)| (contract, manifest));
        found.extend(contradictions(log.as_ref(), registry.as_ref(), &app.name, contracts, &there)?);
        let declared = app.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions));
        // Existing topics take precedence over those that would be created.
        let topics = declared.chain(there).collect::<BTreeMap<_, _>>();
        found.extend(components.iter().flat_map(|(_, manifest)| topic_troubles(&app.name, manifest, &topics)));
        let files = AppContracts::read(&folder.join(&app.contracts))?;
        let manifests = components.iter().map(|(contract, manifest)| (manifest, Some(contract)));
        for warning in unmatched(&files, app.topics.keys(), manifests) {
            report::warn(Explained::new(warning.to_string()).at(files.folder().display()));
        }
        for (contract, manifest) in &components {
            let tables = untyped_table_keys(contract, manifest).into_iter();
            for warning in tables.chain(short_lived_tables(log.as_ref(), manifest)) {
                report::warn(Explained::new(warning).at(format_args!("the component `{}`", manifest.name)));
            }
        }
        self.tell(&found)?;
        let fit = if components.len() == 1 { "fits" } else { "fit" };
        eprintln!("{} {fit} the registry and the topics", counted(components.len() as u64, "component"));
        Ok(())
    }

    /// Prints the findings, and fails if there are any.
    fn tell(&self, found: &[Explained]) -> Result<()> {
        for trouble in found {
            if self.json {
                println!("{}", json!({ "message": to_text(trouble) }));
            } else {
                report::finding(trouble.clone());
            }
        }
        match found.len() {
            0 => Ok(()),
            count => bail!("the components do not fit: {}", counted(count as u64, "finding")),
        }
    }
}

/// The rights that the brokers have not granted to this user.
fn missing_rights(app: &App, components: &[(Contract, Manifest)], log: &dyn Log) -> Result<Vec<Explained>> {
    let own = [Hosts::spec(&app.name), KnownTopics::spec(&app.name)].into_iter().chain(Topics::specs(&app.name));
    let mut topics = own.map(|spec| spec.name).collect::<Vec<_>>();
    let mut wanted = vec![];
    let needs_registry = components.iter().any(|(contract, manifest)| manifest.needs_registry(contract.schemas.keys()));
    if app.registry.is_none() && needs_registry {
        topics.push(app.registry_topic.clone());
        let ids = Resource::TransactionalIds(app.registry_topic.clone());
        wanted.push(Right { resource: ids, operation: Operation::Write });
    }
    wanted.extend(topics.iter().flat_map(|topic| Right::on_topic(topic, OWN_TOPIC)));
    wanted.extend(app.topics.keys().flat_map(|topic| Right::on_topic(topic, &[Operation::Create])));
    for (_, manifest) in components {
        wanted.extend(rights(&app.name, manifest, &task_spec(&app.name, manifest, [])));
    }
    let told = |right: Right| {
        let (operation, resource, grant) = (right.operation.name(), &right.resource, right.grant());
        Explained::new(format!("this user may not {operation}"))
            .at(resource)
            .hint(format_args!("run kafka-acls.sh --add --allow-principal User:… {grant}"))
    };
    Ok(log.missing_rights(&wanted)?.into_iter().map(told).collect())
}

/// The misfits.
fn misfits<'a>(
    app: &str,
    components: impl IntoIterator<Item = (&'a Contract, &'a Manifest)>,
    registry: &dyn Registry,
) -> Result<Vec<Explained>> {
    let mut found = vec![];
    for (contract, manifest) in components {
        found.extend(check::misfits(registry, app, contract, manifest)?.iter().map(Explained::of));
    }
    Ok(found)
}
