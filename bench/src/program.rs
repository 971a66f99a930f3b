//! The programs, and how to start them.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::broker;
use crate::measure::Process;
use crate::orders::PARTITIONS;
use crate::session::Session;

/// The program that runs the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Program {
    /// Heddle with a component in Rust, as a user runs it.
    Heddle,
    /// The same with a component in JavaScript.
    #[value(name = "heddle-javascript")]
    HeddleJavaScript,
    /// The same with a component in Python.
    HeddlePython,
    /// Kafka Streams, exactly once v2, RocksDB.
    KafkaStreams,
    /// A loop over librdkafka in Rust: no sandbox, state in a hash map, a changelog record for each key and each id.
    Native,
    /// The same with the ids of a transaction in one changelog record.
    NativePacked,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heddle => "Heddle",
            Self::HeddleJavaScript => "Heddle, JavaScript",
            Self::HeddlePython => "Heddle, Python",
            Self::KafkaStreams => "Kafka Streams",
            Self::Native => "native loop",
            Self::NativePacked => "native loop, ids packed",
        })
    }
}

impl Program {
    /// The folder of the app, for programs that Heddle runs.
    pub(crate) fn app(self) -> Option<PathBuf> {
        let folder = match self {
            Self::Heddle => "app",
            Self::HeddleJavaScript => "app-javascript",
            Self::HeddlePython => "app-python",
            Self::KafkaStreams | Self::Native | Self::NativePacked => return None,
        };
        Some(home().join(folder))
    }
}

/// One run of a program: its name and its commit interval.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) program: Program,
    /// The name of the app, application id or group. It is unique for each run, so that each begins without state.
    pub(crate) name: String,
    pub(crate) interval_ms: u64,
}

impl Run {
    /// The consumer group.
    pub(crate) fn group(&self) -> String {
        match self.program {
            Program::Heddle | Program::HeddleJavaScript | Program::HeddlePython => self.group_of("ledger"),
            Program::KafkaStreams | Program::Native | Program::NativePacked => self.name.clone(),
        }
    }

    /// The consumer group of a component.
    pub(crate) fn group_of(&self, component: &str) -> String {
        format!("{}.{component}", self.name)
    }

    /// The changelog of the accounts.
    pub(crate) fn changelog(&self) -> String {
        match self.program {
            Program::Heddle | Program::HeddleJavaScript | Program::HeddlePython => format!("{}.accounts", self.group()),
            Program::KafkaStreams => format!("{}-accounts-changelog", self.name),
            Program::Native | Program::NativePacked => format!("{}.accounts", self.name),
        }
    }

    /// Starts the process. If it ran before, it finds its state.
    pub(crate) fn start(&self, session: &Session) -> Result<Process> {
        self.spawn(session, self.command(session)?)
    }

    /// The command that starts the program.
    pub(crate) fn command(&self, session: &Session) -> Result<Command> {
        let folder = session.folder(&self.name);
        match (self.program.app(), self.program) {
            (Some(app), _) => Ok(self.heddle(session, &app, &folder)),
            (None, Program::KafkaStreams) => Ok(self.kafka_streams(session, &folder)),
            (None, _) => self.native(session),
        }
    }

    /// Starts the command that [`command`](Run::command) returned, with any later changes to it.
    pub(crate) fn spawn(&self, session: &Session, mut command: Command) -> Result<Process> {
        let folder = session.folder(&self.name);
        std::fs::create_dir_all(&folder)?;
        let output = folder.join("output.log");
        let file = File::options().create(true).append(true).open(&output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{} does not start", self.program))?;
        Ok(Process::new(child, output))
    }

    fn heddle(&self, session: &Session, app: &Path, folder: &Path) -> Command {
        let mut command = session.heddle(&["run"], app);
        command
            .env("HEDDLE_APP_NAME", &self.name)
            .env("HEDDLE_APP_DATA", folder)
            .env("HEDDLE_COMMIT_INTERVAL", format!("{}ms", self.interval_ms))
            // Only the interval triggers commits, as in the other programs.
            .env("HEDDLE_COMMIT_RECORDS", "1000000")
            .env("HEDDLE_WORKERS_COUNT", session.threads.to_string())
            .env("HEDDLE_TRACE", "warn");
        command
    }

    fn kafka_streams(&self, session: &Session, folder: &Path) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(&session.classpath)
            .arg("heddle.bench.Flow")
            .args([&session.bootstrap, &self.name])
            .arg(folder)
            .args([self.interval_ms.to_string(), session.threads.to_string()])
            .arg(contracts())
            .args(session.ids.list().map(|id| id.to_string()));
        command
    }

    fn native(&self, session: &Session) -> Result<Command> {
        let seen = format!("{}.seen", self.name);
        for topic in [&self.changelog(), &seen] {
            broker::create(&session.log, topic, PARTITIONS)?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["native", "--bootstrap", &session.bootstrap, "--group", &self.name])
            .args(["--interval", &self.interval_ms.to_string(), "--accounts", &self.changelog(), "--seen", &seen])
            .args(["--ids", &session.ids.list().map(|id| id.to_string()).join(",")]);
        if self.program == Program::NativePacked {
            command.arg("--packed");
        }
        Ok(command)
    }
}

/// The benchmark's folder.
pub(crate) fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the app's schemas.
pub(crate) fn contracts() -> PathBuf {
    home().join("app/contracts")
}

/// The `heddle` of this workspace, built with the profile of this program.
pub(crate) fn build_heddle() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().context("a program is in a folder")?;
    // Test binaries are in a folder below.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let profile = if folder.ends_with("debug") { "dev" } else { "release" };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    // A test runner may have set this variable. Build scripts that read it would run again.
    command.env_remove("RUSTC_BOOTSTRAP");
    // Runs in the workspace's root, so that third-party crates keep the features with which they were compiled.
    command.args(["build", "--quiet", "--bin", "heddle", "--profile", profile]);
    done(command.current_dir(home().join("..")), "building heddle")?;
    Ok(folder.join("heddle"))
}

/// The class path of the Kafka Streams program, compiled by Maven.
pub(crate) fn build_kafka_streams() -> Result<String> {
    let folder = home().join("kafka-streams");
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=target/lib"]);
    done(command.current_dir(&folder), "compiling the Kafka Streams program with Maven")?;
    Ok(format!("{0}/target/classes:{0}/target/lib/*", folder.display()))
}

/// Runs a command until it ends. Fails if it fails.
pub(crate) fn done(command: &mut Command, what: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| what.to_owned())?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{what} failed:\n{}", String::from_utf8_lossy(&said));
    }
    Ok(())
}
