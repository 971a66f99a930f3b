//! `heddle inspect`: describes a .wasm file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use heddle_contract::section::Contract;
use heddle_core::explain::Explained;
use serde::Serialize;

use super::{open, wasm_file};
use crate::build::digest;
use crate::guest::{Component, Engine, Interfaces, interfaces};

/// Print the contract, the imports and the exports of a .wasm file.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print JSON, with schemas and manifest.
    #[arg(long)]
    json: bool,
}

/// The description of a component's file.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    component: String,
    file: String,
    bytes: usize,
    digest: String,
    built_with: String,
    imports: Vec<String>,
    /// The imports of WASI, all of which are empty here.
    wasi: Vec<String>,
    exports: Vec<String>,
    subjects: Vec<String>,
}

impl Summary {
    /// Reads the description and the embedded contract from the file's bytes.
    pub(super) fn of(engine: &Engine, file: &str, wasm: &[u8]) -> Result<(Self, Contract)> {
        let (contract, _) = Component::contract(file, wasm)?;
        let Interfaces { imports, wasi, exports } = interfaces(engine, file, wasm)?;
        let summary = Self {
            component: contract.component.name.clone(),
            file: file.to_owned(),
            bytes: wasm.len(),
            digest: format!("sha256:{}", digest(wasm)),
            built_with: contract.built_with.clone(),
            imports,
            wasi,
            exports,
            subjects: contract.schemas.keys().cloned().collect(),
        };
        Ok((summary, contract))
    }

    pub(super) fn print(&self) {
        println!("{}", self.component);
        println!("  file      {}", self.file);
        println!("  size      {}", indicatif::BinaryBytes(self.bytes as u64));
        println!("  digest    {}", self.digest);
        println!("  built by  {}", self.built_with);
        if !self.wasi.is_empty() {
            println!("  wasi      {} (empty here)", self.wasi.join(", "));
        }
        for (name, list) in [("imports ", &self.imports), ("exports ", &self.exports), ("schemas ", &self.subjects)] {
            println!("  {name}  {}", if list.is_empty() { "none".to_owned() } else { list.join("\n            ") });
        }
    }
}

impl Inspect {
    pub(super) fn run(&self) -> Result<()> {
        let file = self.file.display().to_string();
        let wasm = wasm_file::read(&self.file, || {
            Explained::new("cannot read the file").at(&file).hint("name a .wasm file that `heddle build` made")
        })?;
        let (summary, contract) = Summary::of(&open::engine()?, &file, &wasm)?;
        if self.json {
            let mut value = serde_json::to_value(&summary)?;
            value["manifest"] = contract.component.manifest.into();
            value["schemas"] = serde_json::to_value(&contract.schemas)?;
            println!("{}", serde_json::to_string_pretty(&value)?);
        } else {
            summary.print();
            println!("\ncomponent.toml\n");
            contract.component.manifest.lines().for_each(|line| println!("  {line}"));
            for (subject, schema) in contract.schemas {
                println!("\n{subject}\n");
                let value: serde_json::Value = serde_json::from_str(&schema.text)?;
                serde_json::to_string_pretty(&value)?.lines().for_each(|line| println!("  {line}"));
            }
        }
        Ok(())
    }
}
