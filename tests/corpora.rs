//! Real schemas of third parties. They are registered and built to WIT and to the code of every language, and values
//! survive a round trip.

mod json_schema;
mod protobuf;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use heddle::build::{AppContracts, generated, world_files};
use heddle::guest::codec::{Decoder, Encoder};
use heddle::registry::format::{self, Entry};
use heddle::registry::{Embedded, Registry as _};
use heddle_contract::format::shape::Shapes;
use heddle_contract::manifest::Manifest;
use heddle_contract::section::SchemaFormat;
use heddle_contract::wit::Names;

use crate::support::build::repository;
use crate::support::values;

/// The packages, and the number of schema files in each.
const CORPORA: [(&str, usize); 2] = [("lsst-alert-packet", 93), ("acryl-datahub", 280)];
const LANGUAGES: [&str; 4] = ["rust", "javascript", "python", "go"];
/// The number of values for each schema.
const VALUES: u64 = 4;

/// The folder of the schemas that a script fetches.
fn fetched(script: &str) -> PathBuf {
    let path = repository().join("scripts").join(script);
    let fetched = Command::new("bash").arg(path).stderr(Stdio::inherit()).output().unwrap();
    assert!(fetched.status.success(), "this test needs real schemas, and scripts/{script} failed (see above)");
    String::from_utf8(fetched.stdout).unwrap().trim().into()
}

/// The schema files below a folder, grouped by folder. Files refer only to others in the same folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for path in glob::glob(&format!("{}/**/*.avsc", folder.display())).unwrap().map(Result::unwrap) {
        found.entry(path.parent().unwrap().to_owned()).or_default().push(path);
    }
    found
}

/// An app with these schema files, one topic for each.
fn app(files: &[PathBuf]) -> (tempfile::TempDir, BTreeSet<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut topics = BTreeSet::new();
    for file in files {
        let topic = file.file_stem().unwrap().to_str().unwrap().to_owned();
        std::fs::copy(file, folder.path().join(format!("{topic}-value.avsc"))).unwrap();
        topics.insert(topic);
    }
    (folder, topics)
}

fn manifest(language: &str, topics: &BTreeSet<String>) -> Manifest {
    let mut text = format!("[component]\nname = \"c\"\nlanguage = \"{language}\"\n");
    for topic in topics {
        let _ = writeln!(text, "[consumes.\"{topic}\"]\n[emits.\"{topic}\"]");
    }
    Manifest::parse(&text, "component.toml").unwrap()
}

/// Checks that values are the same after JSON, and after the types of a component.
fn assert_round_trips(contracts: &AppContracts, names: &Names) {
    for (subject, schema) in contracts.subjects() {
        let shapes = Arc::new(Shapes::named(schema, subject, names));
        let decoder = Decoder::new(schema, schema, shapes.clone());
        let encoder = Encoder::new(schema.clone(), shapes);
        for bytes in (0..VALUES).filter_map(|seed| values::value(schema.avro().unwrap(), seed)) {
            let mut again = vec![];
            schema.encode(&schema.decode(&bytes).unwrap(), &mut again).unwrap();
            assert_eq!(again, bytes, "{subject}, as JSON");
            again.clear();
            encoder.encode(&decoder.decode(&bytes).unwrap(), &mut again).unwrap();
            assert_eq!(again, bytes, "{subject}, as a component's value");
        }
    }
}

#[test]
fn real_schemas_are_registered_built_and_round_trip() {
    let corpora = fetched("fetch-schemas");
    for (corpus, count) in CORPORA {
        let (registry, mut seen) = (Embedded::mock(corpus), 0);
        for (folder, files) in files(&corpora.join(corpus)) {
            let (app, topics) = app(&files);
            let contracts = AppContracts::read(app.path()).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
            for (subject, schema) in contracts.subjects() {
                seen += 1;
                let subject = format!("{}/{subject}", folder.display());
                registry.register(&subject, schema.text()).unwrap_or_else(|e| panic!("{subject}: {e}"));
                format::parse(&Entry::new(SchemaFormat::Avro, schema.text()), &[]).unwrap();
            }
            let (_, names) = world_files(&manifest("rust", &topics), &contracts, &Names::default()).unwrap();
            for language in LANGUAGES {
                let manifest = manifest(language, &topics);
                generated(app.path(), &manifest, &contracts)
                    .unwrap_or_else(|e| panic!("{}, {language}: {e}", folder.display()));
            }
            assert_round_trips(&contracts, &names);
        }
        assert_eq!(seen, count, "{corpus}");
    }
}
