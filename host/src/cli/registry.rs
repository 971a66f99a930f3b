//! `heddle registry`: the schema registry as a server of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::app;
use crate::registry::Embedded;
use crate::registry::http::{Patience, Server, Writer};
use crate::tls::Identity;

/// Serve a schema registry over HTTP, for clients of Confluent's. It is for one machine: larger sites run one of their own and
/// name it in [registry] url.
#[derive(Debug, Args)]
pub(super) struct Registry {
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// The folder for its data; by default `registry` in the app's data folder, which the app's own embedded registry uses, too.
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
        let data = match &self.data {
            Some(data) => data.clone(),
            None if folder.join("heddle.toml").exists() => folder.join(app::read(folder)?.data).join("registry"),
            None => folder.join(".heddle").join("registry"),
        };
        let (identity, writer) = (self.identity()?, self.writer()?);
        let mut server = Server::bind(self.listen, Embedded::open(&data)?, writer, Patience::default())?;
        let address = server.address();
        let scheme = if identity.is_some() { "https" } else { "http" };
        if let Some(identity) = identity {
            server = server.with_tls(identity);
        }
        eprintln!("the schema registry listens on {scheme}://{address}");
        eprintln!("  data: {}", data.display());
        eprintln!("  it is for one machine; a larger site runs a registry of its own and names it in [registry] url");
        if !address.ip().is_loopback() && self.write_user.is_none() {
            eprintln!("  everybody who reaches this address may change it; --write-user lets only one do so");
        }
        Ok(server.run()?)
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
