//! Environment variables that override values in `heddle.toml`.
//!
//! The name of a variable is `HEDDLE_` and the key's path in upper case. Every character that is not a letter or a
//! digit becomes `_`.
//!
//! ```text
//!  log.bootstrap                      HEDDLE_LOG_BOOTSTRAP
//!  log.options."security.protocol"    HEDDLE_LOG_OPTIONS_SECURITY_PROTOCOL
//!  topics."orders.created".partitions HEDDLE_TOPICS_ORDERS_CREATED_PARTITIONS
//! ```
//!
//! The path of a variable is not unique. So a variable can name a topic only if the file has it. An option that the
//! file does not have is converted to lower case with dots, as in Kafka's options.

use std::collections::BTreeMap;

use super::check::Report;
use super::error::Source;
use super::kubernetes;
use super::names::nearest;
use super::text::{self, Entries, Node, Value};

/// The prefix of all variables of Heddle.
const PREFIX: &str = "HEDDLE_";
/// Variables with another purpose: the cache folder of tools and compiled code, the log level of the host, and the
/// maximum size of a `.wasm` file.
const RESERVED: [&str; 3] = ["HEDDLE_CACHE", "HEDDLE_TRACE", "HEDDLE_WASM_BYTES_MAX"];
/// The prefix of variables that only the project's own tests read.
const RESERVED_PREFIX: &str = "HEDDLE_TEST_";
/// The key of a table whose keys the user chooses.
const OPTIONS: &str = "options";

/// The keys of a file that variables can name.
pub(super) struct Keys {
    /// The sections and their keys.
    pub(super) sections: &'static [(&'static str, &'static [&'static str])],
    /// The section that has sections named by the user, and the keys of each of them.
    pub(super) named: (&'static str, &'static [&'static str]),
    /// The section and key of values that are lists. In a variable, commas separate the items.
    pub(super) lists: &'static [(&'static str, &'static str)],
}

/// Sets the values of `variables` in `entries`. An empty variable counts as not set.
pub(super) fn apply(keys: &Keys, variables: &BTreeMap<String, String>, entries: &mut Entries, report: &Report<'_>) {
    for (variable, value) in variables.iter().filter(|(name, value)| !is_foreign(name, value) && !value.is_empty()) {
        let mut paths = keys.paths(variable, entries);
        match (paths.pop(), paths.pop()) {
            (Some(path), None) => put(entries, &path, &keys.node(variable, value, &path)),
            (Some(one), Some(other)) => {
                let what = format!("`{variable}` could mean `{}` and `{}`", text::path(&other), text::path(&one));
                report.add(&what, Source::Variable(variable.clone()), &[], "set the value in the file instead");
            }
            (None, _) => unknown(keys, variable, entries, report),
        }
    }
}

fn is_foreign(variable: &str, value: &str) -> bool {
    !variable.starts_with(PREFIX)
        || variable.starts_with(RESERVED_PREFIX)
        || RESERVED.contains(&variable)
        || kubernetes::sets(variable, value)
}

impl Keys {
    /// The paths that `variable` may mean.
    fn paths(&self, variable: &str, entries: &Entries) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (path, keys) in self.tables(entries) {
            let Some(rest) = variable.strip_prefix(&format!("{}_", squash(&path))) else { continue };
            let join = |key: &str| -> Vec<String> { path.iter().cloned().chain([key.to_owned()]).collect() };
            let plain = keys.iter().filter(|key| **key != OPTIONS);
            paths.extend(plain.filter(|key| upper(key) == rest).map(|key| join(key)));
            let option = rest.strip_prefix("OPTIONS_").filter(|option| !option.is_empty() && keys.contains(&OPTIONS));
            if let Some(option) = option {
                let mut path = join(OPTIONS);
                path.push(option_name(entries, &path, option));
                paths.push(path);
            }
        }
        paths
    }

    /// All tables with fixed keys, by their paths.
    fn tables(&self, entries: &Entries) -> Vec<(Vec<String>, &'static [&'static str])> {
        let (section, keys) = self.named;
        let names = below(entries, &[section.to_owned()]).into_iter().flat_map(BTreeMap::keys);
        let named = names.map(|name| (vec![section.to_owned(), name.clone()], keys));
        let fixed = self.sections.iter().map(|(section, keys)| (vec![(*section).to_owned()], *keys));
        fixed.chain(named).collect()
    }

    fn node(&self, variable: &str, value: &str, path: &[String]) -> Node {
        let source = Source::Variable(variable.to_owned());
        let node = |value| Node { key_at: source.clone(), at: source.clone(), value };
        let is_list = self.lists.iter().any(|(section, key)| path == [*section, *key]);
        if is_list {
            let items = value.split(',').map(|item| node(Value::Text(item.trim().to_owned())));
            node(Value::List(items.collect()))
        } else {
            node(Value::Text(value.to_owned()))
        }
    }
}

/// The spelling of an option: that of the file, or lower case with dots.
fn option_name(entries: &Entries, table: &[String], option: &str) -> String {
    let known = below(entries, table).and_then(|options| options.keys().find(|key| upper(key) == option));
    known.cloned().unwrap_or_else(|| option.to_lowercase().replace('_', "."))
}

/// The table at `path`, if there is one.
fn below<'e>(entries: &'e Entries, path: &[String]) -> Option<&'e Entries> {
    path.iter().try_fold(entries, |entries, key| match &entries.get(key)?.value {
        Value::Table(entries) => Some(entries),
        _ => None,
    })
}

/// Sets `node` at `path`. A value that is not a table on the way is reported when it is read.
fn put(entries: &mut Entries, path: &[String], node: &Node) {
    match path {
        [] => {}
        [key] => {
            entries.insert(key.clone(), node.clone());
        }
        [key, rest @ ..] => {
            let empty = || Node { value: Value::Table(Entries::new()), ..node.clone() };
            if let Value::Table(entries) = &mut entries.entry(key.clone()).or_insert_with(empty).value {
                put(entries, rest, node);
            }
        }
    }
}

fn unknown(keys: &Keys, variable: &str, entries: &Entries, report: &Report<'_>) {
    let tables = keys.tables(entries);
    let plain = |keys: &'static [&'static str]| keys.iter().filter(|key| **key != OPTIONS);
    let names: Vec<String> = tables
        .iter()
        .flat_map(|(path, keys)| plain(keys).map(move |key| format!("{}_{}", squash(path), upper(key))))
        .collect();
    let is_topic = variable.starts_with(&format!("{PREFIX}{}_", upper(keys.named.0)));
    let hint = match nearest(variable, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if is_topic => {
            "give the topic a [topics.\"...\"] section: a variable can only change a topic that the file has".to_owned()
        }
        None => "unset it; a variable is named `HEDDLE_<SECTION>_<KEY>` after a key of heddle.toml".to_owned(),
    };
    report.add(&format!("`{variable}` names no known key"), Source::Variable(variable.to_owned()), &[], &hint);
}

/// The variable for a path.
fn squash(path: &[String]) -> String {
    format!("{PREFIX}{}", path.iter().map(|part| upper(part)).collect::<Vec<_>>().join("_"))
}

fn upper(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
