//! `heddle topics`: lists, creates and describes topics.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use heddle_core::explain::Explained;
use serde_json::json;

use super::accept::accept;
use super::repartition::Repartition;
use super::{app, open};
use crate::log::{Log, LogError, TopicSpec};

/// List, create and describe topics.
#[derive(Debug, Args)]
pub(super) struct Topics {
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// List all topics with their numbers of records.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Create a topic.
    Create {
        /// The topic.
        name: String,
        /// The number of partitions.
        #[arg(long, default_value_t = 1)]
        partitions: i32,
        /// A topic option, such as cleanup.policy=compact; may be given several times.
        #[arg(long = "option", value_name = "KEY=VALUE")]
        options: Vec<String>,
    },
    /// Let a component with state continue after partitions were added to its input, or after topics with its state
    /// were deleted.
    Accept {
        /// The component.
        component: String,
        /// Apply the change; without it, the effect is only printed.
        #[arg(long)]
        yes: bool,
    },
    /// Move a component's state to the partitions of its keys after partitions were added to its input.
    Repartition(Repartition),
    /// Print the bounds of each partition of a topic.
    Describe {
        /// The topic.
        name: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

impl Topics {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let log = || open::log(folder, &app);
        match &self.command {
            TopicsCommand::List { json } => list(log()?.as_ref(), *json),
            TopicsCommand::Create { name, partitions, options } => {
                let pair = |option: &String| {
                    let (key, value) =
                        option.split_once('=').with_context(|| format!("`{option}` is not KEY=VALUE"))?;
                    Ok((key.to_owned(), value.to_owned()))
                };
                let options = options.iter().map(pair).collect::<Result<BTreeMap<_, _>>>()?;
                log()?.create_topic(&TopicSpec {
                    name: name.clone(),
                    partitions: *partitions,
                    replication: None,
                    options,
                })?;
                eprintln!("created {name} with {partitions} partitions");
                Ok(())
            }
            TopicsCommand::Accept { component, yes } => accept(folder, &log()?, component, *yes),
            TopicsCommand::Repartition(repartition) => repartition.run(folder),
            TopicsCommand::Describe { name, json } => describe(log()?.as_ref(), name, *json),
        }
    }
}

fn list(log: &dyn Log, as_json: bool) -> Result<()> {
    for topic in log.topics()? {
        let records: i64 = log.watermarks(&topic.name)?.iter().map(|w| w.high.0 - w.low.0).sum();
        if as_json {
            println!("{}", json!({"topic": topic.name, "partitions": topic.partitions, "offsets": records}));
        } else {
            println!("{:<40} {:>4} partitions {records:>10} offsets", topic.name, topic.partitions);
        }
    }
    Ok(())
}

fn describe(log: &dyn Log, name: &str, as_json: bool) -> Result<()> {
    let watermarks = log.watermarks(name).map_err(|error| match error {
        LogError::UnknownTopic(_) => anyhow::Error::from(
            Explained::new(format!("there is no topic `{}`", crate::printable::line(name)))
                .hint("run `heddle topics list` to see the topics"),
        ),
        other => other.into(),
    })?;
    for bounds in watermarks {
        if as_json {
            println!("{}", json!({"partition": bounds.partition.0, "low": bounds.low.0, "high": bounds.high.0}));
        } else {
            println!("{name}/{:<4} from {:>10} to {:>10}", bounds.partition, bounds.low, bounds.high);
        }
    }
    Ok(())
}
