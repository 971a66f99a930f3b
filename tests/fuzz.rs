//! Bytes of all kinds through the decoders of every format: random ones, and valid ones that were changed. Each gives a
//! value or an error, never a panic, and takes no more memory than bytes of its size may.
//!
//! It runs in a separate process, whose allocator it counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unsafe_code)] // An allocator cannot be written without.

#[allow(dead_code)] // it uses a part of them
#[path = "json_schema/dice.rs"]
mod json;
#[path = "protobuf/dice.rs"]
mod messages;
mod support {
    pub(crate) mod values;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use heddle::guest::codec::{Decoder, Encoder};
use heddle_contract::format::bounds::{FREE_MEMORY_BYTES_MAX, MEMORY_PER_BYTE_MAX};
use heddle_contract::format::shape::Shapes;
use heddle_contract::format::{self, Entry, Schema};
use heddle_contract::section::SchemaFormat;
use heddle_fixtures::scaled;
use prost_reflect::prost::Message as _;
use serde_json::{Value, json};

/// The memory that any value may take.
const FREE_BYTES_MAX: usize = 64 << 10;
/// The memory for each byte of a value. Two bytes of Protobuf are an empty message, and that is a record with all its
/// fields.
const PER_BYTE_MAX: usize = 1 << 10;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts the memory that each thread holds.
struct Counting;

fn count(added: usize, removed: usize) {
    // A thread that ends has no counters any more. One that frees the memory of others holds less than nothing.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + added.cast_signed() - removed.cast_signed());
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `run`. Returns its result, and the most memory that it held at once.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before).cast_unsigned())
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Random bytes, most of them small: counts, tags, and the ends of numbers.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = vec![];
        for _ in 0..self.below(48) {
            match self.below(8) {
                0 => bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]),
                1 => bytes.extend([0xff; 9].into_iter().chain([0x01])),
                2..=4 => bytes.push(self.below(32) as u8),
                _ => bytes.push(self.next() as u8),
            }
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let place = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, self.next() as u8),
                2 => {
                    let end = (place + self.below(16)).min(bytes.len());
                    let part = bytes[place..end].to_vec();
                    bytes.splice(place..place, part);
                }
                3 => drop(bytes.drain(place..(place + self.below(4)).min(bytes.len()))),
                _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = self.next() as u8),
            }
        }
    }
}

/// Decodes many bytes by one schema, and encodes what was read. Returns how many gave a value.
fn fuzz(schema: &Schema, cases: u64, valid: impl Fn(u64) -> Option<Vec<u8>>) -> u64 {
    let shapes = Arc::new(Shapes::of(schema));
    let decoder = Decoder::new(schema, schema, shapes.clone());
    let encoder = Encoder::new(schema.clone(), shapes);
    let (mut values, mut peak_per_byte) = (0, 0);
    for seed in 0..cases {
        let mut dice = Dice(seed);
        let mut bytes = if seed % 4 == 0 { None } else { valid(seed) }.unwrap_or_else(|| dice.bytes());
        if seed % 16 != 1 {
            dice.change(&mut bytes);
        }
        let (decoded, peak) = measured(|| decoder.decode(&bytes));
        let documented = 2 * (FREE_MEMORY_BYTES_MAX + MEMORY_PER_BYTE_MAX * bytes.len());
        let bound = documented.min(FREE_BYTES_MAX + PER_BYTE_MAX * bytes.len());
        assert!(peak <= bound, "seed {seed}: {peak} bytes for {}: {bytes:?}", bytes.len());
        peak_per_byte = peak_per_byte.max(peak / (bytes.len() + 64));
        let Ok(value) = decoded else { continue };
        values += 1;
        // What is written is the same when it is read and written again.
        let (mut written, mut again) = (vec![], vec![]);
        if encoder.encode(&value, &mut written).is_ok() {
            encoder.encode(&decoder.decode(&written).unwrap(), &mut again).unwrap();
            assert_eq!(again, written, "seed {seed}");
        }
    }
    println!("{cases} cases, {values} values, at most {peak_per_byte} bytes of memory for each byte and 64 more");
    assert!(values > cases / 100 && values < cases, "{values} values of {cases} cases");
    values
}

/// The number of cases for each of so many schemas of a format.
fn cases(schemas: u64) -> u64 {
    scaled(30_000, 3_400_000) / schemas
}

#[test]
fn bytes_through_the_decoder_of_avro() {
    let text = json!({"type": "record", "name": "All", "fields": [
        {"name": "text", "type": "string"}, {"name": "maybe", "type": ["null", "long"]},
        {"name": "either", "type": ["int", "string", {"type": "map", "values": "double"}]},
        {"name": "parts", "type": {"type": "array", "items": {"type": "record", "name": "Part", "fields": [
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
            {"name": "raw", "type": "bytes"}, {"name": "parts", "type": {"type": "array", "items": "Part"}}]}}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 4}}, {"name": "yes", "type": "boolean"}]});
    let schema = format::parse(&Entry::new(SchemaFormat::Avro, text.to_string()), &[]).unwrap();
    let avro = schema.avro().unwrap().clone();
    fuzz(&schema, cases(1), |seed| support::values::value(&avro, seed));
}

#[test]
fn bytes_through_the_decoder_of_protobuf() {
    for text in [include_str!("protobuf/everything.proto"), include_str!("protobuf/legacy.proto")] {
        let schema = format::parse(&Entry::new(SchemaFormat::Protobuf, text), &[]).unwrap();
        let Schema::Protobuf(parsed) = &schema else { panic!("no Protobuf") };
        let root = parsed.root().unwrap();
        fuzz(&schema, cases(2), |seed| {
            Some([vec![0], messages::Dice(seed).message(&root, 0).encode_to_vec()].concat())
        });
    }
}

#[test]
fn bytes_through_the_decoder_of_json() {
    let mut text = json!({"title": "Order", "type": "object", "required": ["id", "lines"], "properties": {
        "id": {"type": "string"}, "note": {"type": ["string", "null"]}, "size": {"type": "integer"},
        "ratio": {"type": "number"}, "status": {"enum": ["NEW", "PAID"]}, "gift": {"type": "boolean"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
        "payment": {"oneOf": [{"$ref": "#/$defs/Card"}, {"$ref": "#/$defs/Transfer"}]}},
        "$defs": {
            "Line": {"type": "object", "properties": {"product": {"type": "string"}, "price": {"type": "number"}}},
            "Card": {"type": "object", "required": ["type"], "properties": {"type": {"const": "card"}}},
            "Transfer": {"type": "object", "required": ["type", "iban"], "properties": {
                "type": {"const": "transfer"}, "iban": {"type": "string"}}}}});
    for is_ruled in [false, true] {
        if is_ruled {
            text["properties"]["id"]["pattern"] = json!("^[^0-9]*$");
            text["properties"]["extra"] = json!(true);
        }
        let schema = format::parse(&Entry::new(SchemaFormat::Json, text.to_string()), &[]).unwrap();
        let text: &Value = &text;
        fuzz(&schema, cases(2), |seed| Some(json::Dice(seed).value(text, text, 0).to_string().into_bytes()));
    }
}
