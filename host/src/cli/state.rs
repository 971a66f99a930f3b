//! `heddle state`: prints the committed state of the app's running hosts, decoded.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use heddle_contract::manifest::App;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::status::{self, admin_address, client, unanswered};
use super::{Raw, app};
use crate::admin::{StateEntries, StateEntry};
use crate::cluster::{HostAnswer, Owner};
use crate::output;
use crate::printable::line;

/// The timeout for the answer of a host.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that a task may have no host, while it moves from one to another.
const MOVE_WAIT: Duration = Duration::from_secs(15);
/// The interval between requests meanwhile.
const MOVE_LOOK: Duration = Duration::from_millis(200);

/// Print entries of stores.
#[derive(Debug, Args)]
pub(super) struct State {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the value of one key.
    Get {
        /// The component.
        component: String,
        /// The store.
        store: String,
        /// The key: text, or JSON where keys have a schema.
        key: String,
        /// Print partition and key too.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        raw: Raw,
    },
    /// Print entries, one per line, in the order of their keys within each partition.
    List {
        /// The component.
        component: String,
        /// The store.
        store: String,
        /// Only keys with this prefix.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Only keys after this one.
        #[arg(long)]
        after: Option<String>,
        /// The most entries to print of each host.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print one JSON object a line, with partition, key and value.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        raw: Raw,
    },
}

/// Sends requests to hosts of the app.
struct Asker<'a> {
    folder: &'a Path,
    app: &'a App,
}

impl Asker<'_> {
    fn ask(&self, address: &str, path: &str) -> Result<HostAnswer> {
        let answer = client(self.folder, self.app, address, TIMEOUT)?.get(path);
        answer.map_err(|e| unanswered(e, address, "start one with `heddle run` or `heddle dev`"))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The error for a host's refusal.
fn refused(address: &str, answer: &HostAnswer) -> anyhow::Error {
    status::refused(answer, address, "run `heddle status` to see the components")
}

impl State {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let address = admin_address(folder, &app);
        let asker = Asker { folder, app: &app };
        match &self.what {
            What::Get { component, store, key, json, raw } => {
                let path = format!("/state/{}/{}/{}", encoded(component), encoded(store), encoded(key));
                let entry = asker.get(&address, &path)?;
                let text = if *json { serde_json::to_string(&entry)? } else { entry.value.to_string() };
                output::print(format_args!("{text}"), raw.raw);
            }
            What::List { component, store, prefix, after, limit, json, raw } => {
                let after = after.as_ref().map(|after| format!("&after={}", encoded(after))).unwrap_or_default();
                let (component, store, prefix) = (encoded(component), encoded(store), encoded(prefix));
                let path = format!("/state/{component}/{store}?prefix={prefix}{after}");
                asker.list(&address, &path, *limit, *json, *raw)?;
            }
        }
        Ok(())
    }
}

impl Asker<'_> {
    /// The entry, from this host or from the one that it names. While a task moves, neither may have the entry for a
    /// moment.
    fn get(&self, address: &str, path: &str) -> Result<StateEntry> {
        let deadline = Instant::now() + MOVE_WAIT;
        loop {
            let answer = self.ask(address, path)?;
            let (asked, answer) = match answer.status {
                421 => {
                    let owner: Owner = serde_json::from_slice(&answer.body)?;
                    let elsewhere = self
                        .ask(&owner.admin, path)
                        .with_context(|| format!("the host `{}` has the partition of this key", owner.host))?;
                    (owner.admin, elsewhere)
                }
                _ => (address.to_owned(), answer),
            };
            match answer.status {
                200 => return Ok(serde_json::from_slice(&answer.body)?),
                421 if Instant::now() < deadline => std::thread::sleep(MOVE_LOOK),
                _ => return Err(refused(&asked, &answer)),
            }
        }
    }

    /// Prints the entries of this host and of those that it names.
    fn list(&self, address: &str, path: &str, limit: usize, json: bool, raw: Raw) -> Result<()> {
        let others = self.print(address, path, limit, json, raw)?;
        others.iter().try_for_each(|other| self.print(other, path, limit, json, raw).map(drop))
    }

    /// Prints the entries of one host, answer by answer. Returns the hosts that it names.
    fn print(&self, address: &str, path: &str, limit: usize, json: bool, raw: Raw) -> Result<BTreeSet<String>> {
        let (mut left, mut place) = (limit, String::new());
        loop {
            let answer = self.ask(address, &format!("{path}&limit={left}{place}"))?;
            if answer.status != 200 {
                return Err(refused(address, &answer));
            }
            let found: StateEntries = serde_json::from_slice(&answer.body)?;
            for entry in &found.entries {
                if json {
                    output::print(format_args!("{}", serde_json::to_string(entry)?), raw.raw);
                } else {
                    let key = entry.key.as_str().map_or_else(|| entry.key.to_string(), str::to_owned);
                    let key = if raw.raw { key.into() } else { line(&key) };
                    output::print(format_args!("{key}\t{}", entry.value), raw.raw);
                }
            }
            left = left.saturating_sub(found.entries.len());
            match found.next.filter(|_| left > 0) {
                Some(next) => place = format!("&next={}", encoded(&next.to_string())),
                None => return Ok(found.elsewhere.into_values().map(|owner| owner.admin).collect()),
            }
        }
    }
}
