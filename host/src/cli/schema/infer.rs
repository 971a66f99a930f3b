//! Derives a JSON Schema from the records of a topic.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::format::json_schema::infer::Inferred;
use heddle_contract::manifest::App;
use heddle_contract::wire::{Wire, value_subject};
use heddle_core::event::TopicPartition;
use heddle_core::explain::Explained;

use crate::cli::consume::is_at_end;
use crate::cli::new::type_name;
use crate::cli::{app, counted, open};
use crate::log::{Log, Start};
use crate::printable::line;

/// The longest wait of a poll.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Options of `infer`.
#[derive(Debug, Args)]
pub(super) struct Infer {
    /// The topic.
    topic: String,

    /// The most records to read, from the beginning.
    #[arg(long, default_value_t = 1_000)]
    records: u64,
}

/// The result of reading a topic.
#[derive(Default)]
struct Found {
    inferred: Inferred,
    values: u64,
    others: u64,
}

impl Infer {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let file = format!("{}.json", value_subject(&self.topic));
        let path = folder.join(&app.contracts).join(&file);
        if path.exists() {
            bail!(Explained::new("the file exists already").at(path.display()).hint("remove it to derive it again"));
        }
        let log = open::log(folder, &app)?;
        let Found { inferred, values, others } = self.read(&*log, folder)?;
        if values == 0 {
            let what = match others {
                0 => format!("there are no values in `{}`", self.topic),
                others => format!("none of the {} in `{}` is JSON", counted(others, "value"), self.topic),
            };
            let hint = format!("run `heddle schema fetch {}` if its schema is in the registry", self.topic);
            bail!(Explained::new(what).at(&self.topic).hint(hint));
        }
        let text = serde_json::to_string_pretty(&inferred.document(&type_name(&self.topic)))? + "\n";
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        println!("{:<40} from {}", line(&file), counted(values, "record"));
        if others > 0 {
            eprintln!("{} without JSON left out", counted(others, "record"));
        }
        self.tell_wire(&app);
        Ok(())
    }

    /// Says what is missing for components to read such records.
    fn tell_wire(&self, app: &App) {
        let wire = app.topics.get(&self.topic).map(|topic| topic.wire).unwrap_or_default();
        if !matches!(wire, Wire::Plain | Wire::Auto) {
            eprintln!("set wire = \"plain\" in [topics.\"{}\"] of heddle.toml", line(&self.topic));
        }
    }

    fn read(&self, log: &dyn Log, folder: &Path) -> Result<Found> {
        if log.topics()?.iter().all(|info| info.name != self.topic) {
            bail!(
                Explained::new(format!("there is no topic `{}`", line(&self.topic)))
                    .at(folder.join("heddle.toml").display())
                    .hint("run `heddle topics list` to see the topics")
            );
        }
        let ends = log.watermarks(&self.topic)?;
        let place = |partition| TopicPartition { topic: self.topic.as_str().into(), partition };
        let from = ends.iter().map(|end| (place(end.partition), Start::Beginning)).collect::<Vec<_>>();
        let (mut reader, mut found) = (log.reader(&from)?, Found::default());
        loop {
            let records = reader.poll(POLL_WAIT)?;
            let is_end = records.is_empty() && is_at_end(&reader.positions()?, &ends);
            for value in records.into_iter().filter_map(|record| record.value) {
                match serde_json::from_slice(&value) {
                    Ok(value) => {
                        found.inferred.add(&value);
                        found.values += 1;
                    }
                    Err(_) => found.others += 1,
                }
                if found.values + found.others >= self.records {
                    return Ok(found);
                }
            }
            if is_end {
                return Ok(found);
            }
        }
    }
}
