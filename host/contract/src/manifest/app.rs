//! `heddle.toml`: an app's log, registry, topics and components. Environment variables can override each value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{Field, Report, Section};
use super::deploy::{self, DeployPolicy};
use super::error::ManifestErrors;
use super::names::{fault_of_name, fault_of_topic};
use super::options::{client_options, options};
use super::overrides::{self, Keys};
use super::subjects::Wires;
use super::telemetry::{self, Telemetry};
use super::text;
use crate::wire::Wire;

const ROOT: &[&str] =
    &["app", "log", "registry", "topics", "admin", "commit", "workers", "state", "host", "deploy", "telemetry"];
const APP: &[&str] = &["name", "components", "data", "contracts"];
const LOG: &[&str] = &["kind", "bootstrap", "options"];
const REGISTRY: &[&str] = &["url", "username", "password", "ca", "timeout", "retries", "topic", "register"];
/// The settings that apply only to a registry with an address.
const REGISTRY_CLIENT: [&str; 5] = ["username", "password", "ca", "timeout", "retries"];
/// The topic in which all apps of a Kafka cluster keep their schemas.
const REGISTRY_TOPIC: &str = "heddle.registry";
const TOPIC: &[&str] = &["partitions", "replication", "options", "wire"];
const WIRES: [(&str, Wire); 4] =
    [("registry", Wire::Registry), ("header", Wire::Header), ("plain", Wire::Plain), ("auto", Wire::Auto)];
const ADMIN: &[&str] = &["listen", "advertise", "names", "token", "tls-certificate", "tls-key", "ca"];
const COMMIT: &[&str] = &["interval", "records"];
const WORKERS: &[&str] = &["count"];
const STATE: &[&str] = &["engine", "cache"];
const HOST: &[&str] = &["name"];

const KEYS: Keys = Keys {
    sections: &[
        ("app", APP),
        ("log", LOG),
        ("registry", REGISTRY),
        ("admin", ADMIN),
        ("commit", COMMIT),
        ("workers", WORKERS),
        ("state", STATE),
        ("host", HOST),
        ("deploy", deploy::KEYS),
        ("telemetry", telemetry::KEYS),
    ],
    named: ("topics", TOPIC),
    lists: &[("app", "components"), ("admin", "names")],
};

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(300);
/// A broker aborts a transaction that stays open longer.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30);

/// From about the least that an engine needs, to more than any machine has.
const CACHE: RangeInclusive<u64> = (1 << 20)..=(1 << 40);
const CACHE_BYTES: u64 = 64 << 20;

/// A checked `heddle.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The app's name.
    pub name: String,
    /// Globs of folders with a `component.toml`, or of `.wasm` files, relative to the app's folder.
    pub components: Vec<String>,
    /// The folder for everything that Heddle keeps on disk, relative to the app's folder.
    pub data: PathBuf,
    /// The folder of the schema files, relative to the app's folder.
    pub contracts: PathBuf,
    /// The log.
    pub log: Log,
    /// The schema registry; `None` for the embedded one.
    pub registry: Option<Registry>,
    /// The topic of the embedded registry, if the log is Kafka.
    pub registry_topic: String,
    /// The rule for registering the components' schemas when they start.
    pub register: Register,
    /// The topics to create if they do not exist, by name.
    pub topics: BTreeMap<String, Topic>,
    /// The admin API.
    pub admin: Admin,
    /// The conditions for a commit.
    pub commit: Commit,
    /// The threads that process records.
    pub workers: Workers,
    /// The copies of state on this host.
    pub state: State,
    /// The name of this host among those that run the same app. `None` for a generated name, kept in the data folder.
    pub host: Option<String>,
    /// The watch over newly deployed versions whose own manifest has none; `None` for no watch.
    pub deploy: Option<DeployPolicy>,
    /// Log lines and metrics.
    pub telemetry: Telemetry,
}

/// The log of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The embedded log, below the app's data folder.
    Embedded,
    /// Apache Kafka.
    Kafka(Kafka),
}

/// The connection to Apache Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port` of one or more brokers, separated by commas.
    pub bootstrap: String,
    /// Options for librdkafka, passed on unchanged.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for Kafka {
    /// Lists the names of the options without their values, because some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&String> = self.options.keys().collect();
        f.debug_struct("Kafka").field("bootstrap", &self.bootstrap).field("options", &options).finish()
    }
}

/// The connection to a schema registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Registry {
    /// Its address, `http` or `https`, without a slash at the end.
    pub url: String,
    /// The user for basic authentication.
    pub username: Option<String>,
    /// The password for basic authentication.
    pub password: Option<String>,
    /// The file of the authorities that may have signed its certificate, instead of the public ones, relative to the
    /// app's folder.
    pub ca: Option<PathBuf>,
    /// The maximum duration of one request.
    pub timeout: Duration,
    /// The number of retries of a request.
    pub retries_max: u32,
}

/// The rule by which hosts register the schemas of their components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Register {
    /// Register the schemas that the registry lacks.
    #[default]
    Auto,
    /// Register none. They must be registered already.
    Never,
}

impl fmt::Debug for Registry {
    /// Formats it without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("url", &self.url)
            .field("username", &self.username)
            .field("ca", &self.ca)
            .field("timeout", &self.timeout)
            .field("retries_max", &self.retries_max)
            .finish_non_exhaustive()
    }
}

/// A topic to create if it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The number of partitions, at least 1.
    pub partitions: i32,
    /// The number of replicas; `None` for the broker's default.
    pub replication: Option<i16>,
    /// Kafka's topic options.
    pub options: BTreeMap<String, String>,
    /// The way in which its records name the schemas that wrote them.
    pub wire: Wire,
}

/// The settings of the admin API.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address and port on which it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address that other hosts use, `<host>:<port>`; `None` for the address on which it listens.
    pub advertise: Option<String>,
    /// More host names that requests may use, `http://<name>`.
    pub names: Vec<String>,
    /// The token that every request needs, except health checks. With `None`, only processes on this machine may send
    /// requests.
    pub token: Option<String>,
    /// The files of the certificate and its key, relative to the app's folder; `None` for no TLS.
    pub tls: Option<AdminTls>,
    /// The file of the authorities that may have signed the certificates of hosts, instead of the public ones, relative
    /// to the app's folder.
    pub ca: Option<PathBuf>,
}

/// The identity of the admin API for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}

impl fmt::Debug for Admin {
    /// Formats it without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("names", &self.names)
            .field("tls", &self.tls)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// The address that other hosts use while it listens at `address`.
    #[must_use]
    pub fn advertised(&self, address: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| address.to_string())
    }
}

/// The conditions for a commit. The one that is met first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The time for which a transaction collects records.
    pub interval: Duration,
    /// The maximum number of records in a transaction.
    pub records_max: u32,
}

/// The threads that process records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// The number of threads for each component in this process.
    pub count: u32,
}

/// The copies of state on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The engine that stores them.
    pub engine: Engine,
    /// The maximum memory of the engine, in bytes.
    pub cache_bytes: u64,
}

/// The engine that stores the copies of state on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The crate sled.
    Sled,
    /// The crate fjall.
    Fjall,
    /// Nothing is on disk, and every start reads the whole changelogs.
    Memory,
}

impl App {
    /// Checks the text of a `heddle.toml`. `file` is its name in messages, and `overrides` has the environment
    /// variables that begin with `HEDDLE_`. A variable replaces the file's value, and an empty one counts as not set.
    ///
    /// # Errors
    /// All problems of the file and the variables.
    pub fn parse(text: &str, file: &str, overrides: &BTreeMap<String, String>) -> Result<Self, ManifestErrors> {
        let mut entries = text::parse(text, file)?;
        let report = Report::new(file);
        overrides::apply(&KEYS, overrides, &mut entries, &report);
        let app = Self::check(&Section::root(&report, &entries, ROOT));
        report.finish(app)
    }

    /// The wires of its topics.
    #[must_use]
    pub fn wires(&self) -> Wires {
        self.topics.iter().map(|(name, topic)| (name.clone(), topic.wire)).collect()
    }

    fn check(root: &Section<'_>) -> Self {
        root.required("app", "add an [app] section with `name = \"...\"`");
        let app = root.section("app", APP);
        let name = if app.exists() { app.required("name", "add `name = \"...\"`") } else { None };
        let folder = |key, default: &str| {
            app.field(key).and_then(|field| field.text()).map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        let components = app.field("components").map(|field| field.items());
        let schemas = root.section("registry", REGISTRY);
        Self {
            name: name.and_then(|field| field.checked("an app", fault_of_name)).unwrap_or_default(),
            components: match components {
                Some(globs) => globs.iter().filter_map(Field::text).collect(),
                None => vec!["components/*".to_owned()],
            },
            data: folder("data", ".heddle"),
            contracts: folder("contracts", "contracts"),
            log: log(&root.section("log", LOG)),
            registry: registry(&schemas),
            registry_topic: registry_topic(&schemas),
            register: register(&schemas),
            topics: root.named("topics").iter().map(|(name, field)| (name.clone(), topic(name, field))).collect(),
            admin: admin(&root.section("admin", ADMIN)),
            commit: commit(&root.section("commit", COMMIT)),
            workers: Workers { count: number(&root.section("workers", WORKERS), "count", 1..=256).unwrap_or(1) },
            state: state(&root.section("state", STATE)),
            deploy: deploy::policy(&root.section("deploy", deploy::KEYS)),
            telemetry: telemetry::telemetry(&root.section("telemetry", telemetry::KEYS)),
            host: root.section("host", HOST).field("name").and_then(|field| field.checked("a host", fault_of_name)),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Embedded,
    Kafka,
}

fn log(section: &Section<'_>) -> Log {
    let (kind, bootstrap, options) = (section.field("kind"), section.field("bootstrap"), section.field("options"));
    let word = kind.as_ref().and_then(|field| field.word(&[("embedded", Kind::Embedded), ("kafka", Kind::Kafka)]));
    if kind.is_some() && word.is_none() {
        return Log::Embedded;
    }
    if word == Some(Kind::Embedded) || (word.is_none() && bootstrap.is_none() && options.is_none()) {
        // `HEDDLE_LOG_KIND=embedded` runs an app without its broker, which the file may still name.
        let stray = bootstrap.or(options).filter(|_| !kind.as_ref().is_some_and(Field::is_override));
        if let Some(stray) = stray {
            stray.problem("the embedded log has no broker to connect to", "set `kind = \"kafka\"`, or remove this key");
        }
        return Log::Embedded;
    }
    let bootstrap = section.required("bootstrap", "add `bootstrap = \"<host>:<port>\"`, the address of a broker");
    Log::Kafka(Kafka {
        bootstrap: bootstrap.and_then(|field| brokers(&field)).unwrap_or_default(),
        options: options.map(|field| client_options(&field)).unwrap_or_default(),
    })
}

fn brokers(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let is_broker = |broker: &str| {
        let address = broker.split_once("://").map_or(broker, |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (address, "9092"),
        };
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok()
    };
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    if !brokers.iter().all(|broker| is_broker(broker)) {
        field.problem(
            &format!("`{text}` is not a list of brokers"),
            "write \"<host>:<port>\", several of them separated by commas",
        );
        return None;
    }
    Some(brokers.join(","))
}

fn registry(section: &Section<'_>) -> Option<Registry> {
    if !section.exists() {
        return None;
    }
    if section.field("url").is_none() && (section.field("topic").is_some() || section.field("register").is_some()) {
        for key in REGISTRY_CLIENT {
            if let Some(stray) = section.field(key) {
                stray.problem(
                    "the embedded registry has no address",
                    "add `url = \"http://<host>:<port>\"`, or remove this key",
                );
            }
        }
        return None;
    }
    let url =
        section.required("url", "add `url = \"http://<host>:<port>\"`, or remove the section for the embedded one");
    let username = section.field("username").and_then(|field| field.text());
    let password = section.field("password");
    if let (None, Some(password)) = (&username, &password) {
        password.problem("there is a password but no user", "add `username = \"...\"`");
    }
    let timeout = section.field("timeout").and_then(|field| field.duration(TIMEOUT));
    Some(Registry {
        url: url.and_then(|field| http_address(&field)).unwrap_or_default(),
        username,
        password: password.and_then(|field| field.text()),
        ca: section.field("ca").and_then(|field| field.text()).map(PathBuf::from),
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
        retries_max: number(section, "retries", 0..=100).unwrap_or(3),
    })
}

fn registry_topic(section: &Section<'_>) -> String {
    let topic = section.field("topic").and_then(|field| field.checked("a topic", fault_of_topic));
    topic.unwrap_or_else(|| REGISTRY_TOPIC.to_owned())
}

fn register(section: &Section<'_>) -> Register {
    let words = [("auto", Register::Auto), ("never", Register::Never)];
    section.field("register").and_then(|field| field.word(&words)).unwrap_or_default()
}

fn http_address(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let url = text.trim_end_matches('/');
    if url.strip_prefix("mock://").is_some_and(|scope| !scope.is_empty()) {
        return Some(url.to_owned());
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.contains('@') {
        field.problem("`url` holds a user or a password", "move them to `username` and `password`");
        return None;
    }
    if host.is_empty() || url.contains(char::is_whitespace) || url.contains(['?', '#']) {
        field.problem(&format!("`{text}` is not the address of a registry"), "write it like \"http://127.0.0.1:8081\"");
        return None;
    }
    Some(url.to_owned())
}

fn topic(name: &str, field: &Field<'_>) -> Topic {
    if let Some(hint) = fault_of_topic(name) {
        field.key_problem(&format!("`{name}` cannot name a topic"), hint);
    }
    let section = field.section(TOPIC);
    let replication = section.field("replication").and_then(|field| field.integer(1..=i64::from(i16::MAX)));
    Topic {
        partitions: number(&section, "partitions", 1..=100_000).unwrap_or(1),
        replication: replication.and_then(|copies| copies.try_into().ok()),
        options: section.field("options").map(|field| options(&field)).unwrap_or_default(),
        wire: section.field("wire").and_then(|field| field.word(&WIRES)).unwrap_or_default(),
    }
}

fn admin(section: &Section<'_>) -> Admin {
    let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7870);
    let listen = section.field("listen").and_then(|field| {
        let text = field.text()?;
        let address = text.parse().ok();
        if address.is_none() {
            field.problem(
                &format!("`{text}` is not an address to listen on"),
                "write an IP address and a port: \"127.0.0.1:7870\", \"0.0.0.0:7870\" or \"[::1]:7870\"",
            );
        }
        address
    });
    let advertise = section.field("advertise").and_then(|field| brokers(&field));
    let names = section.field("names").map(|field| field.items()).unwrap_or_default();
    let text = |key: &str| section.field(key).and_then(|field| field.text());
    Admin {
        listen: listen.unwrap_or(default),
        advertise,
        names: names.iter().filter_map(Field::text).collect(),
        token: text("token"),
        tls: admin_tls(section),
        ca: text("ca").map(PathBuf::from),
    }
}

fn admin_tls(section: &Section<'_>) -> Option<AdminTls> {
    let (certificate, key) = (section.field("tls-certificate"), section.field("tls-key"));
    if let (Some(alone), None) | (None, Some(alone)) = (&certificate, &key) {
        alone.problem("a certificate and its key belong together", "set both `tls-certificate` and `tls-key`");
        return None;
    }
    let path = |field: Option<Field<'_>>| field.and_then(|field| field.text()).map(PathBuf::from);
    Some(AdminTls { certificate: path(certificate)?, key: path(key)? })
}

fn commit(section: &Section<'_>) -> Commit {
    let interval = section.field("interval").and_then(|field| field.duration(INTERVAL));
    Commit {
        interval: interval.unwrap_or(Duration::from_millis(100)),
        records_max: number(section, "records", 1..=1_000_000).unwrap_or(10_000),
    }
}

fn state(section: &Section<'_>) -> State {
    let words = [("sled", Engine::Sled), ("fjall", Engine::Fjall), ("memory", Engine::Memory)];
    let engine = section.field("engine").and_then(|field| field.word(&words));
    let cache = section.field("cache").and_then(|field| field.size(CACHE));
    State { engine: engine.unwrap_or(Engine::Sled), cache_bytes: cache.unwrap_or(CACHE_BYTES) }
}

fn number<T: TryFrom<i64>>(section: &Section<'_>, key: &str, bounds: RangeInclusive<i64>) -> Option<T> {
    section.field(key).and_then(|field| field.integer(bounds)).and_then(|number| number.try_into().ok())
}
