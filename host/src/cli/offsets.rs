//! `heddle offsets`: the committed positions of a component's consumer group.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use heddle_contract::manifest::Manifest;
use heddle_core::event::{Offset, Partition, Timestamp, TopicPartition};
use heddle_core::explain::Explained;
use serde_json::json;

use super::{app, dlq, open};
use crate::log::{Log, LogError, Watermarks};
use crate::times::point_in_time;

/// Print and set a component's positions in the topics that it consumes.
#[derive(Debug, Args)]
pub(super) struct Offsets {
    #[command(subcommand)]
    command: OffsetsCommand,
}

#[derive(Debug, Subcommand)]
enum OffsetsCommand {
    /// Print the committed position in each partition and its distance from the end.
    Show {
        /// The component.
        component: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Set positions. No host may run the component meanwhile.
    Set {
        /// The component.
        component: String,
        /// The topic; by default all that it consumes.
        topic: Option<String>,
        /// The partition; by default all of them.
        #[arg(long)]
        partition: Option<i32>,
        /// `beginning`, `end`, an offset, a time (2026-03-01T12:00:00Z), a day (2026-03-01) or how long ago (2h).
        #[arg(long)]
        to: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Copy the positions of another group. No host may run the component meanwhile.
    Copy {
        /// The component.
        component: String,
        /// The group whose positions to copy.
        #[arg(long, value_name = "GROUP")]
        from_group: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// A requested position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Beginning,
    End,
    At(Offset),
    Time(Timestamp),
}

impl To {
    fn parse(text: &str) -> Result<Self> {
        Ok(match (text, text.parse()) {
            ("beginning", _) => Self::Beginning,
            ("end", _) => Self::End,
            (_, Ok(offset)) => Self::At(Offset(offset)),
            _ => Self::Time(point_in_time(text).map_err(|wrong| {
                anyhow::Error::from(
                    Explained::new(format!("`{text}` is not a position"))
                        .at("--to")
                        .hint(format_args!("{wrong}, an offset, `beginning` or `end`")),
                )
            })?),
        })
    }
}

impl Offsets {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let group = |component: &str| -> Result<Group> {
            let manifest = dlq::manifest(folder, &app, component)?;
            let log = open::log(folder, &app)?;
            Ok(Group { name: manifest.group(&app.name), manifest, log })
        };
        match &self.command {
            OffsetsCommand::Show { component, json } => group(component)?.print(*json),
            OffsetsCommand::Set { component, topic, partition, to, json } => {
                let group = group(component)?;
                let positions = group.positions(topic.as_deref(), partition.map(Partition), To::parse(to)?)?;
                group.set(&positions)?;
                group.print(*json)
            }
            OffsetsCommand::Copy { component, from_group, json } => {
                let group = group(component)?;
                group.set(&group.of_other(from_group)?)?;
                group.print(*json)
            }
        }
    }
}

/// A component's consumer group.
struct Group {
    name: String,
    manifest: Manifest,
    log: Arc<dyn Log>,
}

impl Group {
    /// The bounds of all partitions that the component consumes, by topic.
    fn consumed(&self) -> Result<Vec<(&str, Vec<Watermarks>)>> {
        let topics = self.manifest.consumes.keys().map(String::as_str);
        topics.map(|topic| Ok((topic, self.log.watermarks(topic)?))).collect()
    }

    fn print(&self, as_json: bool) -> Result<()> {
        let consumed = self.consumed()?;
        let all = consumed
            .iter()
            .flat_map(|(topic, bounds)| bounds.iter().map(|b| TopicPartition::new(*topic, b.partition.0)));
        let committed = self.log.committed(&self.name, &all.collect::<Vec<_>>())?;
        for (topic, bounds) in consumed {
            for Watermarks { partition, low, high, .. } in bounds {
                let position = committed.get(&TopicPartition::new(topic, partition.0)).copied();
                let lag = (high.0 - position.unwrap_or(low).max(low).0).max(0);
                if as_json {
                    let position = position.map(|position| position.0);
                    println!(
                        "{}",
                        json!({"group": self.name, "topic": topic, "partition": partition.0, "position": position, "low": low.0, "high": high.0, "lag": lag})
                    );
                } else {
                    let position = position.map_or("-".to_owned(), |position| position.to_string());
                    println!("{topic}/{partition:<4} position {position:>10}  from {low:>10} to {high:>10}  lag {lag}");
                }
            }
        }
        Ok(())
    }

    /// The requested positions of the selected partitions.
    fn positions(
        &self,
        topic: Option<&str>,
        partition: Option<Partition>,
        to: To,
    ) -> Result<Vec<(TopicPartition, Offset)>> {
        if let Some(topic) = topic.filter(|topic| !self.manifest.consumes.contains_key(*topic)) {
            let known = self.manifest.consumes.keys().cloned().collect::<Vec<_>>().join(", ");
            bail!(
                Explained::new(format!("`{}` does not consume the topic `{topic}`", self.manifest.name))
                    .hint(format_args!("name one of: {known}"))
            );
        }
        let mut positions = vec![];
        for (name, bounds) in self.consumed()?.into_iter().filter(|(name, _)| topic.is_none_or(|topic| topic == *name))
        {
            let times = match to {
                To::Time(time) => self.log.offsets_at(name, time)?,
                _ => BTreeMap::new(),
            };
            for bounds in bounds.iter().filter(|bounds| partition.is_none_or(|only| only == bounds.partition)) {
                let offset = match to {
                    To::Beginning => bounds.low,
                    To::End => bounds.high,
                    To::Time(_) => times.get(&bounds.partition).copied().unwrap_or(bounds.high),
                    To::At(offset) if (bounds.low..=bounds.end).contains(&offset) => offset,
                    To::At(offset) => bail!(
                        Explained::new(format!("{name}/{} has no offset {offset}", bounds.partition))
                            .hint(format_args!("choose one from {} to {}", bounds.low, bounds.high))
                    ),
                };
                positions.push((TopicPartition::new(name, bounds.partition.0), offset));
            }
        }
        if positions.is_empty() {
            bail!(
                Explained::new("there is no such partition")
                    .at("--partition")
                    .hint(format_args!("run `heddle offsets show {}` to see the partitions", self.manifest.name))
            );
        }
        Ok(positions)
    }

    /// The positions of another group in the topics that the component consumes.
    fn of_other(&self, group: &str) -> Result<Vec<(TopicPartition, Offset)>> {
        let consumed = self.consumed()?;
        let all = consumed
            .iter()
            .flat_map(|(topic, bounds)| bounds.iter().map(|b| TopicPartition::new(*topic, b.partition.0)));
        let committed = self.log.committed(group, &all.collect::<Vec<_>>())?;
        if committed.is_empty() {
            let topics = self.manifest.consumes.keys().cloned().collect::<Vec<_>>().join(", ");
            bail!(
                Explained::new(format!(
                    "the group `{group}` has no position in the topics of `{}`",
                    self.manifest.name
                ))
                .at(&topics)
                .hint("check the name of the group")
            );
        }
        Ok(committed.into_iter().collect())
    }

    fn set(&self, positions: &[(TopicPartition, Offset)]) -> Result<()> {
        self.log.set_committed(&self.name, positions).map_err(|error| match error {
            LogError::GroupActive { .. } => anyhow::Error::from(
                Explained::new(error.to_string())
                    .at(format_args!("the component `{}`", self.manifest.name))
                    .hint("stop all hosts that run the component, and wait for their session.timeout.ms (10 s)"),
            ),
            other => other.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_in_four_ways() {
        let of = |text: &str| To::parse(text).ok();
        assert_eq!(of("beginning"), Some(To::Beginning));
        assert_eq!(of("end"), Some(To::End));
        assert_eq!(of("17"), Some(To::At(Offset(17))));
        assert_eq!(of("1970-01-01T00:00:01Z"), Some(To::Time(Timestamp(1_000))));
        assert!(matches!(of("2h"), Some(To::Time(_))));
        assert_eq!(of("latest"), None);
    }
}
