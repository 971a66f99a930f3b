//! Real JSON Schemas with payloads, from Kafka topics, webhooks and tools, and the official test suite. Each payload is
//! read or refused as PyPI's `jsonschema` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use heddle::build::{AppContracts, generated, world_files};
use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::Schema;
use heddle_contract::format::json_schema::nodes::Node;
use heddle_contract::format::json_schema::reader::Reader;
use heddle_contract::format::json_schema::types::Types;
use heddle_contract::format::shape::{Shape, Shapes};
use heddle_contract::wit::Names;
use serde::Deserialize;
use serde_json::Value;

use super::{LANGUAGES, fetched, manifest};

/// The packages, and the least number of topics whose values are types in each.
const PACKAGES: [(&str, usize); 11] = [
    ("anitya", 15),
    ("asyncapi", 0),
    ("check", 15),
    ("cucumber", 1),
    ("gcn", 39),
    ("github", 44),
    ("nbformat", 8),
    ("ocpp", 97),
    ("shopify", 212),
    ("suite", 240),
    ("vega", 0),
];

/// A payload, and the verdict of another validator.
#[derive(Deserialize)]
struct Case {
    file: String,
    #[serde(rename = "type")]
    ty: Option<String>,
    #[serde(skip)]
    payload: String,
    valid: bool,
}

impl Case {
    /// The case of a line. Its payload stays as it is written.
    fn of(line: &str) -> Self {
        let payload = Reader::of_text(line).member("payload").unwrap().unwrap().raw(0).unwrap().to_owned();
        Self { payload, ..serde_json::from_str(line).unwrap() }
    }
}

/// Reads and writes the values of one schema as components do.
struct Codec {
    schema: Schema,
    decoder: Decoder,
    encoder: Encoder,
    is_typed: bool,
}

impl Codec {
    fn of(contracts: &AppContracts, file: &str, ty: Option<&str>) -> Result<Self, String> {
        let subject = file.strip_suffix(".json").unwrap();
        let schema = contracts.get(subject).ok_or("it was not read")?.clone();
        let schema = ty.map_or(Ok(schema.clone()), |ty| schema.with_type(ty))?;
        if let Some(problem) = schema.inexpressible().first() {
            return Err(problem.to_string());
        }
        let shapes = Arc::new(Shapes::of(&schema));
        let is_typed = !matches!(shapes.get(shapes.root()), Shape::Json(_));
        let decoder = Decoder::new(&schema, &schema, shapes.clone());
        Ok(Self { encoder: Encoder::new(schema.clone(), shapes), schema, decoder, is_typed })
    }

    fn types(&self) -> &Types {
        let Schema::JsonSchema(schema) = &self.schema else { panic!("no JSON Schema") };
        schema.types()
    }
}

/// Returns true if `after` is what a component can keep of `before`: all but members that its type does not name, and
/// nulls of members that may be absent.
fn is_kept(types: &Types, node: &Node, before: &Value, after: &Value) -> bool {
    let within = |node: usize, before: &Value, after: &Value| is_kept(types, &types.nodes[node], before, after);
    match (node, before, after) {
        (Node::Option { some, .. }, before, after) if !before.is_null() => within(*some, before, after),
        (Node::List(item), Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| within(*item, a, b))
        }
        (Node::Map(value), Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| within(*value, a, b)))
        }
        (Node::Variant(variant), Value::Object(a), _) => {
            let case = a.get(&variant.discriminator).and_then(Value::as_str);
            let found = variant.cases.iter().find(|(name, _)| Some(name.as_str()) == case);
            found.is_some_and(|(_, node)| within(*node, before, after))
        }
        (Node::Record(record), Value::Object(a), Value::Object(b)) => {
            let is_known = |name: &String| record.find(name, 0).is_some() && a.contains_key(name);
            b.keys().all(is_known)
                && a.iter().all(|(name, a)| match (record.find(name, 0), b.get(name)) {
                    (None, after) => after.is_none() && !record.is_closed,
                    (Some(_), None) => a.is_null(),
                    (Some(at), Some(b)) => match record.properties[at].slot {
                        Some(_) => within(record.properties[at].node, a, b),
                        None => a == b,
                    },
                })
        }
        (_, before, after) => is_same(before, after),
    }
}

/// Returns true if both are the same, whatever way numbers are written.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Returns the mistake in how a case is read, if there is one.
fn wrong(codec: &Codec, case: &Case) -> Option<String> {
    let bytes = case.payload.as_bytes();
    let value = match (codec.decoder.decode(bytes), case.valid) {
        (Err(_), false) => return None,
        (Ok(_), false) => return Some("it is read, and is not valid".to_owned()),
        // A schema that lists properties means objects, whether it says so or not.
        (Err(error), true) if error.to_string().contains("where an object belongs") => return None,
        (Err(error), true) => return Some(format!("it is refused, and valid: {error}")),
        (Ok(value), true) => value,
    };
    let mut written = vec![];
    if let Err(misfit) = codec.encoder.encode(&value, &mut written) {
        return Some(format!("it cannot be written again: {misfit}"));
    }
    let (before, after) = (serde_json::from_slice(bytes).unwrap(), serde_json::from_slice(&written).unwrap());
    let is_kept = is_kept(codec.types(), codec.types().root(), &before, &after);
    (!is_kept).then(|| format!("it is written as {after}"))
}

/// The contracts of a package; its topics become one world.
fn contracts(folder: &Path, files: &BTreeSet<String>) -> AppContracts {
    let contracts = AppContracts::read(&folder.join("contracts"));
    let contracts = contracts.unwrap_or_else(|e| panic!("{}: {e:?}", folder.display()));
    if folder.ends_with("suite") {
        // No component has a thousand topics.
        return contracts;
    }
    let topics = files.iter().map(|file| file.strip_suffix("-value.json").unwrap().to_owned()).collect();
    let (files, _) = world_files(&manifest("rust", &topics), &contracts, &Names::default())
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    assert!(!files.is_empty());
    for language in LANGUAGES {
        generated(folder, &manifest(language, &topics), &contracts)
            .unwrap_or_else(|e| panic!("{}, {language}: {e}", folder.display()));
    }
    contracts
}

#[test]
fn real_payloads_are_read_and_refused_as_another_validator_does() {
    let corpora = fetched("fetch-json-schemas");
    let (mut problems, mut report) = (vec![], vec![]);
    for (package, typed_min) in PACKAGES {
        let folder = corpora.join(package);
        let text = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
        let cases = text.lines().map(Case::of).collect::<Vec<_>>();
        let contracts = contracts(&folder, &cases.iter().map(|case| case.file.clone()).collect());
        let (mut codecs, mut valid) = (BTreeMap::new(), 0);
        for case in &cases {
            let key = (case.file.clone(), case.ty.clone());
            let codec = codecs.entry(key).or_insert_with(|| Codec::of(&contracts, &case.file, case.ty.as_deref()));
            valid += usize::from(case.valid);
            let wrong = match codec {
                Ok(codec) => wrong(codec, case),
                Err(what) => Some(what.clone()),
            };
            if let Some(what) = wrong {
                let payload = case.payload.chars().take(300).collect::<String>();
                problems.push(format!("{package}/{} {:?}: {what}\n    {payload}", case.file, case.ty));
            }
        }
        let typed = codecs.values().filter(|codec| codec.as_ref().is_ok_and(|codec| codec.is_typed)).count();
        report.push(format!("{package}: {typed} of {} types, {valid} of {} valid", codecs.len(), cases.len()));
        assert!(typed >= typed_min, "{package}: {typed}");
    }
    println!("{}", report.join("\n"));
    let shown = problems.iter().take(40).cloned().collect::<Vec<_>>();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), shown.join("\n"));
}
