//! `heddle shadow`: shows the differences that a new version would make, without deploying it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_core::event::Timestamp;
use heddle_core::explain::{Explained, to_text};

use super::run::component_files;
use super::{app, counted, open, wasm_file};
use crate::deploy::{Topics, short, time};
use crate::guest::{Component, Schemas};
use crate::log::Log;
use crate::printable::line;
use crate::registry::{Cached, check};
use crate::shadow::{Extent, Found, From, Report, Side, compare, read_tables};
use crate::times::point_in_time;

/// Compare a version with the running one, on the same records and a copy of the state, without committing anything.
#[derive(Debug, Args)]
pub(super) struct Shadow {
    /// The new version's .wasm file.
    file: PathBuf,

    /// Fail if the file holds another component than this one.
    #[arg(long)]
    component: Option<String>,

    /// The first record to take: `beginning`, without state; an offset in every partition, or a time
    /// (2026-03-01T12:00:00Z, or how long ago: 2h), on the state of that time.
    #[arg(long, default_value = "beginning", value_name = "TIME|OFFSET")]
    from: String,

    /// The most records to take.
    #[arg(long, default_value_t = 10_000)]
    records: u64,

    /// The most differences to show.
    #[arg(long, default_value_t = 5)]
    samples: usize,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Shadow {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let extent = Extent { from: self.from()?, records_max: self.records, samples_max: self.samples };
        let name = self.file.display().to_string();
        let wasm = wasm_file::read(&self.file, || {
            Explained::new("there is no file to try").at(&name).hint("name a .wasm file that `heddle build` made")
        })?;
        let (contract, manifest) = Component::contract(&name, &wasm)?;
        if let Some(component) = self.component.as_ref().filter(|component| **component != manifest.name) {
            bail!(
                Explained::new(format!("the file holds the component `{}`, not `{component}`", manifest.name))
                    .at(&name)
                    .hint("name the component that the file holds, or another file")
            );
        }
        let log = open::log(folder, &app)?;
        let registry = open::registry(folder, &app, Some(&log))?;
        let (old_name, old_wasm) = running(folder, &app, &log, &manifest.name)?;
        let schemas: Arc<dyn Schemas> = Arc::new(Cached::new(registry.clone()));
        let engine = open::engine()?;
        let wires = app.wires();
        let side = |name: &str, wasm: &[u8]| {
            Side::load((&app.name, &wires), &engine, (name, wasm), registry.as_ref(), schemas.clone())
        };
        let (mut old, mut new) = (side(&old_name, &old_wasm)?, side(&name, &wasm)?);
        read_tables(&log, [&mut old, &mut new])?;
        let mut report = compare(log.as_ref(), &mut old, &mut new, &extent)?;
        let misfits = check::misfits(registry.as_ref(), &app.name, &contract, &manifest.with_wires(&wires))?;
        report.refused.extend(misfits.iter().map(|misfit| to_text(misfit)));
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print(&report);
        }
        Ok(())
    }

    fn from(&self) -> Result<From> {
        if self.from == "beginning" {
            return Ok(From::Beginning);
        }
        if let Ok(offset) = self.from.parse::<i64>() {
            return Ok(From::Offset(offset));
        }
        let time = point_in_time(&self.from).map_err(|what| {
            anyhow::Error::from(
                Explained::new(format!("`{}` is not a position", self.from))
                    .at("--from")
                    .hint(format_args!("write `beginning`, an offset, or {}", what.trim_start_matches("write "))),
            )
        })?;
        Ok(From::Time(time))
    }
}

/// The version that the app's hosts run: the deployed one, or else the one that this folder's host runs. The host's
/// file may have been rebuilt since, so the host is asked. Without a host, the folder's file is used.
fn running(folder: &Path, app: &App, log: &Arc<dyn Log>, component: &str) -> Result<(String, Vec<u8>)> {
    if let Some(topics) = Topics::there(log.clone(), &app.name)?
        && let Some((_, Some(deployment))) = topics.newest()?.0.get(component)
    {
        let wasm = topics.get(&deployment.release)?;
        return Ok((format!("{component} {}", short(&deployment.release.digest)), wasm.to_vec()));
    }
    if let Some(host) = open::host(folder, app)
        && let Some(wasm) = host.running(&format!("{}.{component}", app.name))?
    {
        return Ok((format!("the running {component}"), wasm));
    }
    for (file, wasm) in component_files(folder, app, false)? {
        if Component::contract(&file, &wasm)?.1.name == component {
            return Ok((file, wasm));
        }
    }
    bail!(
        Explained::new(format!("the app has no component `{component}` to compare with"))
            .at(folder.join("heddle.toml").display())
            .hint("name a version of one of its components")
    )
}

fn print(report: &Report) {
    let Report { component, old, new, topics, records, failed, outputs, state, .. } = report;
    println!(
        "{component}: {} of {}, old {}, new {}",
        counted(*records, "record"),
        topics.join(", "),
        short(old),
        short(new)
    );
    if report.stopped {
        println!("  more records are left; --records takes more of them");
    }
    match report.state_until {
        None => println!("  without state"),
        Some(until) => println!(
            "  on the state of {}, as far as the changelogs still hold it: compaction may have removed older values",
            time(Timestamp(until))
        ),
    }
    println!("  dead-lettered: {} by the old, {} by the new", failed[0], failed[1]);
    println!("  outputs:       {} by the old, {} by the new; {} differ", outputs.old, outputs.new, outputs.differ);
    println!("  state:         {} values by the old, {} by the new; {} differ", state.old, state.new, state.differ);
    for Found { samples, .. } in [outputs, state] {
        for sample in samples {
            println!("  {}\n    old {}\n    new {}", line(&sample.at), sample.old, sample.new);
        }
    }
    if report.is_same() {
        println!("  nothing differs");
    }
    report.refused.iter().for_each(|misfit| println!("deploying it would be refused: {misfit}"));
}
