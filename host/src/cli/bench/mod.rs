//! `heddle bench`: measures the app's components on this machine, one after the other, each alone.
//!
//! ```text
//!  schema ── values ─┬─> records ─> temporary embedded log ─┬─> run in transactions ─> events/s, CPU, memory, failures
//!  lines of --from ──┘                                      └─> one by one ─> duration of a delivery
//! ```

mod input;
mod json;
mod protobuf;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use heddle_contract::manifest::app::{Log as AppLog, Register};
use heddle_contract::manifest::{App, Manifest};
use heddle_contract::wire::Wire;
use heddle_core::batch::Counts;
use heddle_core::explain::Explained;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::run::{component_files, config, fitter, named, slots};
use super::stop::stop_signal;
use super::{app, open};
use crate::deploy::File;
use crate::dlq::{DlqError, Filter, Queue};
use crate::guest::{Component, Schemas};
use crate::host::{Host, Parts};
use crate::log::{Log, TopicSpec};
use crate::printable::line;
use crate::registry::{Cached, Registry};
use crate::runtime::Progress;
use crate::shadow::{Side, times};
use crate::shutdown::Shutdown;
use crate::usage::{cpu_seconds, memory_kb};
use input::Lines;

/// The interval between readings of the counts.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The maximum number of deliveries that are timed individually.
const TIMED_MAX: u64 = 10_000;

/// Measure the built components on records generated from their topics' schemas, in a temporary embedded log.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The component; all components, one after the other, if none is given.
    component: Option<String>,

    /// The number of records for each component.
    #[arg(long, default_value_t = 100_000, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    records: u64,

    /// The maximum run time of each component, in seconds.
    #[arg(long, default_value_t = 60, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    seconds: u64,

    /// A file with one JSON value per line, which is read repeatedly, instead of generated records.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The field of these values that becomes the record's key; without it, records have no key.
    #[arg(long, value_name = "FIELD", requires = "from")]
    key: Option<String>,

    /// Print the figures as JSON, one object per component.
    #[arg(long)]
    json: bool,
}

/// The results of a component.
#[derive(Debug, Serialize)]
struct Figures {
    component: String,
    records: u64,
    emitted: u64,
    duplicates: u64,
    waiting: u64,
    failures: BTreeMap<String, u64>,
    /// The description of one of those failures.
    example: Option<String>,
    events_per_second: f64,
    cpu_seconds_per_million: Option<f64>,
    delivery_p50_us: f64,
    delivery_p99_us: f64,
    peak_mb: Option<u64>,
}

/// A temporary app for one measurement. Its folder is removed when it is dropped.
struct Bed {
    app: App,
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    folder: tempfile::TempDir,
}

/// The progress at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    records: u64,
    cpu: Option<f64>,
}

impl Bench {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let mut files = named(component_files(folder, &app, false)?)?;
        if let Some(component) = &self.component {
            let known = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            files.retain(|(name, _)| name == component);
            if files.is_empty() {
                bail!(
                    Explained::new(format!("the app has no component `{component}`"))
                        .at(folder.join("heddle.toml").display())
                        .hint(format_args!("name one of: {known}"))
                );
            }
        }
        let lines = self.from.as_ref().map(|path| Lines::read(path, self.key.as_deref())).transpose()?;
        let shutdown = stop_signal()?;
        for (_, file) in files {
            let figures = self.measure(&app, &file, lines.as_ref(), &shutdown)?;
            if self.json {
                println!("{}", serde_json::to_string(&figures)?);
            } else {
                figures.print();
            }
        }
        Ok(())
    }

    fn measure(&self, app: &App, file: &File, lines: Option<&Lines>, shutdown: &Shutdown) -> Result<Figures> {
        let (contract, manifest) = Component::contract(&file.name, &file.wasm)?;
        let bed = Bed::make(app, &manifest)?;
        let style = ProgressStyle::with_template("{prefix} {msg} {bar:40} {pos}/{len}")?;
        let bar = ProgressBar::new(self.records).with_style(style).with_prefix(manifest.name.clone());
        bar.set_message("writing records");
        let inputs = input::of(bed.registry.as_ref(), &contract, &manifest, lines)?;
        let each = self.records.div_ceil(inputs.len().max(1) as u64);
        for input in &inputs {
            input.write(bed.log.as_ref(), each, |more| {
                bar.inc(more);
                go_on(shutdown)
            })?;
        }
        let all = each * inputs.len() as u64;
        bar.set_length(all);
        bar.set_message("running");
        let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(bed.registry.clone()));
        let (progress, from, to) = self.through(&bed, file, all, schemas.clone(), &bar, shutdown)?;
        let peak_mb = memory_kb(std::process::id(), "VmHWM").ok().map(|kb| kb >> 10);
        bar.set_message("timing deliveries");
        let engine = open::engine()?;
        let side = Side::load(
            (&bed.app.name, &bed.app.wires()),
            &engine,
            (&file.name, &file.wasm),
            bed.registry.as_ref(),
            schemas,
        );
        let mut times = times(bed.log.as_ref(), &mut side?, all.min(TIMED_MAX))?;
        bar.finish_and_clear();
        times.sort_unstable();
        let at = |hundredths: usize| {
            let place = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
            times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        let (failures, example) = bed.failures(&manifest)?;
        let Counts { records, emitted, duplicates, .. } = progress.snapshot().counts;
        let done = (to.records - from.records) as f64;
        let cpu = from.cpu.zip(to.cpu).map(|(from, to)| (to - from) * 1e6 / done);
        Ok(Figures {
            component: manifest.name.clone(),
            records,
            emitted,
            duplicates,
            waiting: progress.snapshot().waiting,
            failures,
            example,
            events_per_second: done / (to.at - from.at).as_secs_f64(),
            cpu_seconds_per_million: cpu,
            delivery_p50_us: at(50),
            delivery_p99_us: at(99),
            peak_mb,
        })
    }

    /// Runs the component until it has consumed `all` records or its time is over. Returns its progress, and the
    /// samples between which the figures are computed.
    fn through(
        &self,
        bed: &Bed,
        file: &File,
        all: u64,
        schemas: Arc<dyn Schemas>,
        bar: &ProgressBar,
        shutdown: &Shutdown,
    ) -> Result<(Arc<Progress>, Sample, Sample)> {
        let tables = open::tables(bed.folder.path(), &bed.app, &bed.log);
        let fitter = fitter(&bed.app, bed.log.clone(), bed.registry.clone(), schemas.clone(), tables.clone())?;
        let state = open::state(bed.folder.path(), &bed.app)?;
        let slots = slots(&fitter, vec![file.clone()])?;
        let config = config(bed.folder.path(), &bed.app)?;
        let (log, registry) = (bed.log.clone(), bed.registry.clone());
        let (telemetry, exporter) = open::telemetry(bed.folder.path(), &bed.app)?;
        let parts = Parts { log, registry, schemas, state, tables, components: slots, telemetry };
        // Resets the peak, so that it begins with what is resident now. If that fails, the peak is that of the whole
        // process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let sample = |records| Sample { at: Instant::now(), records, cpu: cpu_seconds(std::process::id()).ok() };
        let begun = sample(0);
        let mut host = Host::start(config, parts, Shutdown::default())?;
        exporter.into_iter().for_each(|exporter| host.adopt(exporter));
        let Some(progress) = host.components().first().map(|component| component.progress.clone()) else {
            bail!("no component runs")
        };
        let (mut first, mut last) = (begun, begun);
        let over = || shutdown.is_requested() || begun.at.elapsed() >= Duration::from_secs(self.seconds);
        while last.records < all && !over() && !host.is_over() {
            std::thread::sleep(LOOK_EVERY);
            let records = progress.snapshot().counts.records;
            if records > last.records {
                last = sample(records);
                bar.set_position(records);
                if first.records == 0 {
                    first = last;
                }
            }
        }
        host.stop()?;
        go_on(shutdown)?;
        if last.records == 0 {
            bail!(
                Explained::new(format!("nothing was handled within {} s", self.seconds))
                    .at(&file.name)
                    .hint("give it more time with --seconds")
            );
        }
        // If one commit had all records, the only interval is the whole run.
        Ok((progress, if first.records < last.records { first } else { begun }, last))
    }
}

/// Fails if the user has stopped the command, because half a measurement is useless.
fn go_on(shutdown: &Shutdown) -> Result<()> {
    if shutdown.is_requested() {
        bail!("stopped before it was measured");
    }
    Ok(())
}

impl Bed {
    fn make(app: &App, manifest: &Manifest) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("heddle-bench-").tempdir()?;
        let data = folder.path().to_owned();
        let register = Register::Auto;
        let mut app = App { log: AppLog::Embedded, registry: None, register, data, ..app.clone() };
        // The records of a measurement name their schemas by ids.
        app.topics.values_mut().for_each(|topic| topic.wire = Wire::default());
        let log = open::own_log(folder.path(), &app)?;
        let registry = open::own_registry(folder.path(), &app, Some(&log))?;
        open::create_topics(log.as_ref(), &app, [])?;
        let shown = manifest.tables.values().map(|table| &table.topic);
        let named = manifest.consumes.keys().chain(manifest.emits.keys()).chain(shown);
        for topic in named.filter(|topic| !app.topics.contains_key(*topic)) {
            if log.topics()?.iter().all(|info| info.name != *topic) {
                let options = BTreeMap::new();
                log.create_topic(&TopicSpec { name: topic.clone(), partitions: 1, replication: None, options })?;
            }
        }
        Ok(Self { app, log, registry, folder })
    }

    /// The dead letters by kind, and the description of one.
    fn failures(&self, manifest: &Manifest) -> Result<(BTreeMap<String, u64>, Option<String>)> {
        let topic = manifest.dead_letter(&self.app.name);
        let letters = match Queue::open(self.log.clone(), &manifest.full_name(&self.app.name), &topic) {
            Ok(queue) => queue.list(&Filter::default())?,
            Err(DlqError::NoTopic { .. }) => vec![],
            Err(error) => return Err(error.into()),
        };
        let mut kinds = BTreeMap::new();
        for letter in &letters {
            *kinds.entry(letter.kind.clone()).or_default() += 1;
        }
        Ok((kinds, letters.into_iter().next().map(|letter| letter.reason)))
    }
}

impl Figures {
    fn print(&self) {
        let Self { component, records, emitted, duplicates, waiting, .. } = self;
        println!("{component}: {records} records in, {emitted} out");
        println!("  {:.0} events/s", self.events_per_second);
        if let Some(cpu) = self.cpu_seconds_per_million {
            println!("  {cpu:.1} CPU-seconds per million events, the log's own work included");
        }
        println!("  a delivery takes {:.1} µs (p50), {:.1} µs (p99)", self.delivery_p50_us, self.delivery_p99_us);
        if let Some(peak) = self.peak_mb {
            println!("  {peak} MB of memory at most");
        }
        if *duplicates > 0 {
            println!("  {duplicates} of them were duplicates");
        }
        if *waiting > 0 {
            println!("  {waiting} of them wait for another attempt");
        }
        for (kind, count) in &self.failures {
            println!("  {count} of them failed: {kind}");
        }
        if let Some(example) = &self.example {
            println!("    one of them: {}", line(example));
            println!("    records of your own: --from FILE");
        }
    }
}
