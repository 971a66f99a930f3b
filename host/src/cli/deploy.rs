//! `heddle deploy`, `heddle rollback` and `heddle deployments`: the version that all hosts run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::{App, Manifest};
use heddle_core::event::Timestamp;
use heddle_core::explain::{Explained, from_text};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::status::{admin_address, client, refused, unanswered};
use super::{app, wasm_file};
use crate::admin::History;
use crate::deploy::{Outcome, Release, Verdict, short, time};
use crate::guest::Component;
use crate::printable::line;

/// The timeout for the host, which waits for all other hosts.
const TIMEOUT: Duration = Duration::from_secs(150);

/// Switch all hosts to a component's built file, without stopping them.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// A .wasm file, or the folder of a component that `heddle build` has built.
    file: PathBuf,

    /// Fail if the file holds another component than this one.
    #[arg(long)]
    component: Option<String>,

    #[command(flatten)]
    host: Host,
}

/// Roll all hosts back to the previous version.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The component.
    component: String,

    /// The version: the first digits of its digest; or `file`, for each host's own file.
    #[arg(long, value_name = "DIGEST")]
    to: Option<String>,

    #[command(flatten)]
    host: Host,
}

/// List the deployed versions of a component, the newest first.
#[derive(Debug, Args)]
pub(super) struct Deployments {
    /// The component.
    component: String,

    #[command(flatten)]
    host: Host,
}

#[derive(Debug, Args)]
struct Host {
    /// The admin address of the host to ask; this folder's host by default.
    #[arg(long = "host", value_name = "HOST:PORT")]
    address: Option<String>,

    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Host {
    /// Sends a request to the host, with the token of [admin].
    fn ask(&self, folder: &Path, app: &App, path: &str, body: Option<&[u8]>) -> Result<String> {
        let address = self.address.clone().unwrap_or_else(|| admin_address(folder, app));
        let client = client(folder, app, &address, TIMEOUT)?;
        let answer = match body {
            Some(body) => client.post(path, body, "application/wasm"),
            None => client.get(path),
        };
        let answer =
            answer.map_err(|e| unanswered(e, &address, "start one with `heddle run`, or name one with --host"))?;
        match answer.status {
            200 => Ok(answer.text()),
            404 => Err(refused(&answer, &address, "run `heddle status` to see the components")),
            _ => Err(refused(&answer, &address, "look at the log of that host, and try again")),
        }
    }

    /// Prints the outcome of every host. Fails if one of them refused the version.
    fn tell(&self, answer: &str) -> Result<()> {
        let outcome: Outcome = serde_json::from_str(answer)?;
        if self.json {
            println!("{answer}");
        } else {
            print(&outcome);
        }
        if let Some((host, Verdict::Refused { why })) =
            outcome.hosts.iter().find(|(_, verdict)| matches!(verdict, Verdict::Refused { .. }))
        {
            let runs = outcome.running.as_deref().map_or("its own file", short);
            let taken_back = format!("the host `{host}` refused it, so every host runs {runs} again");
            return Err(anyhow::Error::from(from_text(why)).context(taken_back));
        }
        Ok(())
    }
}

fn print(outcome: &Outcome) {
    let name = &outcome.component;
    outcome.warnings.iter().for_each(|warning| eprintln!("{name}: {}", line(warning)));
    let version = outcome.digest.as_deref().map_or("its own file", short);
    for (host, verdict) in &outcome.hosts {
        let host = line(host);
        match verdict {
            Verdict::Runs => println!("{name}: {host} runs {version}"),
            Verdict::Refused { .. } => println!("{name}: {host} refused {version}"),
            Verdict::Away => {
                println!("{name}: {host} does not answer; it switches to {version} before its next record");
            }
            Verdict::Silent => {
                println!("{name}: {host} has not switched to {version} yet; run `heddle status` there");
            }
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Deploy {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let file = self.file()?;
        let name = file.display().to_string();
        let wasm = wasm_file::read(&file, || {
            Explained::new("there is no file to deploy")
                .at(&name)
                .hint("name a .wasm file, or build the component with `heddle build`")
        })?;
        let (_, manifest) = Component::contract(&name, &wasm)?;
        if let Some(component) = self.component.as_ref().filter(|component| **component != manifest.name) {
            bail!(
                Explained::new(format!("the file holds the component `{}`, not `{component}`", manifest.name))
                    .at(&name)
                    .hint("name the component that the file holds, or another file")
            );
        }
        let answer = self.host.ask(folder, &app, &format!("/deploy/{}", encoded(&manifest.name)), Some(&wasm))?;
        self.host.tell(&answer)
    }

    /// The given file, or the built file in a component's folder.
    fn file(&self) -> Result<PathBuf> {
        if !self.file.is_dir() {
            return Ok(self.file.clone());
        }
        let path = self.file.join("component.toml");
        let text = std::fs::read_to_string(&path).with_context(|| {
            Explained::new("the folder is not a component")
                .at(path.display())
                .hint("name the folder of a component, or a .wasm file")
        })?;
        let manifest = Manifest::parse(&text, &path.display().to_string())?;
        Ok(app::Source { folder: self.file.clone(), manifest, text }.wasm())
    }
}

impl Rollback {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let to = self.to.as_ref().map(|to| format!("?to={}", encoded(to))).unwrap_or_default();
        let answer = self.host.ask(folder, &app, &format!("/rollback/{}{to}", encoded(&self.component)), Some(&[]))?;
        self.host.tell(&answer)
    }
}

impl Deployments {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = app::read(folder)?;
        let answer = self.host.ask(folder, &app, &format!("/deployments/{}", encoded(&self.component)), None)?;
        if self.host.json {
            println!("{answer}");
            return Ok(());
        }
        let history: History = serde_json::from_str(&answer)?;
        let Some(deployment) = history.deployment else {
            println!("{} runs each host's own file, here {}", history.component, short(&history.running));
            return Ok(());
        };
        let released = |what: &str, release: &Release, why: &str| {
            let (digest, at) = (short(&release.digest), time(Timestamp(release.at)));
            println!("{digest}  {at}  {what} by {}{}", line(&release.host), line(why));
        };
        if let Some(withdrawn) = &deployment.withdrawn {
            released("rolled back, deployed", &withdrawn.release, &format!(": {}", withdrawn.why));
        }
        released("runs, deployed", &deployment.release, "");
        deployment.previous.iter().for_each(|release| released("deployed", release, ""));
        Ok(())
    }
}
