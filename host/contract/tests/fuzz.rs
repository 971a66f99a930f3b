//! Bytes of all kinds through the plans of generated schemas. The result is an error or a value, never a panic, and
//! never a value that is far larger than its bytes. `HEDDLE_TEST_CASES` sets the number of cases, `HEDDLE_TEST_SEED`
//! the seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod generate;

use generate::{Dice, changed, schema};
use heddle_contract::format::avro::binary::{FREE_ITEMS_MAX, Reader};
use heddle_contract::format::avro::read;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{Schema, json, parse};
use serde_json::Value;

/// The number of inputs for each pair of schemas.
const INPUTS: u64 = 200;

fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

/// Numbers that often cause bugs: small counts, negative ones, the limits of their types.
fn bytes(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..dice.below(40) {
        match dice.below(8) {
            0 => bytes.extend([0xff; 9].into_iter().chain([0x01])),
            1 => bytes.extend([0xfe, 0xff, 0xff, 0xff, 0x0f]),
            2 => bytes.extend([0x01, 0xff, 0xff, 0x7f]),
            3..=5 => bytes.push((dice.number() % 8) as u8),
            _ => bytes.push(dice.number() as u8),
        }
    }
    bytes
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + size(value)).sum(),
        Value::String(text) => text.len(),
        _ => 0,
    }
}

fn parsed(schema: &Value) -> Option<Schema> {
    parse("schema", &schema.to_string()).ok()
}

#[test]
fn any_bytes_give_a_value_of_their_size_or_an_error() {
    let (mut values, mut errors, mut pairs) = (0u64, 0u64, 0u64);
    let first = asked("HEDDLE_TEST_SEED", 0);
    for seed in first..first + asked("HEDDLE_TEST_CASES", heddle_fixtures::scaled(50_000, 200_000)) / INPUTS {
        let mut dice = Dice::new(seed ^ 0x5eed_0000);
        let one = schema(&mut dice);
        let other = changed(&mut dice, &one);
        let (Some(reader), Some(writer)) = (parsed(&one), parsed(&other)) else { continue };
        let plan = resolve(&writer, &reader);
        pairs += 1;
        for _ in 0..INPUTS {
            let bytes = bytes(&mut dice);
            let mut input = Reader::new(&bytes);
            let read = read::json(&plan, plan.root(), &reader, reader.root(), &mut input, 0);
            // Text and names of fields come from the schema. Each item of a list takes a byte, or counts as free.
            let bound = (bytes.len() + FREE_ITEMS_MAX) * (one.to_string().len() + 64);
            match read {
                Ok(value) => {
                    values += 1;
                    assert!(size(&value) <= bound, "seed {seed}: {} of {bytes:?}", size(&value));
                }
                Err(_) => errors += 1,
            }
            let _ = json::decode(&writer, &bytes);
        }
    }
    println!("{pairs} pairs of schemas, {values} values, {errors} errors");
    assert!(values > pairs && errors > pairs, "{values} values, {errors} errors of {pairs} pairs");
}

#[test]
fn a_few_bytes_cannot_ask_for_much() {
    let nulls = parse("nulls", r#"{"type":"array","items":"null"}"#).unwrap();
    let many = |count: i64| {
        let mut bytes = vec![];
        heddle_contract::format::avro::binary::write_long(count, &mut bytes);
        bytes.push(0);
        json::decode(&nulls, &bytes).map(|value| value.as_array().unwrap().len()).map_err(|e| e.to_string())
    };
    assert_eq!(many(1_000), Ok(1_000));
    for count in [1 << 20, i64::MAX, i64::MIN] {
        assert!(many(count).is_err(), "{count}");
    }
}
