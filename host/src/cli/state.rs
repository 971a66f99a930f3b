//! `heddle state`: what the stores of the app's running hosts hold, committed and decoded.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::status::admin_address;
use super::{Raw, app};
use crate::admin::{Owner, StateEntries, StateEntry};
use crate::output;
use crate::printable::line;

/// How long a host may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Print what stores hold.
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
        /// The key.
        key: String,
        /// Print partition and key, too.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        raw: Raw,
    },
    /// Print entries, one a line, in the order of their keys within each partition.
    List {
        /// The component.
        component: String,
        /// The store.
        store: String,
        /// Only keys that begin so.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Only keys after this one.
        #[arg(long)]
        after: Option<String>,
        /// The most entries to print of each host.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// One JSON object a line, with partition, key and value.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        raw: Raw,
    },
}

/// What a host answered: status and body.
struct Answered(u16, String);

fn ask(address: &str, path: &str) -> Result<Answered> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into();
    let mut response = agent.get(format!("http://{address}{path}")).call().with_context(|| {
        format!(
            "no host of this app answers\n  where: {address}\n  what to do: start one with `heddle run` or `heddle dev`"
        )
    })?;
    Ok(Answered(response.status().as_u16(), response.body_mut().read_to_string()?))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What the host said instead of an answer.
fn refused(address: &str, Answered(_, said): &Answered) -> anyhow::Error {
    anyhow::anyhow!("{said}\n  where: {address}\n  what to do: `heddle status` names the components that run")
}

impl State {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let address = admin_address(folder, &app);
        match &self.what {
            What::Get { component, store, key, json, raw } => {
                let path = format!("/state/{}/{}/{}", encoded(component), encoded(store), encoded(key));
                let entry = get(&address, &path)?;
                let text = if *json { serde_json::to_string(&entry)? } else { entry.value.to_string() };
                output::print(format_args!("{text}"), raw.raw);
            }
            What::List { component, store, prefix, after, limit, json, raw } => {
                let after = after.as_ref().map(|after| format!("&after={}", encoded(after))).unwrap_or_default();
                let (component, store, prefix) = (encoded(component), encoded(store), encoded(prefix));
                let path = format!("/state/{component}/{store}?prefix={prefix}&limit={limit}{after}");
                list(&address, &path, *json, *raw)?;
            }
        }
        Ok(())
    }
}

/// The entry, from this host or the one that it names.
fn get(address: &str, path: &str) -> Result<StateEntry> {
    let answered = ask(address, path)?;
    match answered.0 {
        200 => Ok(serde_json::from_str(&answered.1)?),
        421 => {
            let owner: Owner = serde_json::from_str(&answered.1)?;
            let elsewhere = ask(&owner.admin, path)
                .with_context(|| format!("the host `{}` has the partition of this key", owner.host))?;
            if elsewhere.0 != 200 {
                return Err(refused(&owner.admin, &elsewhere));
            }
            Ok(serde_json::from_str(&elsewhere.1)?)
        }
        _ => Err(refused(address, &answered)),
    }
}

/// Prints the entries of this host and of those that it names.
fn list(address: &str, path: &str, json: bool, raw: Raw) -> Result<()> {
    let others =
        print(address, path, json, raw)?.elsewhere.into_values().map(|owner| owner.admin).collect::<BTreeSet<_>>();
    others.iter().try_for_each(|other| print(other, path, json, raw).map(|_| ()))
}

/// Prints the entries of one host, and returns what it answered.
fn print(address: &str, path: &str, json: bool, raw: Raw) -> Result<StateEntries> {
    let answered = ask(address, path)?;
    if answered.0 != 200 {
        return Err(refused(address, &answered));
    }
    let found: StateEntries = serde_json::from_str(&answered.1)?;
    for entry in &found.entries {
        if json {
            output::print(format_args!("{}", serde_json::to_string(entry)?), raw.raw);
        } else if raw.raw {
            output::print(format_args!("{}\t{}", entry.key, entry.value), true);
        } else {
            println!("{}\t{}", line(&entry.key), entry.value);
        }
    }
    Ok(found)
}
