//! Builds components: their `wit` folder, their code, and the single file with both code and contract.
//!
//! ```text
//!  component.toml + contracts/ ──contract──> wit/ ──command or language──> module ──componentize──> component
//!                                    └───────────────── embedded as a custom section ─────────────────┘
//! ```
//!
//! Each language is one file or folder: `cargo`, `javascript`, `python`, `go`. Its function `build` takes a [`Place`]
//! and returns a module or a component. [`tools`] fetches its tools, and [`kept`] skips builds whose inputs did not
//! change.

mod cargo;
mod contract;
mod documents;
mod go;
mod javascript;
mod kept;
mod owners;
mod python;
mod rust_fakes;
mod rust_sdk;
mod rust_target;
mod scaffold;
mod tools;
mod unmatched;
mod world;

pub use contract::{AppContracts, contract_of, world_files};
pub use documents::{Document, format_of, schema_of_file};
pub use rust_target::{Toolchain, detect};
pub use scaffold::{Language, component as new_component, debezium, manifest as new_manifest};
pub use unmatched::{Unmatched, unmatched};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::Build;
use heddle_contract::section::{self, Contract};
use heddle_contract::wit::Names;
use heddle_core::explain::{Explain, Explained};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use world::World;

/// The file beside a component's manifest that records the names of its types.
pub(crate) const NAMES: &str = "names.lock";

/// The reason why a component cannot be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A schema is not valid.
    #[error(transparent)]
    Schema(#[from] heddle_contract::format::avro::SchemaError),
    /// A schema of a format other than Avro is not valid.
    #[error("{what}")]
    Document {
        /// The file.
        file: String,
        /// The fault.
        what: String,
    },
    /// A schema imports a file that does not exist.
    #[error("the import `{import}` does not exist")]
    Import {
        /// The file.
        file: String,
        /// The imported file.
        import: String,
    },
    /// A subject has two files.
    #[error("the subject `{subject}` has two schemas")]
    TwoFormats {
        /// The subject.
        subject: String,
        /// The file that is not Avro.
        file: String,
    },
    /// A `[rename]` is not possible.
    #[error("{component}: {cause}")]
    Wit {
        /// The component.
        component: String,
        /// The reason.
        cause: heddle_contract::wit::WitError,
    },
    /// The record of names is not valid.
    #[error("the record of names is broken: {what}")]
    Names {
        /// The file.
        path: String,
        /// The fault.
        what: String,
    },
    /// There is no compiler.
    #[error("{0}")]
    NoToolchain(Explained),
    /// The compiler failed; its messages were printed.
    #[error("`{command}` failed")]
    Failed {
        /// The command.
        command: String,
        /// The folder in which it ran.
        folder: String,
    },
    /// The compiler left no `.wasm` file in the expected place.
    #[error("`{command}` left no .wasm file")]
    NoOutput {
        /// The command.
        command: String,
        /// The folder in which it ran.
        folder: String,
        /// The expected place.
        hint: String,
    },
    /// The module cannot be converted to a component.
    #[error("{component} does not become a component: {what}")]
    Componentize {
        /// The component.
        component: String,
        /// The reason.
        what: String,
    },
    /// The manifest's field for message ids is not suitable.
    #[error("{cause}")]
    Id {
        /// The component.
        component: String,
        /// The fault.
        cause: heddle_contract::identify::IdError,
    },
    /// A topic's keys have different types for consuming and emitting.
    #[error("the keys of the topic `{topic}` are both `{types}`")]
    TwoKeyTypes {
        /// The component.
        component: String,
        /// The topic.
        topic: String,
        /// Both types.
        types: String,
    },
    /// Subjects are to be named after records, but the topic's values are not records.
    #[error("the subjects of the topic `{topic}` are named after its records, but its values are `{schema}`")]
    NoRecords {
        /// The component.
        component: String,
        /// The topic.
        topic: String,
        /// The schema of the values.
        schema: String,
    },
    /// A component cannot be typed by a schema.
    #[error("the schema `{subject}` cannot be a type, {problem}")]
    Inexpressible {
        /// The component.
        component: String,
        /// The schema.
        subject: String,
        /// The place in the schema, and the reason.
        problem: heddle_contract::compat::Problem,
    },
    /// This version cannot build the component's language.
    #[error("{0}")]
    Language(Explained),
}

impl Explain for BuildError {
    fn place(&self) -> Option<String> {
        Some(match self {
            Self::File { .. } | Self::Schema(_) | Self::Wit { .. } | Self::Componentize { .. } => return None,
            Self::Document { file, .. } => file.clone(),
            Self::Import { file, .. } => format!("imported by {file}"),
            Self::TwoFormats { subject, file } => format!("{file} and {subject}.avsc"),
            Self::Names { path, .. } => path.clone(),
            Self::Failed { folder, .. } | Self::NoOutput { folder, .. } => folder.clone(),
            Self::Id { component, cause } => {
                format!("[consumes.\"{}\"] in the component.toml of `{component}`", cause.topic)
            }
            Self::TwoKeyTypes { component, .. } | Self::Inexpressible { component, .. } => {
                format!("component.toml of `{component}`")
            }
            Self::NoRecords { component, .. } => {
                format!("`subject` of the topic in the component.toml of `{component}`")
            }
            Self::NoToolchain(why) | Self::Language(why) => return why.place(),
        })
    }

    fn remedy(&self) -> Option<String> {
        let remedy: &str = match self {
            Self::File { .. }
            | Self::Schema(_)
            | Self::Document { .. }
            | Self::Wit { .. }
            | Self::Failed { .. }
            | Self::Inexpressible { .. }
            | Self::Componentize { .. } => return None,
            Self::Import { .. } => {
                "add the file, or correct the import: it is a path from the folder of the schemas, with the file's extension; of a JSON Schema also a path from the importing file, or an `$id`"
            }
            Self::TwoFormats { .. } => "keep one of them",
            Self::Names { .. } => "restore it from version control, or remove it to have new names chosen",
            Self::NoOutput { hint, .. } => hint,
            Self::Id { .. } => "name a field that identifies the message, or write id = \"header:<name>\"",
            Self::TwoKeyTypes { .. } => "write the same `key` in [consumes] and [emits]",
            Self::NoRecords { .. } => "give the topic a record, or a union of records, or remove `subject`",
            Self::NoToolchain(why) | Self::Language(why) => return why.remedy(),
        };
        Some(remedy.to_owned())
    }
}

impl BuildError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |cause| Self::File { path, cause }
    }
}

/// The folders of a language's build. All paths are absolute.
struct Place<'a> {
    /// The component's folder, which holds its component.toml.
    folder: &'a Path,
    /// The folder of its WIT, whose world is called `component`.
    world: &'a Path,
    /// The folder of tools and of data that components share.
    cache: &'a Path,
}

/// The recorded names of the types of the component in `folder`; none if it was never built.
///
/// # Errors
/// If the record of names is not valid.
pub fn locked_names(folder: &Path) -> Result<Names, BuildError> {
    let path = folder.join(NAMES);
    match std::fs::read_to_string(&path) {
        Ok(text) => Names::of_lock(&text).map_err(|what| BuildError::Names { path: path.display().to_string(), what }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Names::default()),
        Err(cause) => Err(BuildError::File { path: path.display().to_string(), cause }),
    }
}

/// Generates the files beside a component's source that describe its types to compilers, editors and tests: the WIT,
/// its names, and for some languages an SDK with bindings in `heddle`. Files by path within `folder`.
///
/// # Errors
/// If the manifest names a schema that no file has, or a `[rename]` is not possible.
pub fn generated(
    folder: &Path,
    manifest: &Manifest,
    contracts: &AppContracts,
) -> Result<BTreeMap<String, String>, BuildError> {
    let (wit, names) = world_files(manifest, contracts, &locked_names(folder)?)?;
    let world = || read_world(manifest, &wit, &names);
    let bindings = match &manifest.build {
        Build::Go => go::bindings(folder, &manifest.name, &wit)?,
        Build::JavaScript => javascript::bindings(folder, &world()?),
        Build::Python => python::bindings(&world()?),
        Build::Rust => rust_sdk::files(folder, &world()?),
        Build::Command(_) => BTreeMap::new(),
    };
    let within = |folder: &'static str| move |(name, text): (String, String)| (format!("{folder}/{name}"), text);
    let names = (NAMES.to_owned(), names.lock());
    let bindings = bindings.into_iter().map(within("heddle"));
    Ok(wit.into_iter().map(within("wit")).chain(bindings).chain([names]).collect())
}

fn read_world(manifest: &Manifest, wit: &BTreeMap<String, String>, names: &Names) -> Result<World, BuildError> {
    World::read(manifest, wit, names)
        .map_err(|what| BuildError::Componentize { component: manifest.name.clone(), what: format!("its WIT: {what}") })
}

/// The files of a `wit` folder, by path.
fn wit_of(folder: &Path) -> Result<BTreeMap<String, String>, BuildError> {
    let file = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        Ok((name, std::fs::read_to_string(&path).map_err(BuildError::file(&path))?))
    };
    kept::files(folder, &|_| false)?.into_iter().map(file).collect()
}

/// Builds the component in `folder` and returns the bytes of its `.wasm` file, including its contract.
///
/// The compiler's output goes to this process's standard error, so that users see its progress.
///
/// # Errors
/// If the manifest, a schema or the code is not valid, or a tool chain is missing.
pub fn build(folder: &Path, manifest: &Manifest, contract: &Contract, cache: &Path) -> Result<Vec<u8>, BuildError> {
    // Absolute, because tools run in the component's folder.
    let absolute = |path: &Path| std::path::absolute(path).map_err(BuildError::file(path));
    let (folder, cache) = (&absolute(folder)?, &absolute(cache)?);
    let place = Place { folder, world: &folder.join("wit"), cache };
    let built = match &manifest.build {
        Build::Rust => cargo::build(&place)?,
        Build::JavaScript => javascript::build(&place)?,
        Build::Python => python::build(&place, &read_world(manifest, &wit_of(place.world)?, &contract.names)?)?,
        Build::Command(command) => run(folder, &manifest.name, command)?,
        Build::Go => go::build(&place, &wit_of(place.world)?)?,
    };
    let component = componentize(&manifest.name, &built)?;
    section::embed(&component, contract)
        .map_err(|e| BuildError::Componentize { component: manifest.name.clone(), what: e.to_string() })
}

/// The digest that identifies a `.wasm` file: SHA-256, in hexadecimal.
#[must_use]
pub fn digest(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs the manifest's own command in the component's folder, and returns the newest possible output. That is
/// `<name>.wasm` beside the manifest, or at any depth below `target`, also with `_` for `-`, as Rust names files.
/// Heddle's own files in `target/heddle` are ignored.
fn run(folder: &Path, name: &str, command: &str) -> Result<Vec<u8>, BuildError> {
    let status = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .map_err(BuildError::file(folder))?;
    if !status.success() {
        return Err(BuildError::Failed { command: command.to_owned(), folder: folder.display().to_string() });
    }
    let beside = folder.join(format!("{name}.wasm"));
    let pattern = format!(
        "{}/target/**/{}.wasm",
        glob::Pattern::escape(&folder.display().to_string()),
        name.replace('-', "[-_]")
    );
    let own = folder.join("target").join("heddle");
    let below = glob::glob(&pattern).into_iter().flatten().flatten().filter(|path| !path.starts_with(&own));
    let newest = std::iter::once(beside.clone())
        .chain(below)
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    let Some((_, path)) = newest else {
        return Err(BuildError::NoOutput {
            command: command.to_owned(),
            folder: folder.display().to_string(),
            hint: format!("let it write {}, or {name}.wasm below target/", beside.display()),
        });
    };
    read(&path)
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(BuildError::file(path))
}

/// Converts a core module to a component by the WIT embedded in it. A component is returned unchanged.
fn componentize(name: &str, wasm: &[u8]) -> Result<Vec<u8>, BuildError> {
    // Bytes 4-8 of the header: the version and the layer; layer 1 is a component.
    if wasm.get(4..8) == Some(&[0x0d, 0, 1, 0]) {
        return Ok(wasm.to_vec());
    }
    let failed = |e: anyhow::Error| BuildError::Componentize { component: name.to_owned(), what: format!("{e:#}") };
    let mut encoder = wit_component::ComponentEncoder::default().validate(true).module(wasm).map_err(failed)?;
    encoder.encode().map_err(failed)
}

/// The folder for build results: `HEDDLE_CACHE`, or the user's cache folder.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let own = std::env::var_os("HEDDLE_CACHE").map(PathBuf::from);
    own.or_else(|| Some(directories::BaseDirs::new()?.cache_dir().join("heddle")))
        .unwrap_or_else(|| ".heddle/cache".into())
}
