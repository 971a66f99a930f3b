//! The order platform in a temporary folder, with its component as a file.

use crate::support::build;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use heddle::admin::Remote;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::log::kafka::KafkaLog;
use heddle::log::{Log, Start, read_whole};
use heddle::registry::{Client, ClientOptions, Registry};
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_contract::wire;
use heddle_core::event::{NewRecord, Record};
use heddle_fixtures::group::Protocol;
use serde_json::{Value, json};

pub(crate) const INPUT: &str = "orders.created";
pub(crate) const OUTPUT: &str = "orders.status";

pub(crate) fn example() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/order-platform")
}

/// The component of the order platform, built once.
pub(crate) fn ledger() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| build::component("examples/order-platform", "ledger"))
}

/// The app: its folder and the state that its hosts share.
pub(crate) struct Platform {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) bootstrap: Option<String>,
    pub(crate) registry: Option<String>,
    /// Additional environment variables of all commands.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Of the consumer groups on Kafka.
    pub(crate) protocol: Protocol,
}

impl Platform {
    /// Creates the platform on the embedded log. It has one partition, so that the order of all records is known.
    pub(crate) fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = r#"
            [app]
            name = "shop"
            components = ["ledger.wasm"]
            contracts = "contracts"
            [topics."orders.created"]
            partitions = 1
            [topics."orders.status"]
            partitions = 1
            [topics."customers.tier"]
            partitions = 1
        "#;
        std::fs::write(folder.path().join("heddle.toml"), settings).unwrap();
        std::fs::write(folder.path().join("ledger.wasm"), ledger()).unwrap();
        Self { folder, bootstrap: None, registry: None, variables: vec![], protocol: Protocol::chosen() }
    }

    pub(crate) fn kafka(bootstrap: String) -> Self {
        Self { bootstrap: Some(bootstrap), ..Self::embedded() }
    }

    pub(crate) fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((variable, value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command with the data folder of host `number`.
    pub(crate) fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(arguments).arg("--app").arg(self.folder.path()).env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("HEDDLE_APP_DATA", self.data(number));
        for (variable, value) in &self.variables {
            command.env(variable, value);
        }
        if let Some(bootstrap) = &self.bootstrap {
            command.env("HEDDLE_LOG_BOOTSTRAP", bootstrap).envs([self.protocol.variable()]);
        }
        if let Some(registry) = &self.registry {
            command.env("HEDDLE_REGISTRY_URL", registry);
        }
        command
    }

    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.path(&format!("data-{number}"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(0, arguments).output().unwrap()
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error output of a command that must fail.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Writes a version's file. Returns its path.
    pub(crate) fn version(&self, name: &str, wasm: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, wasm).unwrap();
        path.display().to_string()
    }

    /// The host's status of the component.
    pub(crate) fn status(&self, number: usize) -> Value {
        let output = self.command(number, &["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The token that the host requires for changes.
    fn token(&self) -> Option<String> {
        self.variables.iter().find(|(name, _)| *name == "HEDDLE_ADMIN_TOKEN").map(|(_, token)| token.clone())
    }

    /// The log: from Kafka, through the running host, or opened here if there is no host.
    pub(crate) fn log(&self) -> Box<dyn Log> {
        if let Some(bootstrap) = &self.bootstrap {
            return Box::new(KafkaLog::connect(bootstrap, &BTreeMap::new()).unwrap());
        }
        match std::fs::read_to_string(self.data(0).join("admin-address")) {
            Ok(address) => Box::new(Remote::find(&address).unwrap().with_token(self.token())),
            Err(_) => Box::new(EmbeddedLog::open(&self.data(0).join("log"), EmbeddedOptions::default()).unwrap()),
        }
    }

    /// The registry, through the running host.
    pub(crate) fn registry(&self) -> Client {
        let own =
            || format!("http://{}/registry", std::fs::read_to_string(self.data(0).join("admin-address")).unwrap());
        let url = self.registry.clone().unwrap_or_else(own);
        let user = self.token().map(|token| ("anybody".to_owned(), token));
        let timeout = std::time::Duration::from_secs(10);
        Client::new(ClientOptions { url, user, timeout, retries_max: 0, ..ClientOptions::default() })
    }
}

/// Encodes orders.
pub(crate) struct Orders {
    schema: Schema,
    head: Vec<u8>,
}

pub(crate) const CUSTOMERS: usize = 20;

impl Orders {
    pub(crate) fn new(registry: &dyn Registry) -> Self {
        let text = std::fs::read_to_string(example().join("contracts/orders.created-value.avsc")).unwrap();
        let id = registry.register("orders.created-value", &text).unwrap();
        Self { schema: parse("order", &text).unwrap(), head: [[0].as_slice(), &id.0.to_be_bytes()].concat() }
    }

    /// The order number `n`. The ledger rejects one without items.
    pub(crate) fn order(&self, n: usize, items: bool) -> NewRecord {
        let customer = format!("C-{:02}", n % CUSTOMERS);
        let items = if items { json!([{"productId": "P", "quantity": 1, "price": 1.0}]) } else { json!([]) };
        let order = json!({"orderId": format!("O-{n:06}"), "customerId": customer, "orderDate": 0, "totalAmount": 1.0, "items": items});
        let mut value = self.head.clone();
        json::encode(&self.schema, &order, &mut value).unwrap();
        let key = Some(customer.into());
        NewRecord {
            topic: INPUT.into(),
            partition: None,
            timestamp: None,
            key,
            value: Some(value.into()),
            headers: vec![],
        }
    }
}

/// The bookings in output order: the order, the customer, and the customer's number of orders.
pub(crate) fn bookings(log: &dyn Log) -> Vec<(String, String, i64)> {
    let text = std::fs::read_to_string(example().join("contracts/orders.status-value.avsc")).unwrap();
    let schema = parse("status", &text).unwrap();
    let mut found = vec![];
    read_whole(log, OUTPUT, Start::Beginning, |record: Record| {
        let value = record.value.unwrap();
        let status = json::decode(&schema, wire::split(&value).unwrap().1).unwrap();
        let text = |name: &str| status[name].as_str().unwrap().to_owned();
        found.push((text("orderId"), text("customerId"), status["ordersOfCustomer"].as_i64().unwrap()));
        true
    })
    .unwrap();
    found
}

/// Checks that each order came out once and in order, and that every customer's count is continuous.
pub(crate) fn check_bookings(found: &[(String, String, i64)], orders: usize) {
    let mut counts = BTreeMap::<&str, i64>::new();
    for (n, (order, customer, count)) in found.iter().enumerate() {
        assert_eq!(*order, format!("O-{n:06}"), "booking {n} of {orders}");
        let before = counts.entry(customer).or_default();
        assert_eq!(*count, *before + 1, "{order} of {customer}");
        *before = *count;
    }
    assert_eq!(found.len(), orders);
}

/// Removes digests, which depend on the machine that built the component.
pub(crate) fn without_digests(text: &str) -> String {
    let is_digest = |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let word = |word: &str| {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_digest(bare) { word.replace(bare, "DIGEST") } else { word.to_owned() }
    };
    words.map(word).collect()
}
