//! `heddle topics repartition`: moves a component's state to where its keys lead after its input got more partitions.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use heddle_core::event::Topic;
use heddle_core::explain::Explained;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::stop::stop_signal;
use super::{app, counted, dlq, open};
use crate::repartition::{Job, Kind, Plan, RepartitionError, TopicPlan};
use crate::runtime::{KnownTopics, LOOK_EVERY, partition_counts, task_spec};

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Repartition {
    /// The component. No host may run it meanwhile.
    component: String,
    /// Declare that every store uses the input's key as its own key. This is checked before anything is moved.
    #[arg(long)]
    by_store_key: bool,
    /// Move the state although records are parked in the old partitions. They are handled there, without state.
    #[arg(long)]
    leave_waiting: bool,
    /// Print what would be moved, and move nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Repartition {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let manifest = dlq::manifest(folder, &app, &self.component)?;
        let log = open::own_log(folder, &app)?;
        let counts = partition_counts(log.topics()?);
        let spec = task_spec(&app.name, &manifest, counts.keys().map(String::as_str));
        let job = Job {
            log: log.as_ref(),
            known: &KnownTopics::of(log.clone(), &app.name),
            spec: &spec,
            group: &manifest.group(&app.name),
            inputs: &manifest.consumes.keys().map(|topic| Topic::from(topic.as_str())).collect::<Vec<_>>(),
            by_store_key: self.by_store_key,
            leave_waiting: self.leave_waiting,
            hosts_show: LOOK_EVERY.saturating_mul(2),
        };
        let Some(plan) = job.look().map_err(failed)? else {
            if self.json {
                println!("{}", json!({"component": &*spec.component, "moved": false, "topics": []}));
            }
            eprintln!("nothing to do: the state of {} has as many partitions as its input", self.component);
            return Ok(());
        };
        if !self.json {
            print(&plan);
        }
        if !self.dry_run {
            carry_out(&job, &plan)?;
        }
        if self.json {
            println!("{}", as_json(&spec.component, &plan, !self.dry_run));
        }
        let done = if self.dry_run { "nothing was changed" } else { "moved: hosts run the component within seconds" };
        eprintln!("{done}");
        Ok(())
    }
}

fn carry_out(job: &Job<'_>, plan: &Plan) -> Result<()> {
    let shutdown = stop_signal()?;
    let style = ProgressStyle::with_template("{bar:30} {percent}%  {pos} of {len} records  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(plan.steps()).with_style(style);
    let done = job.carry_out(plan, &mut |read| {
        bar.set_position(read);
        if shutdown.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    done.map_err(failed)
}

/// The cause itself, which knows its place and remedy.
fn failed(error: RepartitionError) -> anyhow::Error {
    match error {
        RepartitionError::Log(error) => error.into(),
        RepartitionError::Refused(why) => why.into(),
        other @ RepartitionError::Interrupted => {
            let hint = "run the command again: it finishes the move, and no host runs the component until then";
            Explained::new(other.to_string()).hint(hint).into()
        }
    }
}

fn print(plan: &Plan) {
    if plan.resumed {
        println!("finishing an earlier run that was interrupted");
    }
    println!("from {} to {} partitions", plan.from, plan.to);
    for TopicPlan { topic, kind, records, moved } in &plan.topics {
        let (records, what) = (counted(*records, "record"), what(*kind));
        println!("{topic}: {records} of {what}, {moved} copied to other partitions");
    }
    if plan.is_unproven() {
        println!("the state had one partition, so the keys of the stores cannot be compared with those of the input");
    }
    if plan.left > 0 {
        println!("{} will be handled without the state of their keys", counted(plan.left, "parked record"));
    }
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Store => "a store",
        Kind::Schedule => "parked records",
        Kind::Ids => "message ids",
    }
}

fn as_json(component: &str, plan: &Plan, moved: bool) -> Value {
    let topic = |plan: &TopicPlan| {
        let kind = match plan.kind {
            Kind::Store => "store",
            Kind::Schedule => "waiting",
            Kind::Ids => "ids",
        };
        json!({"topic": &*plan.topic, "kind": kind, "records": plan.records, "copied": plan.moved})
    };
    json!({
        "component": component, "from": plan.from, "to": plan.to, "moved": moved, "resumed": plan.resumed,
        "left": plan.left, "topics": plan.topics.iter().map(topic).collect::<Vec<_>>(),
    })
}
