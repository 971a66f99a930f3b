//! `heddle registry`: the schema registry as a separate server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::manifest::App;
use heddle_contract::manifest::app::Log;
use heddle_core::explain::Explained;

use super::{app, open};
use crate::registry::http::{Names, Patience, Server, User};
use crate::registry::{Embedded, Registry as _};
use crate::tls::Identity;

/// Serve a schema registry over HTTP, for clients of Confluent's registry. It serves one machine: larger sites run a
/// separate registry and set [registry] url.
#[derive(Debug, Args)]
pub(super) struct Registry {
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// The folder for its data. By default it serves the app's own embedded registry: a topic where the log
    /// is Kafka, else the folder `registry` in the app's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Answer only this user, with basic authentication. Required where other machines reach the address.
    #[arg(long, value_name = "USER", requires = "password_file")]
    user: Option<String>,

    /// The file that holds that user's password in its first line.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// A name by which clients ask, as in http://<NAME>:8081; may be given several times. IP addresses and localhost
    /// need none.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,

    /// Serve TLS with the certificates of this file, in PEM: the server's own first, then those between it and its
    /// authority.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The file of the certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl Registry {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let app = if folder.join("heddle.toml").exists() { Some(app::read(folder)?) } else { None };
        let (identity, user) = (self.identity()?, self.user()?);
        let (registry, advice) = self.registry(folder, app.as_ref())?;
        let place = registry.place();
        let mut server = Server::bind(self.listen, registry, user, Patience::default())?;
        server = server.with_names(Names::new(&self.names));
        let address = server.address();
        let scheme = if identity.is_some() { "https" } else { "http" };
        if let Some(identity) = identity {
            server = server.with_tls(identity);
        }
        eprintln!("the schema registry listens on {scheme}://{address}");
        eprintln!("  data: {place}");
        eprintln!("  {advice}");
        Ok(server.run()?)
    }

    /// Opens the registry. Also returns a line about who else may serve it.
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
        let advice = "it serves one machine; a larger site runs a separate registry and sets [registry] url";
        Ok((Embedded::open(&data)?, advice))
    }

    fn identity(&self) -> Result<Option<Identity>> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else { return Ok(None) };
        Ok(Some(Identity::read(certificate, key)?))
    }

    fn user(&self) -> Result<Option<User>> {
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else { return Ok(None) };
        let text = std::fs::read_to_string(file).with_context(|| {
            Explained::new("the password cannot be read").at(file.display()).hint("write it into that file")
        })?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        if password.is_empty() {
            bail!(
                Explained::new("the password is empty").at(file.display()).hint("write it into the file's first line")
            );
        }
        Ok(Some(User { name: user.clone(), password }))
    }
}
