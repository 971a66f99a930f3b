//! `component.toml`: the topics, stores and tables of a component, its limits, and its failure policy.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, UNIX_EPOCH};

use super::check::{Field, Report, Section};
use super::deploy::{self, DeployPolicy};
use super::error::ManifestErrors;
use super::failure::{self, Failure};
pub use super::limits::Limits;
use super::limits::{LIMITS, limits};
use super::names::{fault_of_name, fault_of_schema, fault_of_topic, fault_of_wit_name, is_identifier};
use super::subjects::{SUBJECTS, UNKNOWN_TYPES, format, message, same_types, types};
pub use super::subjects::{SubjectNames, UnknownType, ValueFormat, Wires};
use super::tables::{TableSpec, tables};
use super::text;

const ROOT: &[&str] = &["component", "consumes", "emits", "stores", "tables", "limits", "failure", "deploy", "rename"];
const COMPONENT: &[&str] = &["name", "language", "build", "group"];
const CONSUMES: &[&str] =
    &["id", "dedup", "key", "start", "on-loss", "tombstones", "format", "message", "subject", "types", "unknown-type"];
const EMITS: &[&str] = &["cloudevents", "key", "format", "message", "subject", "types"];
const STORE: &[&str] = &["value", "key", "changelog"];
/// The last parts of the names of a component's internal topics that are not changelogs of stores.
const RESERVED: [&str; 4] = ["dedup", "dlq", "retry", "waiting"];

const ON_LOSS: [(&str, OnLoss); 2] = [("continue", OnLoss::Continue), ("stop", OnLoss::Stop)];

const TOMBSTONES: [(&str, Tombstones); 3] =
    [("handle", Tombstones::Handle), ("skip", Tombstones::Skip), ("dead-letter", Tombstones::DeadLetter)];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DEDUP: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY.saturating_mul(366);
const DEDUP_DEFAULT: Duration = DAY.saturating_mul(7);

/// A checked `component.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The component's name within its app.
    pub name: String,
    /// The consumer group, if it is not the default: see [`Manifest::group`].
    pub group: Option<String>,
    /// The build of its `.wasm` file.
    pub build: Build,
    /// The topics that it consumes; at least one.
    pub consumes: BTreeMap<String, Consumes>,
    /// The topics to which it may emit.
    pub emits: BTreeMap<String, Emits>,
    /// Its stores, by name.
    pub stores: BTreeMap<String, StoreSpec>,
    /// Its tables, by name.
    pub tables: BTreeMap<String, TableSpec>,
    /// The limits of one delivery.
    pub limits: Limits,
    /// The failure policy.
    pub failure: Failure,
    /// The watch over newly deployed versions. `None` if the file does not have it, so that the app's setting applies.
    pub deploy: Option<DeployPolicy>,
    /// The names of types, fields and topics in the component's code, by their keys: see [`Names`](crate::wit::Names).
    pub rename: BTreeMap<String, String>,
    /// The wires of topics, which the app sets and this file does not have: see [`Manifest::wire`].
    pub wires: Wires,
}

/// The build of a component's `.wasm` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Build {
    /// From Rust.
    Rust,
    /// From JavaScript or TypeScript.
    JavaScript,
    /// From Python.
    Python,
    /// From Go.
    Go,
    /// By a command of the user, which writes the file.
    Command(String),
}

/// The settings for one consumed topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumes {
    /// The place of the message id; `None` for no dedup beyond offsets.
    pub id: Option<IdSource>,
    /// The time for which an id is remembered. Present whenever `id` is; 7 days by default.
    pub dedup: Option<Duration>,
    /// The type of the keys. `None` for the type in the `-key` subject, or strings without one.
    pub key: Option<KeyType>,
    /// The start position of a group without a committed position in a partition.
    pub start: StartAt,
    /// The reaction to records that were deleted before they were read.
    pub on_loss: OnLoss,
    /// The treatment of records without a value.
    pub tombstones: Tombstones,
    /// The naming of the subjects of its values.
    pub subject: SubjectNames,
    /// The types of its values, by name. If empty, the topic's file has the schema.
    pub types: Vec<String>,
    /// The message type of its values, if it is not the first one in the topic's file.
    pub message: Option<String>,
    /// The form in which the handler gets its values.
    pub format: ValueFormat,
    /// The treatment of values of a type that the component does not name. With `None`, the default applies, and the
    /// component does not start while the registry has a type that it does not name.
    pub unknown_type: Option<UnknownType>,
}

/// The start position of a group without a committed position in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// The first record that still exists.
    #[default]
    Beginning,
    /// The end. Only later records are consumed.
    End,
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Time(i64),
}

/// The reaction to records that were deleted before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// The loss is reported and counted, and the next record that exists is consumed.
    #[default]
    Continue,
    /// The host stops.
    Stop,
}

/// The treatment of records without a value. These are tombstones, which delete their key in a compacted topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tombstones {
    /// The handler gets them. Its value is an option.
    Handle,
    /// They are skipped, without effects.
    Skip,
    /// They are dead-lettered.
    #[default]
    DeadLetter,
}

/// The place of the message id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdSource {
    /// A field of the value: the names of the fields from the outermost inwards, at least one.
    Value(Vec<String>),
    /// The header of this name.
    Header(String),
}

/// The type of a topic's or store's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Raw bytes.
    Bytes,
    /// UTF-8 text.
    String,
    /// A value of this schema.
    Schema(String),
}

/// The settings for one topic to which a component emits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emits {
    /// True if records have the full CloudEvents headers.
    pub cloudevents: bool,
    /// The type of the keys. `None` for the type in the `-key` subject, or strings without one.
    pub key: Option<KeyType>,
    /// The naming of the subjects of its values.
    pub subject: SubjectNames,
    /// The types of its values, by name. If empty, the topic's file has the schema.
    pub types: Vec<String>,
    /// The message type of its values, if it is not the first one in the topic's file.
    pub message: Option<String>,
    /// The form in which the handler passes its values.
    pub format: ValueFormat,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// The schema of its values.
    pub value: String,
    /// The type of its keys; `None` for strings.
    pub key: Option<KeyType>,
    /// The changelog, if it is not the default: see [`Manifest::changelog`].
    pub changelog: Option<String>,
}

impl Manifest {
    /// Checks the text of a `component.toml`. `file` is its name in messages.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn parse(text: &str, file: &str) -> Result<Self, ManifestErrors> {
        let entries = text::parse(text, file)?;
        let report = Report::new(file);
        let manifest = Self::check(&Section::root(&report, &entries, ROOT));
        report.finish(manifest)
    }

    fn check(root: &Section<'_>) -> Self {
        root.required("component", "add a [component] section with `name` and `language`");
        let component = root.section("component", COMPONENT);
        let name = match component.exists() {
            true => component.required("name", "add `name = \"...\"`"),
            false => None,
        };
        let consumes = consumes(root);
        let group = component.field("group").and_then(|field| field.text());
        let emits = topics(root, "emits", emits);
        same_types(root, &consumes, &emits);
        Self {
            group,
            name: name.and_then(|name| name.checked("a component", fault_of_name)).unwrap_or_default(),
            build: build(&component),
            stores: stores(root),
            tables: tables(root, &consumes, &emits),
            emits,
            limits: limits(&root.section("limits", LIMITS)),
            failure: failure::check(&root.section("failure", failure::KEYS), &consumes),
            deploy: deploy::policy(&root.section("deploy", deploy::KEYS)),
            rename: rename(root),
            wires: Wires::new(),
            consumes,
        }
    }

    /// The component's full name, `<app>.<component>`.
    #[must_use]
    pub fn full_name(&self, app: &str) -> String {
        format!("{app}.{}", self.name)
    }

    /// The consumer group: that of the manifest, or the full name.
    #[must_use]
    pub fn group(&self, app: &str) -> String {
        self.group.clone().unwrap_or_else(|| self.full_name(app))
    }

    /// The dead-letter topic: that of the manifest, or `<app>.<component>.dlq`.
    #[must_use]
    pub fn dead_letter(&self, app: &str) -> String {
        self.failure.dead_letter.clone().unwrap_or_else(|| format!("{}.dlq", self.full_name(app)))
    }

    /// The topic for records that are parked for `delay`: `<app>.<component>.retry.<delay>`.
    #[must_use]
    pub fn retry_topic(&self, app: &str, delay: Duration) -> String {
        let (prefix, ms) = (self.retry_topics(app), delay.as_millis());
        if ms % 1_000 == 0 { format!("{prefix}{}s", ms / 1_000) } else { format!("{prefix}{ms}ms") }
    }

    /// The prefix of the names of all its retry topics.
    #[must_use]
    pub fn retry_topics(&self, app: &str) -> String {
        format!("{}.retry.", self.full_name(app))
    }

    /// The changelog of records that are parked in the tasks' state, `<app>.<component>.waiting`.
    #[must_use]
    pub fn waiting_changelog(&self, app: &str) -> String {
        format!("{}.waiting", self.full_name(app))
    }

    /// The changelog of message ids, `<app>.<component>.dedup`; `None` if no consumed topic has dedup.
    #[must_use]
    pub fn dedup_changelog(&self, app: &str) -> Option<String> {
        let dedups = self.consumes.values().any(|consumes| consumes.dedup.is_some());
        dedups.then(|| format!("{}.dedup", self.full_name(app)))
    }

    /// The changelog of `store`: that of the manifest, or `<app>.<component>.<store>`.
    #[must_use]
    pub fn changelog(&self, app: &str, store: &str) -> String {
        let named = self.stores.get(store).and_then(|spec| spec.changelog.clone());
        named.unwrap_or_else(|| format!("{}.{store}", self.full_name(app)))
    }
}

fn build(component: &Section<'_>) -> Build {
    let languages =
        [("rust", Build::Rust), ("javascript", Build::JavaScript), ("python", Build::Python), ("go", Build::Go)];
    let (language, command) = (component.field("language"), component.field("build"));
    match (&language, &command) {
        (Some(_), Some(command)) => command.problem(
            "`language` and `build` exclude each other",
            "keep `language`, or keep `build` for a custom build",
        ),
        (None, None) if component.exists() => component.problem(
            "the component has no build",
            "add `language = \"rust\"` (or javascript, python, go) or `build = \"<command>\"`",
        ),
        _ => {}
    }
    let language = language.and_then(|field| field.word(&languages));
    let command = command.and_then(|field| field.text()).map(Build::Command);
    language.or(command).unwrap_or(Build::Rust)
}

fn consumes(root: &Section<'_>) -> BTreeMap<String, Consumes> {
    const HINT: &str = "add a [consumes.\"<topic>\"] section: a component runs when a record arrives";
    let consumes = topics(root, "consumes", |field| {
        let section = field.section(CONSUMES);
        let id = section.field("id");
        let dedup = section.field("dedup");
        if let (None, Some(dedup)) = (&id, &dedup) {
            dedup.problem("`dedup` needs to know the id", "add `id = \"value:<field>\"` or `id = \"header:<name>\"`");
        }
        let window = dedup.and_then(|field| field.duration(DEDUP)).unwrap_or(DEDUP_DEFAULT);
        let id = id.and_then(|field| id_source(&field));
        Consumes {
            dedup: id.is_some().then_some(window),
            id,
            key: key_type(&section),
            start: section.field("start").and_then(|field| start_at(&field)).unwrap_or_default(),
            on_loss: section.field("on-loss").and_then(|field| field.word(&ON_LOSS)).unwrap_or_default(),
            tombstones: section.field("tombstones").and_then(|field| field.word(&TOMBSTONES)).unwrap_or_default(),
            subject: section.field("subject").and_then(|field| field.word(&SUBJECTS)).unwrap_or_default(),
            types: types(&section),
            message: message(&section),
            format: format(&section),
            unknown_type: section.field("unknown-type").and_then(|field| field.word(&UNKNOWN_TYPES)),
        }
    });
    match root.required("consumes", HINT) {
        Some(field) if consumes.is_empty() && field.is_empty_table() => {
            field.key_problem("the component consumes nothing", HINT);
        }
        _ => {}
    }
    consumes
}

fn start_at(field: &Field<'_>) -> Option<StartAt> {
    let text = field.text()?;
    match text.as_str() {
        "beginning" => return Some(StartAt::Beginning),
        "end" => return Some(StartAt::End),
        _ => {}
    }
    let time = humantime::parse_rfc3339(&text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let start = time.and_then(|time| i64::try_from(time.as_millis()).ok()).map(StartAt::Time);
    if start.is_none() {
        field.problem(
            &format!("`{text}` does not say where to start"),
            "write \"beginning\", \"end\" or a time such as \"2026-03-01T12:00:00Z\"",
        );
    }
    start
}

fn id_source(field: &Field<'_>) -> Option<IdSource> {
    let text = field.text()?;
    let source = match text.split_once(':') {
        Some(("value", path)) if path.split('.').all(is_identifier) => {
            Some(IdSource::Value(path.split('.').map(str::to_owned).collect()))
        }
        Some(("header", name)) if !name.is_empty() => Some(IdSource::Header(name.to_owned())),
        _ => None,
    };
    if source.is_none() {
        field.problem(
            &format!("`{text}` does not say where the id is"),
            "write \"value:orderId\", \"value:order.id\" for a field of a field, or \"header:ce_id\"",
        );
    }
    source
}

pub(super) fn key_type(section: &Section<'_>) -> Option<KeyType> {
    let name = section.field("key")?.checked("a schema", fault_of_schema)?;
    Some(match name.as_str() {
        "bytes" => KeyType::Bytes,
        "string" => KeyType::String,
        _ => KeyType::Schema(name),
    })
}

fn emits(field: &Field<'_>) -> Emits {
    let section = field.section(EMITS);
    let cloudevents = section.field("cloudevents").and_then(|field| field.boolean()).unwrap_or_default();
    let subject = section.field("subject").and_then(|field| field.word(&SUBJECTS)).unwrap_or_default();
    let (types, message, format) = (types(&section), message(&section), format(&section));
    Emits { cloudevents, key: key_type(&section), subject, types, message, format }
}

fn topics<T>(root: &Section<'_>, key: &str, check: impl Fn(&Field<'_>) -> T) -> BTreeMap<String, T> {
    let mut topics = BTreeMap::new();
    for (topic, field) in root.named(key) {
        if let Some(hint) = fault_of_topic(&topic) {
            field.key_problem(&format!("`{topic}` cannot name a topic"), hint);
        }
        topics.insert(topic, check(&field));
    }
    topics
}

fn stores(root: &Section<'_>) -> BTreeMap<String, StoreSpec> {
    let mut changelogs = BTreeSet::new();
    let mut stores = BTreeMap::new();
    for (name, field) in root.named("stores") {
        if let Some(hint) = fault_of_name(&name) {
            field.key_problem(&format!("`{name}` cannot name a store"), hint);
        }
        if RESERVED.contains(&name.as_str()) {
            let what = format!("`{name}` cannot name a store: Heddle has a topic of that name for every component");
            field.key_problem(&what, "give the store another name");
        }
        let section = field.section(STORE);
        let value = section.required("value", "add `value = \"<schema>\"`, the name of a type in contracts/");
        let changelog = section.field("changelog");
        let topic = changelog.as_ref().and_then(|field| field.checked("a topic", fault_of_topic));
        if let (Some(field), Some(topic)) = (&changelog, &topic)
            && !changelogs.insert(topic.clone())
        {
            field.problem(&format!("`{topic}` is the changelog of two stores"), "give each store a separate topic");
        }
        let value = value.and_then(|field| field.checked("a schema", fault_of_schema)).unwrap_or_default();
        stores.insert(name, StoreSpec { value, key: key_type(&section), changelog: topic });
    }
    stores
}

fn rename(root: &Section<'_>) -> BTreeMap<String, String> {
    let name = |(key, field): (String, Field<'_>)| Some((key, field.checked("a type or field", fault_of_wit_name)?));
    root.named("rename").into_iter().filter_map(name).collect()
}
