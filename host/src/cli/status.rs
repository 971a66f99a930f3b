//! `heddle status`: what the app's running host does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_core::event::Timestamp;

use super::app;
use crate::admin::{ComponentStatus, StuckTask};
use crate::deploy::{short, time};
use crate::printable::line;

/// How long a host may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Print what the running host's components did so far, and how far behind they are.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Where a host leaves the address that it got.
pub(super) fn address_file(folder: &Path, app: &App) -> PathBuf {
    folder.join(&app.data).join("admin-address")
}

/// Where the app's host is to be asked: a host says which port it got; the file of one that was killed may be left.
pub(super) fn admin_address(folder: &Path, app: &App) -> String {
    let left = std::fs::read_to_string(address_file(folder, app)).ok();
    left.unwrap_or_else(|| app.admin.listen.to_string())
}

impl Status {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let address = admin_address(folder, &app);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into();
        let mut response = agent.get(format!("http://{address}/status")).call().with_context(|| {
            format!("no host of this app answers\n  where: {address}\n  what to do: start one with `heddle run` or `heddle dev`")
        })?;
        let text = response.body_mut().read_to_string()?;
        if response.status() != 200 {
            bail!(
                "the host cannot tell its status: {text}\n  where: {address}\n  what to do: look whether its log can be reached"
            );
        }
        let components: Vec<ComponentStatus> = serde_json::from_str(&text).with_context(|| {
            format!("what answers is no host of Heddle\n  where: {address}\n  what to do: check [admin] listen")
        })?;
        for c in components {
            if self.json {
                println!("{}", serde_json::to_string(&c)?);
            } else {
                let waiting = if c.waiting > 0 { format!("  waiting {}", c.waiting) } else { String::new() };
                let breaker = match c.breaker.as_str() {
                    "closed" => String::new(),
                    open => format!("  breaker {open}"),
                };
                let restoring = if c.restoring > 0 { format!("  restoring {}", c.restoring) } else { String::new() };
                println!(
                    "{}: {} since {}  in {}  out {}  failed {}  duplicates {}  lag {}  commits {} (last {:.1} ms){waiting}{breaker}{restoring}",
                    c.component,
                    short(&c.digest),
                    time(Timestamp(c.since)),
                    c.records,
                    c.emitted,
                    c.failed,
                    c.duplicates,
                    c.lag,
                    c.commits,
                    c.commit_ms
                );
                for StuckTask { topic, partition, offset, since, tries, why } in &c.stuck {
                    let since = time(Timestamp(*since));
                    println!(
                        "  stands still at {topic}/{partition}@{offset} since {since}, tried {tries} times: {why}"
                    );
                }
                for (partition, offsets) in &c.lost {
                    println!("  lost: {offsets} offsets of {partition}, deleted before they were consumed");
                }
                if let Some(before) = &c.before {
                    println!("  before: {}", short(before));
                }
                if let Some(note) = &c.note {
                    println!("  {}", line(note));
                }
            }
        }
        Ok(())
    }
}
