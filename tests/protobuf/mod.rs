//! Protobuf between the wire and a component's values, compared with `prost-reflect`, which reads and writes messages
//! by separate code.

mod components;
pub(crate) mod dice;
mod types;

use std::sync::Arc;

use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::protobuf::indexes;
use heddle_contract::format::protobuf::wire::{Reader, Wire, write_bytes, write_tag, write_varint};
use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{self, DecodeError, Entry, Plan, Referred, Schema, protobuf};
use heddle_contract::identify::IdPath;
use heddle_contract::section::SchemaFormat;
use heddle_fixtures::scaled;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::json;
use wasmtime::component::Val;

use self::dice::Dice;

const EVERYTHING: &str = include_str!("everything.proto");
const LEGACY: &str = include_str!("legacy.proto");

fn schema(text: &str) -> Schema {
    schema_with(text, &[])
}

fn schema_with(text: &str, imports: &[Referred]) -> Schema {
    format::parse(&Entry::new(SchemaFormat::Protobuf, text), imports).unwrap()
}

fn root(schema: &Schema) -> MessageDescriptor {
    let Schema::Protobuf(schema) = schema else { panic!("no Protobuf") };
    schema.root().unwrap()
}

/// Reads and writes values of one schema as components do.
struct Codec {
    decoder: Decoder,
    encoder: Encoder,
    root: MessageDescriptor,
}

impl Codec {
    fn of(schema: &Schema) -> Self {
        let shapes = Arc::new(Shapes::of(schema));
        let decoder = Decoder::new(schema, schema, shapes.clone());
        Self { decoder, encoder: Encoder::new(schema.clone(), shapes), root: root(schema) }
    }

    /// The message behind its indexes, read by `prost-reflect`.
    fn oracle(&self, bytes: &[u8]) -> DynamicMessage {
        let mut reader = Reader::new(bytes);
        indexes::read(&mut reader).unwrap();
        DynamicMessage::decode(self.root.clone(), reader.rest()).unwrap()
    }

    fn again(&self, bytes: &[u8]) -> Vec<u8> {
        let value = self.decoder.decode(bytes).unwrap_or_else(|e| panic!("{e}: {bytes:?}"));
        let mut written = vec![];
        self.encoder.encode(&value, &mut written).unwrap();
        written
    }
}

/// Fails if two values are not the same message. Descriptors of recursive messages cannot be printed.
fn assert_same(codec: &Codec, a: &[u8], b: &[u8], seed: u64) {
    let json = |bytes: &[u8]| serde_json::to_string(&codec.oracle(bytes)).unwrap_or_else(|e| e.to_string());
    assert!(codec.oracle(a) == codec.oracle(b), "seed {seed}:\n{}\n{}\n{a:?}\n{b:?}", json(a), json(b));
}

/// A message behind the indexes of the first of a file.
fn framed(message: &DynamicMessage) -> Vec<u8> {
    [vec![0], message.encode_to_vec()].concat()
}

/// The same message with its top-level fields in another order.
fn shuffled(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (mut reader, mut fields) = (Reader::new(bytes), vec![]);
    loop {
        let start = bytes.len() - reader.rest().len();
        let Some(tag) = reader.tag().unwrap() else { break };
        reader.skip(tag).unwrap();
        fields.push((tag.number, bytes[start..bytes.len() - reader.rest().len()].to_vec()));
    }
    // Those of one number keep their order, for it means something.
    let mut order = fields.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    order.sort_by_cached_key(|_| dice.next());
    let mut out = vec![];
    for number in order {
        let next = fields.iter().position(|(other, _)| *other == number).unwrap();
        out.extend(fields.remove(next).1);
    }
    out
}

#[test]
fn messages_are_read_and_written_as_prost_reflect_does() {
    for text in [EVERYTHING, LEGACY] {
        let schema = schema(text);
        assert_eq!(schema.inexpressible(), []);
        let codec = Codec::of(&schema);
        let mut place = Val::Bool(false);
        for seed in 0..scaled(2_000, 50_000) {
            let mut dice = Dice(seed);
            let message = dice.message(&codec.root, 0);
            let bytes = framed(&message);
            let written = codec.again(&bytes);
            assert_same(&codec, &written, &bytes, seed);
            // The same value has the same bytes, whatever order it came in.
            let other = [vec![2, 0], shuffled(&bytes[1..], &mut dice)].concat();
            assert_eq!(codec.again(&other), written, "seed {seed}");
            // A value does not depend on the earlier value whose memory it reuses.
            codec.decoder.decode_into(&other, &mut place).unwrap();
            assert_eq!(format!("{place:?}"), format!("{:?}", codec.decoder.decode(&bytes).unwrap()), "seed {seed}");
        }
    }
}

#[test]
fn messages_that_come_in_parts_are_one() {
    let codec = Codec::of(&schema(EVERYTHING));
    for seed in 0..scaled(1_000, 20_000) {
        let mut dice = Dice(seed);
        let parts = [dice.message(&codec.root, 0), dice.message(&codec.root, 0)];
        let bytes = [vec![0], parts[0].encode_to_vec(), parts[1].encode_to_vec()].concat();
        let written = codec.again(&bytes);
        assert_same(&codec, &written, &bytes, seed);
    }
}

#[test]
fn json_and_back_is_the_same_message() {
    for text in [EVERYTHING, LEGACY] {
        let schema = schema(text);
        let codec = Codec::of(&schema);
        for seed in 0..scaled(500, 20_000) {
            let message = Dice(seed).message(&codec.root, 0);
            let bytes = framed(&message);
            // Not all values of the types with a JSON of their own can be JSON.
            let Ok(value) = schema.decode(&bytes) else { continue };
            let mut written = vec![];
            schema.encode(&value, &mut written).unwrap();
            assert_same(&codec, &written, &bytes, seed);
            assert_eq!(codec.again(&written), written, "seed {seed}");
        }
    }
}

#[test]
fn no_bytes_panic_or_take_more_memory_than_their_size_allows() {
    fn count(value: &Val) -> usize {
        1 + match value {
            Val::List(items) | Val::Tuple(items) => items.iter().map(count).sum(),
            Val::Record(fields) => fields.iter().map(|(_, value)| count(value)).sum(),
            Val::Option(Some(value)) | Val::Variant(_, Some(value)) => count(value),
            _ => 0,
        }
    }
    for text in [EVERYTHING, LEGACY] {
        let codec = Codec::of(&schema(text));
        for seed in 0..scaled(20_000, 1_000_000) {
            let mut dice = Dice(seed);
            let mut bytes = match dice.below(4) {
                0 => (0..dice.below(64)).map(|_| dice.next() as u8).collect(),
                _ => framed(&dice.message(&codec.root, 0)),
            };
            for _ in 0..dice.below(4) {
                let place = dice.below(bytes.len() as u64 + 1) as usize;
                match dice.below(3) {
                    0 => bytes.truncate(place),
                    1 => bytes.insert(place, dice.next() as u8),
                    _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = dice.next() as u8),
                }
            }
            let decoded = codec.decoder.decode(&bytes);
            if let Ok(value) = &decoded {
                assert!(count(value) <= 1_000 + 100 * bytes.len(), "seed {seed}");
                // What is read can be written, and is the same when it is read again.
                let mut written = vec![];
                codec.encoder.encode(value, &mut written).unwrap();
                assert_eq!(format!("{:?}", codec.decoder.decode(&written).unwrap()), format!("{value:?}"));
            }
            let mut reader = Reader::new(&bytes);
            let first = indexes::read(&mut reader).is_ok_and(|indexes| indexes == [0]);
            if let (true, Ok(message)) = (first, DynamicMessage::decode(codec.root.clone(), reader.rest())) {
                // What `prost-reflect` reads is read, but for fields that are required and missing, JSON that is not
                // valid, and the wire type of a map, which it does not check.
                let is_excepted = match &decoded {
                    Err(DecodeError::Protobuf(protobuf::DecodeError::Missing(_))) => true,
                    Err(DecodeError::Protobuf(protobuf::DecodeError::WireType { field, .. })) => {
                        codec.root.get_field_by_name(field).is_none_or(|field| field.is_map())
                    }
                    _ => false,
                };
                assert!(decoded.is_ok() || is_excepted || has_text(&message), "seed {seed}: {decoded:?}");
            }
        }
    }
}

/// Returns true if the message has fields that are JSON for a component.
fn has_text(message: &DynamicMessage) -> bool {
    ["anything", "tree", "trees", "chosen_tree"].iter().any(|name| message.has_field_by_name(name))
}

#[test]
fn many_empty_messages_are_refused_before_they_fill_the_memory() {
    let schema = schema(
        "syntax = \"proto3\"; message Many { repeated Wide wide = 1; } message Wide { \
         int32 a = 1; int32 b = 2; int32 c = 3; int32 d = 4; int32 e = 5; int32 f = 6; int32 g = 7; int32 h = 8; \
         int32 i = 9; int32 j = 10; int32 k = 11; int32 l = 12; int32 m = 13; int32 n = 14; int32 o = 15; }",
    );
    let codec = Codec::of(&schema);
    let mut bytes = vec![0];
    (0..300_000).for_each(|_| bytes.extend([10, 0]));
    let refused = codec.decoder.decode(&bytes).unwrap_err().to_string();
    assert!(refused.contains("takes too much memory"), "{refused}");
    // A few thousand are fine, however little they say.
    codec.decoder.decode(&bytes[..4_001]).unwrap();
}

#[test]
fn unknown_fields_are_passed_over_and_lost() {
    let old = schema("syntax = \"proto3\"; package p; message A { string a = 1; }");
    let new = schema(
        "syntax = \"proto3\"; package p; message First {} message A { string a = 1; B b = 2; repeated int32 c = 3; } \
         message B { string text = 1; }",
    );
    let root = root(&schema_of(&new, "p.A"));
    let message = DynamicMessage::deserialize(root, json!({"a": "x", "b": {"text": "y"}, "c": [1, 2]})).unwrap();
    // In the writer's file it is the second message.
    let bytes = [vec![2, 2], message.encode_to_vec()].concat();
    let shapes = Arc::new(Shapes::of(&old));
    let decoder = Decoder::new(&new, &old, shapes.clone());
    let value = decoder.decode(&bytes).unwrap();
    assert_eq!(value, Val::Record(vec![("a".to_owned(), Val::String("x".to_owned()))]));
    let mut written = vec![];
    Encoder::new(old, shapes).encode(&value, &mut written).unwrap();
    assert_eq!(written, [0, 10, 1, b'x']);
    // The first message of the writer's file is another one.
    assert!(decoder.is_of_unknown_type(&[0, 10, 1, b'x']));
    let refused = decoder.decode(&[0, 10, 1, b'x']).unwrap_err().to_string();
    assert_eq!(refused, "it is another message than p.A: its indexes are [0]");
}

fn schema_of(schema: &Schema, message: &str) -> Schema {
    schema.with_type(message).unwrap()
}

#[test]
fn a_number_that_means_something_else_for_the_writer_is_never_guessed() {
    let reader = schema("syntax = \"proto3\"; message A { int32 a = 1; string b = 2; }");
    let writer = schema("syntax = \"proto3\"; message A { sint32 a = 1; string b = 2; }");
    let decoder = Decoder::new(&writer, &reader, Arc::new(Shapes::of(&reader)));
    assert_eq!(decoder.plan().mismatches().len(), 1);
    let refused = decoder.decode(&[0, 8, 1]).unwrap_err().to_string();
    assert_eq!(refused, "the writer's field `a` is of another type");
    // If the field is absent, nothing is wrong.
    decoder.decode(&[0, 18, 1, b'x']).unwrap();
}

#[test]
fn wider_numbers_are_read_as_protobuf_does() {
    let reader = schema("syntax = \"proto3\"; message A { int64 a = 1; uint32 b = 2; bool c = 3; bytes d = 4; }");
    let writer = schema("syntax = \"proto3\"; message A { int32 a = 1; int64 b = 2; int32 c = 3; string d = 4; }");
    let decoder = Decoder::new(&writer, &reader, Arc::new(Shapes::of(&reader)));
    assert_eq!(decoder.plan().mismatches(), []);
    let mut bytes = vec![0];
    for (number, value) in [(1, u64::MAX), (2, (1 << 40) + 5), (3, 2)] {
        write_tag(number, Wire::Varint, &mut bytes);
        write_varint(value, &mut bytes);
    }
    write_tag(4, Wire::Delimited, &mut bytes);
    write_bytes(b"xy", &mut bytes);
    let Val::Record(fields) = decoder.decode(&bytes).unwrap() else { panic!() };
    let values = fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values[..3], [Val::S64(-1), Val::U32(5), Val::Bool(true)]);
}

#[test]
fn a_schema_that_no_type_can_express_is_refused_with_its_path() {
    let refused = |text: &str| {
        let schema = schema(text);
        schema.inexpressible().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let any = refused(
        "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; message A { B b = 1; } \
         message B { repeated google.protobuf.Any all = 1; }",
    );
    assert!(any.starts_with("at `A.b.all`: it is a google.protobuf.Any"), "{any}");
    let group = refused("syntax = \"proto2\"; message A { repeated group Item = 1 { optional string a = 1; } }");
    assert!(group.starts_with("at `A.item`: it is a group"), "{group}");
    let extensions = refused("syntax = \"proto2\"; message A { optional B b = 1; } message B { extensions 10 to 20; }");
    assert!(extensions.starts_with("at `A.b`: the message has extensions"), "{extensions}");
}

#[test]
fn ids_are_found_without_building_the_value() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/wrappers.proto\"; package p; message A { B b = 1; \
        oneof which { string name = 2; int64 number = 3; } google.protobuf.StringValue wrapped = 4; Kind kind = 5; \
        double real = 6; repeated string all = 7; } message B { string id = 1; uint64 n = 2; } \
        enum Kind { NONE = 0; SOME = 1; }";
    let schema = schema(text);
    let plan = Plan::of(&schema, &schema);
    let found = |path: &str, value: serde_json::Value| {
        let path = path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let path = IdPath::of("t", Some(&schema), &path).map_err(|e| e.to_string())?;
        let mut bytes = vec![];
        schema.encode(&value, &mut bytes).unwrap();
        let id = path.find(&plan, &bytes).map_err(|e| e.to_string())?;
        Ok::<_, String>(id.map(|id| String::from_utf8(id.into_owned()).unwrap()))
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(found("b.id", json!({"b": {"id": "x"}})), some("x"));
    assert_eq!(found("b.n", json!({"b": {"n": "18446744073709551615"}})), some("18446744073709551615"));
    // A zero is not written, so it distinguishes no messages.
    assert_eq!(found("b.n", json!({"b": {"n": 0}})), Ok(None));
    assert_eq!(found("b.id", json!({})), Ok(None));
    assert_eq!(found("name", json!({"name": ""})), some(""));
    assert_eq!(found("name", json!({"number": 3})), Ok(None));
    assert_eq!(found("wrapped", json!({"wrapped": "w"})), some("w"));
    assert_eq!(found("kind", json!({"kind": "SOME"})), some("SOME"));
    for wrong in ["real", "all", "b", "c", "b.id.x"] {
        found(wrong, json!({})).unwrap_err();
    }
}

#[test]
fn imports_become_types() {
    let money = Referred {
        name: "shop/money.proto".to_owned(),
        text: "syntax = \"proto3\"; package shop; message Money { string currency = 1; int64 units = 2; }".to_owned(),
    };
    let text = "syntax = \"proto3\"; package shop; import \"shop/money.proto\"; message Order { Money total = 1; }";
    let schema = schema_with(text, std::slice::from_ref(&money));
    assert_eq!(schema.imports(), [money]);
    let codec = Codec::of(&schema);
    let mut bytes = vec![];
    schema.encode(&json!({"total": {"currency": "EUR", "units": "5"}}), &mut bytes).unwrap();
    assert_eq!(codec.again(&bytes), bytes);
}
