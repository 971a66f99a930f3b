//! `heddle status`: prints the status of the app's running host.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_core::event::Timestamp;
use heddle_core::explain::{Explain as _, Explained};

use super::{app, starting};
use crate::admin::{ComponentStatus, ErrorStatus, PartitionStatus, RecordStatus, StallStatus, StuckTask};
use crate::cluster::{HostAnswer, HostClient, HostError, Reach};
use crate::deploy::{short, time};
use crate::output;
use crate::printable::line;
use crate::runtime::Cause;
use crate::tables::TableStatus;
use crate::tls::Trusted;

/// The timeout for the answer of a host.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The age from which a lag is printed with its age, in milliseconds.
const STALE_MS: u64 = 10_000;

/// Print the counts, the lag and the faults of the running host's components.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print each partition of each task too: position, end, current record, last error, next attempt and
    /// cause of a stall.
    #[arg(long)]
    partitions: bool,
    /// Print again every N seconds, until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", conflicts_with = "json")]
    watch: Option<u32>,
}

/// The file with the admin address of a running host.
fn address_file(folder: &Path, app: &App) -> PathBuf {
    folder.join(&app.data).join("admin-address")
}

/// Publishes the host's admin address in a file. The file is complete or absent, and only this user can read it.
pub(super) fn leave_address(folder: &Path, app: &App, address: &str) -> Result<()> {
    let data = folder.join(&app.data);
    let leave = || -> std::io::Result<()> {
        std::fs::create_dir_all(&data)?;
        let mut file = tempfile::NamedTempFile::new_in(&data)?;
        file.write_all(address.as_bytes())?;
        file.persist(address_file(folder, app))?;
        Ok(())
    };
    leave().with_context(|| format!("cannot write {}", address_file(folder, app).display()))
}

/// Removes the published address.
pub(super) fn remove_address(folder: &Path, app: &App) {
    // The file may be gone already. The next host writes its own.
    let _ = std::fs::remove_file(address_file(folder, app));
}

/// The admin address of the app's host: the published one, or the configured one.
///
/// The file of a killed host may be left behind, so the process at the address has to prove its identity.
pub(super) fn admin_address(folder: &Path, app: &App) -> String {
    starting::wait(folder, app);
    let left = crate::files::read_text(&address_file(folder, app)).ok().map(|left| left.trim().to_owned());
    left.filter(|left| !left.is_empty()).unwrap_or_else(|| app.admin.listen.to_string())
}

/// The transport settings for the app's hosts.
pub(super) fn reach(folder: &Path, app: &App) -> Result<Reach> {
    let trusted = app.admin.ca.as_ref().map(|ca| Trusted::read(&folder.join(ca))).transpose()?;
    Ok(Reach { tls: app.admin.tls.is_some() || trusted.is_some(), trusted })
}

/// A client of the host at `address`, with the token of the app's settings.
pub(super) fn client(folder: &Path, app: &App, address: &str, timeout: Duration) -> Result<HostClient> {
    Ok(HostClient::new(address, &reach(folder, app)?, timeout).with_token(app.admin.token.clone()))
}

/// The error for a host that does not answer, with a remedy.
pub(super) fn unanswered(error: HostError, address: &str, remedy: &str) -> anyhow::Error {
    match error {
        HostError::Unreachable(why) => {
            anyhow!(why).context(Explained::new("no host of this app answers").at(address).hint(remedy))
        }
        unproven @ HostError::Unproven { .. } => unproven.into(),
    }
}

/// The error for a refusal of the host at `address`. The remedy is for a refusal that has none.
pub(super) fn refused(answer: &HostAnswer, address: &str, remedy: &str) -> anyhow::Error {
    let refusal = answer.refusal();
    if refusal.explained().iter().any(Explained::has_advice) {
        return refusal.into();
    }
    Explained::of(&refusal).at(address).hint(remedy).into()
}

impl Status {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let Some(seconds) = self.watch else { return self.print(folder, &app) };
        loop {
            if std::io::stdout().is_terminal() {
                // Clears the screen, and moves to its beginning.
                output::print(format_args!("\u{1b}[2J\u{1b}[H"), true);
            }
            self.print(folder, &app)?;
            std::thread::sleep(Duration::from_secs(seconds.max(1).into()));
        }
    }

    /// Prints the status once.
    fn print(&self, folder: &Path, app: &App) -> Result<()> {
        let address = admin_address(folder, app);
        let answer = client(folder, app, &address, TIMEOUT)?.get("/status?fresh=true");
        let answer = answer.map_err(|e| unanswered(e, &address, "start one with `heddle run` or `heddle dev`"))?;
        if answer.status != 200 {
            return Err(refused(&answer, &address, "look at the log of that host"))
                .context("the host did not send its status");
        }
        let text = answer.text();
        let mut components: Vec<ComponentStatus> = serde_json::from_str(&text).with_context(|| {
            Explained::new("the process that answers is not a Heddle host").at(&address).hint("check [admin] listen")
        })?;
        for why in components.first().filter(|_| !self.json).iter().flat_map(|first| &first.machine) {
            println!("this machine: {why}");
        }
        for component in &mut components {
            if !self.partitions {
                component.partitions.clear();
            }
            if self.json {
                println!("{}", serde_json::to_string(component)?);
            } else {
                lines(component).iter().for_each(|text| println!("{text}"));
            }
        }
        Ok(())
    }
}

/// The printed lines of a component.
fn lines(c: &ComponentStatus) -> Vec<String> {
    let waiting = if c.waiting > 0 { format!("  waiting {}", c.waiting) } else { String::new() };
    let breaker = match c.breaker.as_str() {
        "closed" => String::new(),
        open => format!("  breaker {open}"),
    };
    let restoring = if c.restoring > 0 { format!("  restoring {}", c.restoring) } else { String::new() };
    let mut lines = vec![format!(
        "{}: {} since {}  in {}  out {}  failed {}  duplicates {}  lag {}  commits {} (last {:.1} ms){waiting}{breaker}{restoring}",
        c.component,
        short(&c.digest),
        time(Timestamp(c.since)),
        c.records,
        c.emitted,
        c.failed,
        c.duplicates,
        lag(c),
        c.commits,
        c.commit_ms
    )];
    lines.extend(recent(c));
    for StuckTask { topic, partition, offset, since, tries, why } in &c.stuck {
        let since = time(Timestamp(*since));
        lines.push(format!(
            "  blocked at {topic}/{partition}@{offset} since {since}, tried {tries} times: {}",
            below(why)
        ));
    }
    let told = [Cause::Refused, Cause::Topics].map(Cause::name);
    lines.extend(
        c.stalls
            .iter()
            .filter(|stall| !told.contains(&&*stall.cause))
            .map(|stall| format!("  {}", line(&stall.to_string()))),
    );
    lines.extend(c.tables.iter().map(table_line));
    for (partition, offsets) in &c.lost {
        lines.push(format!("  lost: {offsets} offsets of {partition}, deleted before they were consumed"));
    }
    lines.extend(c.stopped.iter().map(|why| format!("  stopped: {}", below(why))));
    lines.extend(c.before.iter().map(|before| format!("  before: {}", short(before))));
    lines.extend(c.note.iter().map(|note| format!("  {}", line(note))));
    lines.extend(c.partitions.iter().map(partition_line));
    lines
}

/// The text of an error. Its place and its remedy are on lines below, indented by two more.
fn below(why: &str) -> String {
    why.split('\n').map(line).collect::<Vec<_>>().join("\n  ")
}

/// The rates and times of the last minute, if there are any.
fn recent(c: &ComponentStatus) -> Option<String> {
    let is_quiet = c.records_per_second == 0.0 && c.aborts == 0 && c.lag_seconds == 0.0;
    if is_quiet && c.handler_p50_ms.is_none() {
        return None;
    }
    let times = |name: &str, p50: Option<f64>, p99: Option<f64>| match (p50, p99) {
        (Some(p50), Some(p99)) => format!("  {name} p50 {p50:.2} ms, p99 {p99:.2} ms"),
        _ => String::new(),
    };
    Some(format!(
        "  last minute: in {:.1}/s  out {:.1}/s  oldest {:.1} s{}{}  aborts {}",
        c.records_per_second,
        c.emitted_per_second,
        c.lag_seconds,
        times("handler", c.handler_p50_ms, c.handler_p99_ms),
        times("age", c.age_p50_ms, c.age_p99_ms),
        c.aborts
    ))
}

fn table_line(table: &TableStatus) -> String {
    let TableStatus { topic, ready, lag, partitions, applied, unfit, wiped, fault, .. } = table;
    let state = if *ready { "ready" } else { "being read" };
    let mut parts = vec![format!("  table of {topic}: {state}  lag {lag}  partitions {partitions}  applied {applied}")];
    parts.extend((*unfit > 0).then(|| format!("without a usable key {unfit}")));
    parts.extend((*wiped > 0).then(|| format!("read again {wiped} times")));
    parts.extend(fault.as_ref().map(|fault| format!("not followed: {}", line(fault))));
    parts.join("  ")
}

fn partition_line(partition: &PartitionStatus) -> String {
    let PartitionStatus { topic, partition, position, end, lag, record, next_try, error, stall } = partition;
    let known = |number: &Option<i64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let mut parts =
        vec![format!("  {topic}/{partition}  position {}  end {}  lag {}", known(position), known(end), known(lag))];
    if let Some(RecordStatus { offset, ms, attempt, .. }) = record {
        let seconds = Duration::from_millis(*ms).as_secs_f64();
        parts.push(format!("record {offset} for {seconds:.1} s, attempt {attempt}"));
    }
    parts.extend(next_try.map(|at| format!("next try {}", time(Timestamp(at)))));
    if let Some(StallStatus { cause, ms, .. }) = stall {
        parts.push(format!("stalled by {cause} for {:.1} s", Duration::from_millis(*ms).as_secs_f64()));
    }
    if let Some(ErrorStatus { kind, detail, offset, at }) = error {
        parts.push(format!("last error at {offset}, {}: {kind}: {}", time(Timestamp(*at)), line(detail)));
    }
    parts.join("  ")
}

/// The lag as text, with its age and the cause if it is old.
pub(super) fn lag(status: &ComponentStatus) -> String {
    let (Some(lag), Some(age)) = (status.lag, status.lag_age_ms) else {
        let why = status.lag_error.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        return format!("unknown{why}");
    };
    if age < STALE_MS {
        return lag.to_string();
    }
    let why = status.lag_error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{lag} ({} s ago{why})", age / 1_000)
}
