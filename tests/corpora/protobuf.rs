//! Google's own `.proto` files. Each message becomes a type, or there is a clear reason why not.

use std::sync::Arc;

use heddle::build::AppContracts;
use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{DecodeError, Schema, protobuf};
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;

use super::fetched;
use crate::protobuf::dice::Dice;

/// The number of files.
const FILES: usize = 63;
/// The number of values for each message.
const VALUES: u64 = 4;

/// The full names of all messages of a file.
fn messages(schema: &protobuf::Schema) -> Vec<String> {
    let mut names = schema.messages().iter().map(|message| message.full_name().to_owned()).collect::<Vec<_>>();
    names.sort();
    names
}

/// Checks that values are the same after JSON, and after the types of a component.
fn assert_round_trips(schema: &Schema, file: &str) {
    let Schema::Protobuf(parsed) = schema else { panic!("no Protobuf") };
    let (root, shapes) = (parsed.root().unwrap(), Arc::new(Shapes::of(schema)));
    let decoder = Decoder::new(schema, schema, shapes.clone());
    let encoder = Encoder::new(schema.clone(), shapes);
    let indexes = schema.indexes();
    for seed in 0..VALUES {
        let message = Dice(seed).message(&root, 0);
        let bytes = [indexes.clone(), message.encode_to_vec()].concat();
        let value = match decoder.decode(&bytes) {
            Ok(value) => value,
            // Not all values of what is JSON for a component can be JSON.
            Err(DecodeError::Protobuf(protobuf::DecodeError::Json(_))) => continue,
            Err(error) => panic!("{file}, {}: {error}", root.full_name()),
        };
        let mut again = vec![];
        encoder.encode(&value, &mut again).unwrap_or_else(|e| panic!("{file}, {}: {e}", root.full_name()));
        let read = |bytes: &[u8]| DynamicMessage::decode(root.clone(), &bytes[indexes.len()..]).unwrap();
        assert!(read(&again) == read(&bytes), "{file}, {}, seed {seed}", root.full_name());
    }
}

#[test]
fn files_of_google_become_types_or_say_why_not() {
    let source = fetched("fetch-schemas").join("googleapis-common-protos");
    let (mut files, mut typed, mut refused) = (0, 0, vec![]);
    for path in glob::glob(&format!("{}/**/*.proto", source.display())).unwrap().map(Result::unwrap) {
        // As a topic's file, beside the files that it imports.
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(source.join("google"), folder.path().join("google")).unwrap();
        std::fs::copy(&path, folder.path().join("topic-value.proto")).unwrap();
        let file = path.strip_prefix(&source).unwrap().display().to_string();
        let contracts = AppContracts::read(folder.path()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let schema = contracts.get("topic-value").unwrap();
        let Schema::Protobuf(parsed) = schema else { panic!("{file}: no Protobuf") };
        files += 1;
        for message in messages(parsed) {
            let schema = schema.with_type(&message).unwrap();
            match schema.inexpressible().first() {
                None => {
                    typed += 1;
                    assert_round_trips(&schema, &file);
                }
                Some(problem) => refused.push(format!("{file}, {message}: {problem}")),
            }
        }
    }
    assert_eq!(files, FILES);
    println!("{typed} messages are types, and {} are not:\n{}", refused.len(), refused.join("\n"));
    for problem in &refused {
        let is_clear = ["google.protobuf.Any", "a group", "extension"].iter().any(|what| problem.contains(what));
        assert!(is_clear && problem.contains("at `"), "{problem}");
    }
    assert!(typed > 100, "{typed}");
}
