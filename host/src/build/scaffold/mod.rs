//! Generates a new component: its manifest, a handler typed by its contract, and a test. The component builds, and its
//! test passes, without changes.

pub mod debezium;
mod go;
mod javascript;
mod python;
mod rust;

use std::collections::BTreeMap;

use heddle_contract::manifest::Manifest;
use heddle_contract::wit::Names;

use super::world::{Kind, Ty, World};
use super::{AppContracts, BuildError, read_world, world_files};

/// A language for components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust.
    Rust,
    /// JavaScript.
    JavaScript,
    /// Python.
    Python,
    /// Go.
    Go,
}

impl Language {
    /// Its name in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::Go => "go",
        }
    }

    /// The command that runs a component's own tests.
    #[must_use]
    pub fn test(self) -> &'static str {
        match self {
            Self::Rust => "cargo test",
            Self::JavaScript => "node --test",
            Self::Python => "python3 -m unittest",
            Self::Go => "go test",
        }
    }
}

/// The manifest of a new component.
#[must_use]
pub fn manifest(name: &str, language: Language, consumes: &str, emits: Option<&str>) -> String {
    let language = language.name();
    let emits = emits.map(|topic| format!("\n[emits.{topic:?}]\n")).unwrap_or_default();
    format!("[component]\nname = {name:?}\nlanguage = {language:?}\n\n[consumes.{consumes:?}]\n{emits}")
}

/// The files of a new component, by path within its folder, without its manifest.
///
/// # Errors
/// If its contract is not valid.
pub fn component(
    language: Language,
    manifest: &Manifest,
    contracts: &AppContracts,
) -> Result<BTreeMap<String, String>, BuildError> {
    let (wit, names) = world_files(manifest, contracts, &Names::default())?;
    let world = read_world(manifest, &wit, &names)?;
    let example = Example { name: &manifest.name, world: &world };
    Ok(match language {
        Language::Rust => rust::files(&example),
        Language::JavaScript => javascript::files(&example),
        Language::Python => python::files(&example),
        Language::Go => go::files(&example),
    })
}

/// The input of an example: a component that consumes one topic and emits to at most one.
struct Example<'a> {
    name: &'a str,
    world: &'a World,
}

impl Example<'_> {
    /// The interface of the handler, the topic, and the type of its values.
    fn consumed(&self) -> (&str, &str, &Ty) {
        self.world.consumes.first().map_or(("", "", &Ty::Bytes), |topic| (&topic.interface, &topic.topic, &topic.value))
    }

    fn keyed(&self) -> bool {
        self.world.consumes.first().is_some_and(|topic| topic.key.is_some())
    }

    /// The interface of the emitter, the topic, and the type of its values.
    fn emitted(&self) -> Option<(&str, &str, &Ty)> {
        self.world.emits.first().map(|topic| (topic.interface.as_str(), topic.topic.as_str(), &topic.value))
    }

    fn fields(&self, ty: &Ty) -> &[(String, Option<String>, Ty)] {
        match ty {
            Ty::Named(name) => match self.world.definition(name).map(|definition| &definition.kind) {
                Some(Kind::Record(fields)) => fields,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Returns true if an emitted field can be copied from the event.
    fn shared(&self, field: &str, ty: &Ty) -> bool {
        let (_, _, event) = self.consumed();
        self.fields(event).iter().any(|(name, _, known)| name == field && known == ty)
    }
}
