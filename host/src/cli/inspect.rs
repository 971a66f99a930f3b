//! `heddle inspect`: what a .wasm file says about itself.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::build::digest;
use crate::guest::{Component, Engine, interfaces};

/// Print the contract that a .wasm file carries, what it imports and what it exports.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print it as JSON, schemas and manifest included.
    #[arg(long)]
    json: bool,
}

/// What there is to know about a component's file.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    component: String,
    file: String,
    bytes: usize,
    digest: String,
    built_with: String,
    imports: Vec<String>,
    exports: Vec<String>,
    subjects: Vec<String>,
}

impl Summary {
    pub(super) fn of(file: &str, wasm: &[u8]) -> Result<Self> {
        let (contract, _) = Component::contract(file, wasm)?;
        let (imports, exports) = interfaces(&Engine::start(None)?, file, wasm)?;
        Ok(Self {
            component: contract.component.name,
            file: file.to_owned(),
            bytes: wasm.len(),
            digest: format!("sha256:{}", digest(wasm)),
            built_with: contract.built_with,
            imports,
            exports,
            subjects: contract.schemas.into_keys().collect(),
        })
    }

    pub(super) fn print(&self) {
        println!("{}", self.component);
        println!("  file      {}", self.file);
        println!("  size      {}", indicatif::BinaryBytes(self.bytes as u64));
        println!("  digest    {}", self.digest);
        println!("  built by  {}", self.built_with);
        for (name, list) in [("imports ", &self.imports), ("exports ", &self.exports), ("schemas ", &self.subjects)] {
            println!("  {name}  {}", if list.is_empty() { "none".to_owned() } else { list.join("\n            ") });
        }
    }
}

impl Inspect {
    pub(super) fn run(&self) -> Result<()> {
        let file = self.file.display().to_string();
        let wasm = std::fs::read(&self.file).with_context(|| {
            format!("cannot read the file\n  where: {file}\n  what to do: name a .wasm file that `heddle build` made")
        })?;
        let summary = Summary::of(&file, &wasm)?;
        let (contract, _) = Component::contract(&file, &wasm)?;
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
