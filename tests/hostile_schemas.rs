//! Schemas whose names and texts are as awkward as Avro allows. Their code compiles in every language, and values pass
//! through it unchanged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use heddle::build::cache_folder;
use heddle::guest::Instance;
use heddle_contract::format::avro::{Schema, parse};
use heddle_core::batch::OpenBatch;
use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Task, TaskSpec};
use heddle_fixtures::{hostile, scaled};

use crate::support::guests::{self, Known};
use crate::support::values;

const LANGUAGES: [&str; 4] = ["rust", "javascript", "python", "go"];
/// The number of schemas in one component.
const SCHEMAS: u64 = 12;
/// The number of values of each schema that pass through a component.
const VALUES: u64 = 20;

/// An app in the cache, with one component per language that emits its input. It is kept, so that tools can reuse their
/// results.
struct App {
    folder: PathBuf,
    schemas: BTreeMap<String, Schema>,
    /// Locked while the folder is in use.
    _lock: File,
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::write(path, text).unwrap();
}

impl App {
    fn new(first: u64) -> Self {
        let cache = cache_folder();
        fs::create_dir_all(&cache).unwrap();
        let lock = File::create(cache.join("hostile-schemas.lock")).unwrap();
        lock.lock().unwrap();
        let folder = cache.join("hostile-schemas");
        // Files of an earlier run would have other names.
        let _ = fs::remove_dir_all(folder.join("contracts"));
        let (mut schemas, mut topics, mut sections) = (BTreeMap::new(), String::new(), String::new());
        for seed in first.. {
            if schemas.len() as u64 == SCHEMAS {
                break;
            }
            let text = hostile::schema(seed).to_string();
            let topic = format!("h{}", schemas.len());
            let schema = parse(&topic, &text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
            if values::value(&schema, 0).is_none() {
                continue;
            }
            for (topic, kind) in [(topic.clone(), "consumes"), (format!("{topic}-out"), "emits")] {
                write(&folder.join(format!("contracts/{topic}-value.avsc")), &text);
                let _ = writeln!(topics, "[topics.{topic}]");
                let _ = writeln!(sections, "[{kind}.{topic}]");
            }
            schemas.insert(topic, schema);
        }
        write(&folder.join("heddle.toml"), &format!("[app]\nname = \"hostile\"\n{topics}"));
        for language in LANGUAGES {
            let component = folder.join("components").join(language);
            let _ = fs::remove_file(component.join("names.lock"));
            let manifest = format!(
                "[component]\nname = \"{language}\"\nlanguage = \"{language}\"\n{sections}[limits]\ndeadline = \"30s\"\nmemory = \"256MiB\"\n"
            );
            write(&component.join("component.toml"), &manifest);
        }
        let app = Self { folder, schemas, _lock: lock };
        app.manifests();
        app
    }

    fn component(&self, language: &str) -> PathBuf {
        self.folder.join("components").join(language)
    }

    /// Writes the files that a language's tools need beside the source.
    fn manifests(&self) {
        write(&self.component("go").join("go.mod"), "module components/go\n\ngo 1.24\n");
        write(
            &self.component("rust").join("Cargo.toml"),
            "[package]\nname = \"hostile\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nheddle-sdk = { path = \"heddle/sdk/rust\" }\n\n[workspace]\n",
        );
        write(
            &self.component("javascript").join("package.json"),
            "{\"private\": true, \"type\": \"module\", \"imports\": {\"#heddle\": \"./heddle/index.js\", \"#heddle/*\": \"./heddle/*.js\"}}\n",
        );
    }

    fn heddle(&self, arguments: &[&str]) {
        let output =
            Command::new(env!("CARGO_BIN_EXE_heddle")).args(arguments).arg("--app").arg(&self.folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join("components").join(file)).unwrap()
    }

    /// Writes the sources. For Rust and Go, the types come from the generated code.
    fn sources(&self) {
        let (fakes, api) = (self.text("rust/heddle/fakes.rs"), self.text("go/heddle/component.go"));
        let mut rust = "heddle_sdk::component!(Echo);\n\nstruct Echo;\n".to_owned();
        let mut go = "package main\n\nimport (\n\t\"components/go/heddle\"\n\t\"components/go/heddle/contracts\"\n)\n\nfunc init() { heddle.Export(Echo{}) }\nfunc main()  {}\n\ntype Echo struct{}\n".to_owned();
        let mut javascript = "import * as heddle from \"#heddle\";\n".to_owned();
        let mut python = "import heddle\n".to_owned();
        for topic in self.schemas.keys() {
            let upper = topic.to_uppercase();
            let taken = behind(&fakes, &format!("pub mod emit_{topic}_out {{"), "pub fn send(value: ", ")");
            let (owned, reference) = (taken.trim_start_matches('&'), if taken.starts_with('&') { "&" } else { "" });
            let _ = writeln!(
                rust,
                "\nimpl on_{topic}::Guest for Echo {{\n    fn handle(event: {owned}) -> Result<(), Failure> {{\n        emit_{topic}_out::send({reference}event);\n        Ok(())\n    }}\n}}"
            );
            let ty = behind(&api, "type Component interface", &format!("\tOn{upper}(event "), ")");
            let _ = writeln!(
                go,
                "\nfunc (Echo) On{upper}(event {ty}) error {{\n\theddle.Emit{upper}Out.Send(event)\n\treturn nil\n}}"
            );
            let _ =
                writeln!(javascript, "export function on{upper}(event) {{\n  heddle.emit{upper}Out.send(event);\n}}");
            let _ = writeln!(python, "\n\ndef on_{topic}(event):\n    heddle.emit_{topic}_out.send(event)");
        }
        write(&self.component("rust").join("src/lib.rs"), &rust);
        write(&self.component("go").join("main.go"), &go);
        write(&self.component("javascript").join("src/index.js"), &javascript);
        write(&self.component("python").join("app.py"), &python);
    }

    /// Checks that values pass through the component of a language unchanged.
    fn echo(&self, language: &str) {
        let wasm = fs::read(self.component(language).join(format!("{language}.wasm"))).unwrap();
        let number = |topic: &str| 1 + topic[1..].trim_end_matches("-out").parse::<u32>().unwrap();
        let subjects = self.schemas.keys().flat_map(|topic| [format!("{topic}-value"), format!("{topic}-out-value")]);
        let ids = subjects.map(|subject| (subject.clone(), number(subject.trim_end_matches("-value"))));
        let ids = ids.collect::<Vec<_>>();
        let component = guests::load(language, &wasm, ids.iter().map(|(subject, id)| (subject.as_str(), *id))).unwrap();
        let known = Known::of(self.schemas.iter().map(|(topic, schema)| (number(topic), schema.clone())));
        let mut instance = Instance::new(Arc::new(component), known);
        let spec = TaskSpec::stateless("hostile.echo".into(), FailurePolicy::in_place(1, "dlq"));
        let mut task = Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless));
        for (topic, schema) in &self.schemas {
            for seed in 0..VALUES {
                let Some(value) = values::value(schema, seed) else { continue };
                let framed = [&[0], number(topic).to_be_bytes().as_slice(), &value].concat();
                let record = Record {
                    source: TopicPartition::new(topic.as_str(), 0),
                    offset: Offset(seed.cast_signed()),
                    timestamp: Timestamp(0),
                    key: None,
                    value: Some(Bytes::from(framed.clone())),
                    headers: vec![],
                };
                let step = task.step_at_once(&record, &mut instance, &mut OpenBatch::default(), Timestamp(0)).unwrap();
                let [out] = step.writes.as_slice() else { panic!("{language}, {topic}: one record: {step:?}") };
                assert_eq!(&*out.topic, format!("{topic}-out"), "{language}, value {seed}: {:?}", out.headers);
                assert_eq!(
                    out.value.as_deref(),
                    Some(framed.as_slice()),
                    "{language}, {topic}, value {seed}\n{}",
                    schema.json()
                );
            }
        }
    }
}

/// The text between `begins` and `ends`, after `place`.
fn behind<'t>(text: &'t str, place: &str, begins: &str, ends: &str) -> &'t str {
    let (_, rest) = text.split_once(place).unwrap_or_else(|| panic!("there is no `{place}`"));
    let (_, rest) = rest.split_once(begins).unwrap_or_else(|| panic!("there is no `{begins}` behind `{place}`"));
    rest.split_once(ends).unwrap().0
}

#[test]
fn code_generated_for_hostile_names_compiles_and_carries_values() {
    for batch in 0..scaled(1, 10) {
        let app = App::new(batch * 1_000);
        app.heddle(&["build", "--wit-only"]);
        app.sources();
        app.heddle(&["build"]);
        LANGUAGES.iter().for_each(|language| app.echo(language));
    }
}
