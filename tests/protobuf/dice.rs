//! Random messages of a schema.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Numbers from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number that is often an extreme.
    fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => self.below(3),
            2 => u64::MAX,
            3 => 1 << self.below(64),
            _ => self.next() >> self.below(64),
        }
    }

    fn text(&mut self) -> String {
        let length = self.below(6);
        (0..length).map(|_| ['a', 'ü', '\0', '🧵', 'z', '"'][self.below(6) as usize]).collect()
    }

    /// A message with some of its fields.
    pub(crate) fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let often = if depth > 2 { 6 } else { 2 };
            if field.is_required() || self.below(often) == 0 {
                let value = self.field(&field, depth);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let count = if depth > 3 { 0 } else { self.below(4) };
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let entries = (0..count).map(|_| (self.key(&key.kind()), self.value(&value.kind(), depth)));
            return Value::Map(entries.collect());
        }
        if field.is_list() {
            return Value::List((0..count).map(|_| self.value(&field.kind(), depth)).collect());
        }
        self.value(&field.kind(), depth)
    }

    fn key(&mut self, kind: &Kind) -> MapKey {
        match self.value(kind, 0) {
            Value::Bool(key) => MapKey::Bool(key),
            Value::I32(key) => MapKey::I32(key),
            Value::U64(key) => MapKey::U64(key),
            Value::String(key) => MapKey::String(key),
            other => panic!("no key: {other:?}"),
        }
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        match kind {
            Kind::Double => Value::F64([0.0, -0.0, 1.5, f64::INFINITY, f64::MIN_POSITIVE][self.below(5) as usize]),
            Kind::Float => Value::F32([0.0, -0.0, 1.5, f32::NEG_INFINITY, f32::MAX][self.below(5) as usize]),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.number() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.number().cast_signed()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.number() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.number()),
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Enum(e) if e.name() == "Kind" && self.below(4) == 0 => Value::EnumNumber(self.number() as i32),
            Kind::Enum(e) => {
                let place = self.below(e.values().len() as u64) as usize;
                Value::EnumNumber(e.values().nth(place).unwrap().number())
            }
            Kind::Message(message) => match message.full_name() {
                // Texts of JSON have no place for values that JSON does not have.
                "google.protobuf.Struct" => {
                    let mut made = DynamicMessage::new(message.clone());
                    let json = serde_json::json!({"a": [1.5, null, "x", {"b": true}]});
                    if self.below(2) == 0 {
                        made = DynamicMessage::deserialize(message.clone(), json).unwrap();
                    }
                    Value::Message(made)
                }
                "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
                    let mut made = DynamicMessage::new(message.clone());
                    made.set_field_by_name("seconds", Value::I64(self.below(1 << 33).cast_signed()));
                    made.set_field_by_name("nanos", Value::I32(self.below(1_000_000_000) as i32));
                    Value::Message(made)
                }
                _ => Value::Message(self.message(message, depth + 1)),
            },
        }
    }
}
