//! `heddle registry`: the schema registry as a server of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_contract::manifest::app::Log;

use super::{app, open};
use crate::registry::http::{Patience, Server, Writer};
use crate::registry::{Embedded, Registry as _};
use crate::tls::Identity;

/// Serve a schema registry over HTTP, for clients of Confluent's. It is for one machine: larger sites run one of their own and
/// name it in [registry] url.
#[derive(Debug, Args)]
pub(super) struct Registry {
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// The folder for its data. By default it serves what the app's own embedded registry holds: a topic where the log is Kafka, else
    /// the folder `registry` in the app's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Let only this user change anything, with basic authentication; everybody may read.
    #[arg(long, value_name = "USER", requires = "write_password_file")]
    write_user: Option<String>,

    /// The file that holds that user's password in its first line.
    #[arg(long, value_name = "FILE", requires = "write_user")]
    write_password_file: Option<PathBuf>,

    /// Speak TLS and show the certificates of this file, in PEM: the server's own first, then those between it and its authority.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The file of the certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl Registry {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = if folder.join("heddle.toml").exists() { Some(app::read(folder)?) } else { None };
        let (identity, writer) = (self.identity()?, self.writer()?);
        let (registry, advice) = self.registry(folder, app.as_ref())?;
        let place = registry.place();
        let mut server = Server::bind(self.listen, registry, writer, Patience::default())?;
        let address = server.address();
        let scheme = if identity.is_some() { "https" } else { "http" };
        if let Some(identity) = identity {
            server = server.with_tls(identity);
        }
        eprintln!("the schema registry listens on {scheme}://{address}");
        eprintln!("  data: {place}");
        eprintln!("  {advice}");
        if !address.ip().is_loopback() && self.write_user.is_none() {
            eprintln!("  everybody who reaches this address may change it; --write-user lets only one do so");
        }
        Ok(server.run()?)
    }

    /// The registry, and a line about who else may serve it.
    fn registry(&self, folder: &Path, app: Option<&App>) -> Result<(Embedded, &'static str)> {
        if let (None, Some(app)) = (&self.data, app)
            && matches!(app.log, Log::Kafka(_))
        {
            let registry = open::registry_in_topic(folder, app, None)?;
            registry.settle()?;
            return Ok((
                registry,
                "several of these may run; the hosts of apps without [registry] url use the same topic",
            ));
        }
        let data = match (&self.data, app) {
            (Some(data), _) => data.clone(),
            (None, Some(app)) => folder.join(&app.data).join("registry"),
            (None, None) => folder.join(".heddle").join("registry"),
        };
        let advice = "it is for one machine; a larger site runs a registry of its own and names it in [registry] url";
        Ok((Embedded::open(&data)?, advice))
    }

    fn identity(&self) -> Result<Option<Identity>> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else { return Ok(None) };
        Ok(Some(Identity::read(certificate, key)?))
    }

    fn writer(&self) -> Result<Option<Writer>> {
        let (Some(user), Some(file)) = (&self.write_user, &self.write_password_file) else { return Ok(None) };
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("the password cannot be read\n  where: {}\n  what to do: write it into that file", file.display())
        })?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        if password.is_empty() {
            bail!(
                "the password is empty\n  where: {}\n  what to do: write it into the file's first line",
                file.display()
            );
        }
        Ok(Some(Writer { user: user.clone(), password }))
    }
}
