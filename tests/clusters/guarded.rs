//! A broker that authorizes a user only for granted operations.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use heddle_fixtures::kafka::Kafka;

const USER: &str = "shop";
const PASSWORD: &str = "a-secret";

/// A right, as written in docs/rights.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// `Topic`, `Group` or `TransactionalId`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) is_prefix: bool,
    pub(crate) operation: String,
}

/// A broker with two listeners: [`Kafka::bootstrap`] allows everything, and [`Guarded::users`] only what the user was
/// granted.
pub(crate) struct Guarded {
    pub(crate) broker: Kafka,
    users: u16,
    acls: Mutex<Acls>,
}

struct Acls {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Guarded {
    /// Starts a broker with additional server properties.
    pub(crate) fn start(more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let users = listener.local_addr().unwrap().port();
        drop(listener);
        let broker = Kafka::start_with_properties(|port, controller| {
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},USERS://127.0.0.1:{users}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},USERS://127.0.0.1:{users}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
listener.name.users.sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
{more}"
            )
        });
        let acls = Mutex::new(Acls::start(&broker));
        Self { broker, users, acls }
    }

    /// The bootstrap server for the user.
    pub(crate) fn users(&self) -> String {
        format!("127.0.0.1:{}", self.users)
    }

    /// Makes the command connect as the user.
    pub(crate) fn as_user<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("HEDDLE_LOG_BOOTSTRAP", self.users())
            .env("HEDDLE_LOG_OPTIONS_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
            .env("HEDDLE_LOG_OPTIONS_SASL_MECHANISM", "PLAIN")
            .env("HEDDLE_LOG_OPTIONS_SASL_USERNAME", USER)
            .env("HEDDLE_LOG_OPTIONS_SASL_PASSWORD", PASSWORD)
    }

    pub(crate) fn grant(&self, right: &Granted) {
        self.acls.lock().unwrap().tell("+", right);
    }

    pub(crate) fn revoke(&self, right: &Granted) {
        self.acls.lock().unwrap().tell("-", right);
    }
}

impl Acls {
    fn start(broker: &Kafka) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/java/Acls.java");
        let mut child = Command::new("java")
            .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(broker.jars().join("*"))
            .arg(source)
            .args([broker.bootstrap(), USER.to_owned()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn tell(&mut self, sign: &str, right: &Granted) {
        let Granted { kind, name, is_prefix, operation } = right;
        let pattern = if *is_prefix { "PREFIXED" } else { "LITERAL" };
        writeln!(self.input.as_mut().unwrap(), "{sign} {kind} {pattern} {name} {operation}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "ok", "{sign} {right:?}");
    }
}

impl Drop for Acls {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.child.wait();
    }
}
