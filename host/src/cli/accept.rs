//! `heddle topics accept`: lets a component with state continue after its topics have changed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use heddle_core::explain::Explained;

use super::app;
use super::run::component_files;
use crate::deploy::create;
use crate::guest::Component;
use crate::log::Log;
use crate::runtime::{KnownTopics, own_topics, partition_counts, short_changelogs, task_count, task_spec};

/// The effect of more partitions on state.
const MOVED: &str = "State stays where it is. A key whose records move to another partition starts there without state: its values in the old \
     partition are no longer read or changed, and a message that was handled there is handled again if it is sent again. \
     Keys that stay in their partition keep their state.";
/// The effect of a recreated topic on state.
const ANEW: &str = "the old content of such a topic is lost, hosts discard their copies of it, and the component continues with its present content.";

/// Adds partitions to the topics with the component's state until each has one for every task, and creates missing
/// ones. Accepts recreated changelogs with their current content. Without `yes` it only prints what would happen.
pub(super) fn accept(folder: &Path, log: &Arc<dyn Log>, component: &str, yes: bool) -> Result<()> {
    let app = app::read(folder)?;
    let files = component_files(folder, &app, false)?;
    let manifests = files.iter().map(|(file, wasm)| Component::contract(file, wasm).map(|(_, manifest)| manifest));
    let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
    let is_it = |manifest: &&heddle_contract::manifest::Manifest| {
        manifest.name == component || *manifest.full_name(&app.name) == *component
    };
    let Some(manifest) = manifests.iter().find(is_it) else {
        let known = manifests.iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>().join(", ");
        bail!(
            Explained::new(format!("the app has no component `{component}`"))
                .at("[app] components in heddle.toml")
                .hint(format_args!("name one of: {known}"))
        );
    };
    let topics = partition_counts(log.topics()?);
    let spec = task_spec(&app.name, manifest, topics.keys().map(String::as_str));
    let tasks = task_count(manifest, &topics);
    let short = short_changelogs(&spec, tasks, &topics);
    for topic in &short {
        println!("{}: from {} to {tasks} partitions", topic.name, topic.partitions);
    }
    if !short.is_empty() {
        println!("{MOVED}");
    }
    println!("Topics with state that were deleted or recreated are accepted as they are: {ANEW}");
    if !yes {
        bail!(Explained::new("nothing was changed").hint("give --yes to accept this"));
    }
    let missing = own_topics(&spec, tasks).into_iter().filter(|topic| !topics.contains_key(&topic.name));
    create(log.as_ref(), &missing.collect::<Vec<_>>())?;
    for topic in &short {
        log.add_partitions(&topic.name, tasks)?;
    }
    let known = KnownTopics::of(log.clone(), &app.name);
    for changelog in spec.all_changelogs() {
        if let Some(id) = log.topic_id(changelog)? {
            known.accept(&spec.component, changelog, &id)?;
        }
    }
    eprintln!("accepted: running hosts continue {component} within seconds");
    Ok(())
}
