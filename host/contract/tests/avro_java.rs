//! Compatibility and resolution against Apache Avro for Java, over generated schemas, values and broken bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generate;
mod java;

use generate::{Dice, changed, schema};
use heddle_contract::format::avro::binary::Reader;
use heddle_contract::format::avro::compat::problems;
use heddle_contract::format::avro::read;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{Schema, json, parse};
use heddle_fixtures::scaled;
use java::Java;
use serde_json::{Value, json};

/// The number of pairs of schemas, which `HEDDLE_TEST_CASES` overrides.
fn cases(default: u64) -> u64 {
    std::env::var("HEDDLE_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A reader and a writer. Mostly, one is a changed copy of the other; sometimes, they are unrelated.
fn pair(seed: u64) -> (Value, Value) {
    let mut dice = Dice::new(seed);
    let one = schema(&mut dice);
    let other = if dice.one_in(8) { schema(&mut dice) } else { changed(&mut dice, &one) };
    if dice.one_in(2) { (one, other) } else { (other, one) }
}

#[test]
fn verdicts_are_those_of_java() {
    let mut java = Java::start();
    let (mut told, mut wrong) = ([0u64; 3], vec![]);
    let seeds = (0..cases(scaled(2_000, 6_000))).collect::<Vec<_>>();
    for seeds in seeds.chunks(1_000) {
        let pairs = seeds.iter().map(|seed| pair(*seed)).collect::<Vec<_>>();
        let questions =
            pairs.iter().map(|(reader, writer)| json!({"ask": "compat", "reader": reader, "writer": writer}));
        let answers = java.ask(&questions.collect::<Vec<_>>());
        for ((seed, (reader, writer)), answer) in seeds.iter().zip(&pairs).zip(answers) {
            let ours =
                parse("reader", &reader.to_string()).and_then(|r| Ok((r, parse("writer", &writer.to_string())?)));
            let ours = ours.map(|(reader, writer)| problems(&reader, &writer));
            let theirs = match (answer["compatible"].as_bool(), answer["error"].as_str()) {
                (Some(compatible), _) => Ok(compatible),
                // Java throws if a field could match several of the writer's, so no value can be read.
                (None, Some(error)) if error.contains("matches multiple fields") => Ok(false),
                (None, error) => Err(error.map(str::to_owned)),
            };
            match (&ours, &theirs) {
                (Ok(problems), Ok(compatible)) if problems.is_empty() == *compatible => {
                    told[usize::from(*compatible)] += 1;
                }
                (Err(_), Err(_)) => told[2] += 1,
                // Java accepts any text for an enum's default within another default, but Heddle requires a symbol.
                (Err(error), Ok(_)) if error.to_string().contains("does not fit the type") => told[2] += 1,
                // It also accepts the same type defined twice in the same way,
                (Err(error), Ok(_)) if error.to_string().contains("is defined twice") => told[2] += 1,
                (Err(error), Ok(_)) if error.to_string().contains("which writer defines diff") => told[2] += 1,
                (Err(error), Ok(_)) if error.to_string().contains("which reader defines diff") => told[2] += 1,
                // and fails on a record in the default of its own field.
                (Ok(_), Err(Some(error))) if error.contains("Schema fields not set yet") => told[2] += 1,
                _ => wrong
                    .push(format!("seed {seed}: ours {ours:?}, Java {theirs:?}\n  reader {reader}\n  writer {writer}")),
            }
        }
    }
    let [no, yes, neither] = told;
    println!("{yes} compatible, {no} not, {neither} no schemas");
    assert!(wrong.is_empty(), "{} of {told:?}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(yes > no / 10 && no > yes / 10 && neither < (yes + no) / 2, "{told:?}");
}

/// Unusual parts, each within a record. Heddle accepts everything that Java accepts. Heddle may accept more, such as
/// unusual characters in namespaces, since 1.12.
fn odd_schemas() -> Vec<Value> {
    let enumeration = |name: &str, symbols: Value| json!({"type": "enum", "name": name, "symbols": symbols});
    let record = |name: &str, fields: Value| json!({"type": "record", "name": name, "fields": fields});
    let fixed = |size: u32| json!({"type": "fixed", "name": "a.F", "size": size});
    let point = record("a.Point", json!([{"name": "x", "type": ["null", {"type": "array", "items": "int"}]}]));
    let mut types = vec![
        json!("null"),
        json!([]),
        json!(["null"]),
        json!(["string"]),
        enumeration("E", json!([])),
        record("R", json!([])),
    ];
    for name in
        ["größe", "2nd", "a-b", "a$b", "中国", "_", "a.2.b", "a.b-c.d", "x.$.y", "String", "a b", "e\u{301}", "x²"]
    {
        types.push(record(name, json!([])));
        types.push(enumeration("Symbols", json!([name])));
        types.push(record("Fields", json!([{"name": name, "type": "int"}])));
        types.push(json!({"type": "fixed", "name": "F", "namespace": name, "size": 1}));
    }
    let pairs = [
        [point.clone(), point.clone()],
        [point, record("a.Point", json!([{"name": "y", "type": "int"}]))],
        [enumeration("K", json!(["A"])), enumeration("K", json!(["A"]))],
        [enumeration("K", json!(["A"])), enumeration("K", json!(["B"]))],
        [fixed(2), fixed(2)],
        [fixed(2), fixed(3)],
        [json!({"type": "int", "logicalType": "decimal"}), json!({"type": "string", "logicalType": 7})],
    ];
    let within = |types: &[Value]| {
        let field = |(place, ty): (usize, &Value)| json!({"name": format!("f{place}"), "type": ty});
        record("Root", types.iter().enumerate().map(field).collect())
    };
    let odd = types.iter().map(|ty| within(std::slice::from_ref(ty)));
    odd.chain(pairs.iter().map(|pair| within(pair))).collect()
}

#[test]
fn every_schema_that_java_reads_is_read() {
    let mut java = Java::start();
    let hostile = (0..scaled(300, 5_000)).map(heddle_fixtures::hostile::schema);
    let schemas = odd_schemas().into_iter().chain(hostile).collect::<Vec<_>>();
    let answers = java.ask(&schemas.iter().map(|schema| json!({"ask": "parse", "schema": schema})).collect::<Vec<_>>());
    let mut read = 0;
    for (schema, answer) in schemas.iter().zip(answers) {
        let ours = parse("schema", &schema.to_string());
        if answer["error"].is_null() {
            read += 1;
            assert!(ours.is_ok(), "{}\n{schema}", ours.unwrap_err());
        }
    }
    assert!(read > 100, "Java reads only {read} of {}", schemas.len());
}

/// Heddle's reading of the writer's bytes, as Avro JSON.
fn resolved(reader: &Schema, writer: &Schema, bytes: &[u8]) -> Result<Value, String> {
    let plan = resolve(writer, reader);
    let mut input = Reader::new(bytes);
    let value = read::json(&plan, plan.root(), reader, reader.root(), &mut input, 0).map_err(|e| e.to_string())?;
    input.finish().map_err(|e| e.to_string())?;
    Ok(json::strict(reader, reader.root(), value))
}

/// Returns true if two JSON values are the same Avro value. The digits of floats may differ.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            x == y || (x as f32) == (y as f32)
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

fn has_no_scalar(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(has_no_scalar),
        other => other.is_null(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Damaged bytes: truncated, changed, extended, or with a huge or negative number in them.
fn broken(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    const NUMBERS: [&[u8]; 6] = [
        &[0x01],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xfe, 0xff, 0xff, 0xff, 0x1f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xff; 12],
    ];
    let mut bytes = bytes.to_vec();
    let at = dice.below(bytes.len() + 1);
    match dice.below(4) {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] = dice.number() as u8,
        2 => drop(bytes.splice(at..at, NUMBERS[dice.below(NUMBERS.len())].iter().copied())),
        _ => bytes.push(dice.number() as u8),
    }
    bytes
}

#[test]
fn values_are_read_as_java_reads_them() {
    let mut java = Java::start();
    let seeds = (1_000_000..1_000_000 + cases(1_500)).collect::<Vec<_>>();
    let (mut read_alike, mut refused_alike, mut java_alone_refuses, mut ours_alone_refuses) = (0u64, 0u64, 0u64, 0u64);
    for seeds in seeds.chunks(500) {
        let mut pairs = vec![];
        for seed in seeds {
            let (reader, writer) = pair(*seed);
            let parsed = parse("r", &reader.to_string()).and_then(|r| Ok((r, parse("w", &writer.to_string())?)));
            if let Ok((r, w)) = parsed
                && problems(&r, &w).is_empty()
            {
                assert_eq!(resolve(&w, &r).mismatches(), [], "seed {seed}: compatible, so all can be read");
                pairs.push((*seed, reader, writer, r, w));
            }
        }
        let random = |seed: &u64, writer: &Value| json!({"ask": "random", "schema": writer, "count": 4, "seed": seed});
        let random = java.ask(&pairs.iter().map(|(seed, _, writer, ..)| random(seed, writer)).collect::<Vec<_>>());
        for ((seed, reader, writer, r, w), values) in pairs.iter().zip(random) {
            let mut dice = Dice::new(*seed);
            // A recursive schema may only allow endless values. Then there are none.
            let written = values["hex"].as_array().map(Vec::as_slice).unwrap_or_default();
            let written = written.iter().map(|hex| unhex(hex.as_str().unwrap())).filter(|bytes| bytes.len() < 20_000);
            let mut inputs = vec![];
            for bytes in written {
                inputs.extend((0..4).map(|_| (false, broken(&mut dice, &bytes))));
                inputs.push((true, bytes));
            }
            let question =
                |bytes: &[u8]| json!({"ask": "resolve", "reader": reader, "writer": writer, "hex": hex(bytes)});
            let answers = java.ask(&inputs.iter().map(|(_, bytes)| question(bytes)).collect::<Vec<_>>());
            for ((whole, bytes), answer) in inputs.iter().zip(answers) {
                let ours = resolved(r, w, bytes);
                // Java writes no text for values without a scalar.
                let json = |text: &str| match (text, &ours) {
                    ("", Ok(ours)) if has_no_scalar(ours) => ours.clone(),
                    _ => serde_json::from_str(text).unwrap_or(Value::Null),
                };
                let theirs = answer["value"].as_str().map(json);
                let case = || {
                    format!(
                        "seed {seed}: {}\n  reader {reader}\n  writer {writer}\n  ours {ours:?}\n  Java {answer}",
                        hex(bytes)
                    )
                };
                match (&ours, theirs) {
                    (Ok(ours), Some(theirs)) if same(ours, &theirs) && answer["end"] == true => read_alike += 1,
                    (Err(_), None) => refused_alike += 1,
                    // Java accepts bytes after the value, booleans of 2, ints of 33 bits and text that is not UTF-8.
                    (Err(_), Some(_)) if !whole => ours_alone_refuses += 1,
                    // Java converts any bytes to text if the reader has a string.
                    (Err(error), Some(_)) if error.contains("not UTF-8") || error.contains("nested deeper") => {
                        ours_alone_refuses += 1;
                    }
                    // Java renames the writer's fields by the reader's aliases, and then considers their defaults
                    // invalid.
                    (Ok(_), None) if answer["error"].as_str().unwrap().contains("Invalid default for field") => {
                        java_alone_refuses += 1;
                    }
                    // Within a union, Java finds enums and fixed types only by their full names, although it considers
                    // the pair compatible.
                    (Ok(_), None) if answer["error"].as_str().unwrap().contains("AvroTypeException: Found") => {
                        java_alone_refuses += 1;
                    }
                    _ => panic!("{}", case()),
                }
            }
        }
    }
    println!(
        "{read_alike} read alike, {refused_alike} refused by both, {java_alone_refuses} by Java, {ours_alone_refuses} by Heddle"
    );
    assert!(read_alike > 1_000 && refused_alike > 1_000, "{read_alike} {refused_alike}");
}

/// Every type of Avro in one record, and a record of types that other files define, in its registered form.
const WHOLE: [(&str, &str); 2] = [
    (
        r#"{"type":"record","name":"All","namespace":"t","fields":[
          {"name":"flag","type":"boolean"},{"name":"i","type":"int"},
          {"name":"l","type":{"type":"long","logicalType":"timestamp-millis"}},
          {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"b","type":"bytes"},
          {"name":"fx","type":{"type":"fixed","name":"Four","size":4}},
          {"name":"e","type":{"type":"enum","name":"Colour","symbols":["RED","GREEN"]}},
          {"name":"a","type":{"type":"array","items":"long"}},{"name":"m","type":{"type":"map","values":["null","Colour"]}},
          {"name":"u","type":["null","string","long",{"type":"record","name":"Inner","fields":[{"name":"x","type":"int"}]}]},
          {"name":"dec","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}},
          {"name":"next","type":["null","All"],"default":null}]}"#,
        r#"{"flag":true,"i":-7,"l":1700000000000,"f":1.5,"d":-0.1,"s":"\u00e4","b":"\u00ff\u0000","fx":"abcd","e":"GREEN",
          "a":[1,-1,9223372036854775807],"m":{"k":"RED"},"u":{"t.Inner":{"x":5}},"dec":"-12345678901234567.89","next":null}"#,
    ),
    (
        r#"{"type":"record","name":"Order","namespace":"a","fields":[
          {"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","namespace":"b","fields":[
            {"name":"unit","type":{"type":"enum","name":"Unit","symbols":["KG","PIECE"]}}]}}},{"name":"first","type":"b.Item"}]}"#,
        r#"{"items":[{"unit":"KG"}],"first":{"unit":"PIECE"}}"#,
    ),
];

#[test]
fn java_reads_what_we_write_and_writes_what_we_read() {
    let mut java = Java::start();
    for (text, value) in WHOLE {
        let (schema, value) = (parse("whole", text).unwrap(), value.parse::<Value>().unwrap());
        let mut bytes = vec![];
        json::encode(&schema, &value, &mut bytes).unwrap();
        let registered = schema.json().parse::<Value>().unwrap();
        let answers = java.ask(&[json!({"ask": "rewrite", "schema": registered, "hex": hex(&bytes)})]);
        assert_eq!(answers[0]["end"], true, "{answers:?}");
        let again = unhex(answers[0]["hex"].as_str().unwrap());
        assert_eq!(json::decode(&schema, &again).unwrap(), value);
    }
}
