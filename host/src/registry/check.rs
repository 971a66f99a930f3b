//! Checks a component's contract against the registry, before the component handles a record.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use heddle_contract::compat::{Level, violations};
use heddle_contract::format::{self, Plan, Schema};
use heddle_contract::manifest::Manifest;
use heddle_contract::section::Contract;
use heddle_contract::wire::value_subject;
use heddle_core::explain::Explain;

use super::publish::Publication;
use super::{Registry, RegistryError};

/// A mismatch between a contract and the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The component.
    pub component: String,
    /// The subject.
    pub subject: String,
    /// The subject's file in the app's contracts.
    pub file: String,
    /// The mismatch: the version, the place in it, and the reason.
    pub what: String,
    /// The change that would fix it.
    pub remedy: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { component, subject, what, .. } = self;
        write!(f, "the component `{component}` does not fit the subject `{subject}`: {what}")
    }
}

impl Error for Misfit {}

impl Explain for Misfit {
    fn place(&self) -> Option<String> {
        let Self { component, file, .. } = self;
        Some(format!("contracts/{file}, as `{component}` was built with it"))
    }

    fn remedy(&self) -> Option<String> {
        Some(self.remedy.clone())
    }
}

/// Returns all mismatches: versions of consumed subjects that the component's reader cannot read, and writers' schemas
/// that are neither registered nor registrable. A store's schema is both read and written.
pub fn misfits(
    registry: &dyn Registry,
    app: &str,
    contract: &Contract,
    manifest: &Manifest,
) -> Result<Vec<Misfit>, RegistryError> {
    let component = &manifest.name;
    let mut found = vec![];
    for (name, schema) in &contract.schemas {
        let Some(subject) = manifest.registered(app, name) else { continue };
        let (reads, writes) = manifest.uses(name);
        // A schema that is not valid is refused when the component is loaded.
        let Ok(own) = schema.parse() else { continue };
        let file = format!("{subject}.{}", format::extension(schema.format));
        let misfit = |(what, remedy)| Misfit {
            component: component.clone(),
            subject: subject.clone(),
            file: file.clone(),
            what,
            remedy,
        };
        if reads {
            let topic = manifest.consumes.iter().find(|(topic, _)| value_subject(topic) == *name);
            let reads_some = topic.is_some_and(|(_, consumes)| consumes.unknown_type.is_some());
            found.extend(unreadable(registry, &subject, &own, reads_some)?.map(misfit));
        }
        if writes {
            found.extend(unwritable(registry, &subject, &own)?.map(misfit));
        }
    }
    Ok(found)
}

/// Returns the schemas that a component writes with and that the registry lacks, for apps whose hosts must not register
/// schemas.
pub fn unregistered(
    registry: &dyn Registry,
    app: &str,
    contract: &Contract,
    manifest: &Manifest,
) -> Result<Vec<Misfit>, RegistryError> {
    let mut found = vec![];
    for (name, schema) in &contract.schemas {
        let Some(subject) = manifest.registered(app, name) else { continue };
        if manifest.uses(name).1 && Publication::from(schema).lookup(registry, &subject)?.is_none() {
            found.push(Misfit {
                component: manifest.name.clone(),
                file: format!("{subject}.{}", format::extension(schema.format)),
                subject,
                what: "its schema is not registered, and [registry] register = \"never\"".to_owned(),
                remedy: "register it before (`heddle schema register` for the schemas of topics), or set register = \"auto\"".to_owned(),
            });
        }
    }
    Ok(found)
}

type Trouble = Option<(String, String)>;

/// The types of `writer` that `own` names, if it need not name all, each with what reads it.
fn named(own: &Schema, writer: Schema) -> Vec<(Schema, Schema)> {
    if let (Schema::JsonSchema(ours), Schema::JsonSchema(written)) = (own, &writer) {
        return vec![(Schema::JsonSchema(Arc::new(written.limited_to(ours))), own.clone())];
    }
    if let Schema::Protobuf(_) = own {
        let both = own.type_names().into_iter().filter(|name| writer.with_type(name).is_ok()).collect::<Vec<_>>();
        let ours = own.with_types(&both).ok().filter(|_| !both.is_empty());
        return ours.map(|ours| (writer, ours)).into_iter().collect();
    }
    let (Ok(Some(known)), Ok(Some(written))) = (own.records(), writer.records()) else {
        return vec![(writer, own.clone())];
    };
    let is_known = |name: &String| known.iter().any(|(known, _)| known == name);
    written.into_iter().filter(|(name, _)| is_known(name)).map(|(_, schema)| (schema, own.clone())).collect()
}

/// Returns the newest version that `own` cannot read. With `reads_some`, only types that `own` names count.
fn unreadable(
    registry: &dyn Registry,
    subject: &str,
    own: &Schema,
    reads_some: bool,
) -> Result<Trouble, RegistryError> {
    for version in registry.versions(subject)?.iter().rev() {
        let number = version.version;
        let remedy = |path: &str| {
            format!(
                "change the schema so that it reads that version too (a default at `{path}`, an alias, a wider type) and build again; or, if none of its records is left, delete version {number} of the subject"
            )
        };
        let writer = match version.parsed() {
            Ok(writer) if writer.format() == own.format() => writer,
            answered => {
                let (theirs, ours) = (format::title(version.format), format::title(own.format()));
                let what = match answered {
                    Err(_) => format!("version {number} is not a valid {theirs} schema"),
                    Ok(_) => format!("version {number} is {theirs}, but the component was built with {ours}"),
                };
                return Ok(Some((what, format!("delete version {number} of the subject, or consume another topic"))));
            }
        };
        for (writer, own) in if reads_some { named(own, writer) } else { vec![(writer, own.clone())] } {
            if let Some(problem) = own.reads(&writer).into_iter().next() {
                let what = format!("it cannot read what version {number} wrote, {problem}");
                return Ok(Some((what, remedy(&problem.path))));
            }
            // Stricter than the registry: a decimal's precision and scale must not change.
            if let Some(mismatch) = Plan::of(&writer, &own).mismatches().into_iter().next() {
                let place = format!("at `{}`: {}", mismatch.path, mismatch.what);
                let what = format!("it cannot read what version {number} wrote, {place}");
                return Ok(Some((what, remedy(&mismatch.path))));
            }
        }
    }
    Ok(None)
}

/// Returns the reason why `own` is neither registered nor registrable, if there is one.
fn unwritable(registry: &dyn Registry, subject: &str, own: &Schema) -> Result<Trouble, RegistryError> {
    let versions = registry.versions(subject)?;
    let level = registry.level(subject)?;
    let parsed =
        versions.iter().filter_map(|version| Some((version.version, version.parsed().ok()?))).collect::<Vec<_>>();
    if level == Level::None || parsed.iter().any(|(_, schema)| schema.is_same_text(own)) {
        return Ok(None);
    }
    let parsed = parsed.iter().map(|(version, schema)| (*version, schema)).collect::<Vec<_>>();
    let first = violations(level, own, &parsed, Schema::problems).into_iter().next();
    Ok(first.map(|violation| {
        let remedy = format!(
            "make the change compatible and build again; the subject requires {level} (`heddle schema set-level` changes that)"
        );
        (format!("its schema could not be registered: {violation}"), remedy)
    }))
}
