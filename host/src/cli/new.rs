//! `heddle new`: creates a component that builds and passes its test, or an app for components. It overwrites no files.

mod schemas;

pub(super) use schemas::type_name;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use heddle_contract::format::extension;
use heddle_contract::manifest::{App, Manifest};
use heddle_contract::section::SchemaFormat;
use heddle_contract::wire::value_subject;
use heddle_core::explain::Explained;

use self::schemas::{Field, id_field, schema};
use super::app;
use crate::build::{self, AppContracts, Language, debezium};

/// The number of partitions of a new topic.
const PARTITIONS: u32 = 4;

/// The topic of an app that `heddle new --app DIR` creates.
const TOPIC: &str = "orders.placed";
/// The type of its values.
const TYPE: &str = "OrderPlaced";
const IGNORED: &str = "# written by `heddle build`\n/components/*/wit/\n/components/*/heddle/\n*.wasm\n\n# written by `heddle run`\n/.heddle/\n\ntarget/\nnode_modules/\n__pycache__/\n";

/// Create a component or an app.
#[derive(Debug, Args)]
pub(super) struct New {
    /// The component's name; without one, an app is created in the folder that --app names.
    #[arg(value_name = "COMPONENT", requires = "lang")]
    name: Option<String>,

    /// The language of the component.
    #[arg(long, value_enum, requires = "name")]
    lang: Option<Lang>,

    /// The topic that it consumes; by default the app's first one that no component emits to.
    #[arg(long, value_name = "TOPIC", requires = "name")]
    consumes: Option<String>,

    /// A topic that it emits to.
    #[arg(long, value_name = "TOPIC", requires = "name")]
    emits: Option<String>,

    /// The format of the schemas that are created; by default that of the consumed topic's schema, or else Avro.
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// A complete example with its topics and schemas.
    #[arg(long, value_enum, requires = "name", conflicts_with_all = ["consumes", "emits", "format"])]
    template: Option<Template>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Template {
    /// Two tables from Debezium topics, each kept in a store and joined.
    Debezium,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lowercase")]
enum Lang {
    Rust,
    JavaScript,
    Python,
    Go,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Protobuf.
    Protobuf,
}

impl Format {
    fn of_schemas(self) -> SchemaFormat {
        match self {
            Self::Avro => SchemaFormat::Avro,
            Self::Json => SchemaFormat::Json,
            Self::Protobuf => SchemaFormat::Protobuf,
        }
    }
}

impl New {
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        match (&self.name, self.lang) {
            (Some(name), Some(lang)) => self.component(folder, name, lang),
            _ if folder == Path::new(".") => {
                bail!(Explained::new("neither an app nor a component is named").hint(
                    "run `heddle new --app <folder>` for an app, or `heddle new <component> --lang <language>` for a component"
                ))
            }
            _ => new_app(folder, self.format),
        }
    }

    fn component(&self, folder: &Path, name: &str, lang: Lang) -> Result<()> {
        let language = match lang {
            Lang::Rust => Language::Rust,
            Lang::JavaScript => Language::JavaScript,
            Lang::Python => Language::Python,
            Lang::Go => Language::Go,
        };
        let app = app::read(folder)?;
        let sources = app::sources(folder, &app)?;
        let text = match self.template {
            Some(Template::Debezium) => debezium::manifest(name, language),
            None => {
                let consumes = self.consumed(folder, &app, &sources)?;
                build::new_manifest(name, language, &consumes, self.emits.as_deref())
            }
        };
        // Names are checked before anything is written.
        let place = folder.join("components").join(name);
        let manifest = Manifest::parse(&text, &place.join("component.toml").display().to_string())?;
        if let Some(other) = sources.iter().find(|source| source.manifest.name == name) {
            bail!(
                Explained::new(format!("the component `{name}` exists already"))
                    .at(other.folder.display())
                    .hint("choose another name")
            );
        }
        if std::fs::read_dir(&place).is_ok_and(|mut files| files.next().is_some()) {
            bail!(
                Explained::new("the folder exists already and is not empty")
                    .at(shown(&place))
                    .hint("choose another name, or remove it")
            );
        }
        let schemas = match self.template {
            Some(Template::Debezium) => template_schemas(folder, &app),
            None => missing_schemas(folder, &app, &manifest, self.format)?,
        };
        write(folder, &schemas)?;
        let compacted = self.template.map_or(&[][..], |Template::Debezium| &debezium::COMPACTED);
        add_topics(folder, &app, &manifest, compacted)?;
        let contracts = AppContracts::read(&folder.join(&app.contracts))?;
        let mut files = match self.template {
            Some(Template::Debezium) => debezium::files(name, language),
            None => build::new_component(language, &manifest, &contracts)?,
        };
        files.insert("component.toml".to_owned(), text);
        write(&place, &files)?;
        for (path, text) in build::generated(&place, &manifest, &contracts)? {
            put(&place.join(path), &text)?;
        }
        println!(
            "\ncreated {name}; test it with `cd {} && {}`, build it with `heddle build`",
            place.display(),
            language.test()
        );
        Ok(())
    }

    /// The topic that the component consumes.
    fn consumed(&self, folder: &Path, app: &App, sources: &[app::Source]) -> Result<String> {
        // Topics that components emit to are results, so the first input is a topic from outside.
        let outside = |topic: &&String| sources.iter().all(|source| !source.manifest.emits.contains_key(*topic));
        let first = app.topics.keys().find(outside).or_else(|| app.topics.keys().next());
        self.consumes.as_ref().or(first).cloned().with_context(|| {
            Explained::new("the app has no topic for the component to consume")
                .at(format_args!("[topics] in {}", folder.join("heddle.toml").display()))
                .hint("name one with --consumes <topic>")
        })
    }
}

fn new_app(folder: &Path, format: Option<Format>) -> Result<()> {
    let name =
        std::path::absolute(folder)?.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = format!(
        "[app]\nname = {name:?}\n\n# Without [log] this is the embedded log below .heddle. For Apache Kafka:\n# [log]\n# kind = \"kafka\"\n# bootstrap = \"127.0.0.1:9092\"\n{}",
        topic_table(TOPIC)
    );
    // Names are checked before anything is written.
    App::parse(&text, &folder.join("heddle.toml").display().to_string(), &BTreeMap::new())?;
    let format = format.map_or(SchemaFormat::Avro, Format::of_schemas);
    let file = format!("contracts/{}.{}", value_subject(TOPIC), extension(format));
    let fields = [("orderId", Field::Text), ("customer", Field::Text), ("amount", Field::Number)];
    let schema = schema(format, TYPE, &fields);
    let files = [("heddle.toml", text), (file.as_str(), schema), (".gitignore", IGNORED.to_owned())];
    write(folder, &files.map(|(name, text)| (name.to_owned(), text)).into())?;
    println!(
        "\ncreated {name}; add a component with `cd {} && heddle new <component> --lang rust|javascript|python|go`",
        folder.display()
    );
    Ok(())
}

fn topic_table(topic: &str) -> String {
    format!("\n[topics.{topic:?}]\npartitions = {PARTITIONS}\n")
}

/// Schemas for the component's topics that have none, by path. Each has an id and a text as a starting point.
fn missing_schemas(
    folder: &Path,
    app: &App,
    manifest: &Manifest,
    format: Option<Format>,
) -> Result<BTreeMap<String, String>> {
    let contracts = AppContracts::read(&folder.join(&app.contracts))?;
    let topics = manifest.consumes.keys().chain(manifest.emits.keys());
    let missing = topics.filter(|topic| contracts.get(&value_subject(topic)).is_none());
    let consumed = manifest.consumes.keys().find_map(|topic| contracts.get(&value_subject(topic)));
    let (id, like) = (consumed.and_then(id_field), consumed.map(|schema| schema.format()));
    let format = format.map(Format::of_schemas).or(like).unwrap_or(SchemaFormat::Avro);
    let fields = id.iter().map(|id| (id.as_str(), Field::Text)).chain([("text", Field::Text)]).collect::<Vec<_>>();
    let schema = |topic: &String| {
        let file = format!("{}.{}", value_subject(topic), extension(format));
        (app.contracts.join(file).display().to_string(), schema(format, &type_name(topic), &fields))
    };
    Ok(missing.map(schema).collect())
}

/// The template's schema files by path, without those that exist with the same text.
fn template_schemas(folder: &Path, app: &App) -> BTreeMap<String, String> {
    let schema = |(file, text): (&str, &str)| (app.contracts.join(file).display().to_string(), text.to_owned());
    let exists =
        |(path, text): &(String, String)| std::fs::read_to_string(folder.join(path)).is_ok_and(|found| found == *text);
    debezium::CONTRACTS.map(schema).into_iter().filter(|file| !exists(file)).collect()
}

/// Adds the component's missing topics to the end of heddle.toml.
fn add_topics(folder: &Path, app: &App, manifest: &Manifest, compacted: &[&str]) -> Result<()> {
    let emitted = manifest.emits.keys().filter(|topic| !manifest.consumes.contains_key(*topic));
    let table = |topic: &String| {
        let is_compacted = compacted.contains(&topic.as_str());
        let options = if is_compacted { "options = { \"cleanup.policy\" = \"compact\" }\n" } else { "" };
        topic_table(topic) + options
    };
    let missing = manifest.consumes.keys().chain(emitted).filter(|topic| !app.topics.contains_key(*topic));
    let added = missing.map(table).collect::<String>();
    if added.is_empty() {
        return Ok(());
    }
    let path = folder.join("heddle.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    println!("  added topics to {}", shown(&path));
    put(&path, &(text + &added))
}

/// Writes files that must not exist yet, and prints each.
fn write(folder: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    if let Some(there) = files.keys().map(|name| folder.join(name)).find(|path| path.exists()) {
        bail!(Explained::new("the file exists already").at(there.display()).hint("choose another name, or remove it"));
    }
    for (name, text) in files {
        let path = folder.join(name);
        put(&path, text)?;
        println!("  {}", shown(&path));
    }
    Ok(())
}

/// A path without the `./` of the current folder.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

fn put(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    std::fs::write(path, text).with_context(failed)
}
