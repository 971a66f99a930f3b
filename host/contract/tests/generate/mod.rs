//! Generates Avro schemas, and changed copies of them, from a seed. There are few names, so that they clash.

use serde_json::{Map, Value, json};

/// A small generator of numbers. The same seed gives the same schemas on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// Returns true once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
const TYPES: [&str; 4] = ["A", "B", "C", "D"];
const SPACES: [&str; 3] = ["x", "y", "x.y"];
const FIELDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SYMBOLS: [&str; 5] = ["RED", "GREEN", "BLUE", "GREY", "PINK"];

#[derive(Default)]
struct Names {
    all: Vec<String>,
    /// Complete types, which can be used anywhere.
    complete: Vec<String>,
    /// Records around the current place. They can only be used where the value may be absent.
    open: Vec<String>,
}

/// Generates a schema.
pub(crate) fn schema(dice: &mut Dice) -> Value {
    let mut names = Names::default();
    if dice.one_in(5) { ty(dice, &mut names, 0, false) } else { record(dice, &mut names, 0) }
}

fn ty(dice: &mut Dice, names: &mut Names, depth: usize, optional: bool) -> Value {
    let choices = if depth > 3 { 10 } else { 20 };
    match dice.below(choices) {
        0..=6 => json!(dice.of(&PRIMITIVES[1..])),
        7 => logical(dice),
        8 if !names.complete.is_empty() => json!(dice.of(&names.complete)),
        9 if optional && !names.open.is_empty() => json!(dice.of(&names.open)),
        8..=9 => json!("string"),
        10..=11 => json!({"type": "array", "items": ty(dice, names, depth + 1, true)}),
        12 => json!({"type": "map", "values": ty(dice, names, depth + 1, true)}),
        13..=14 => enumeration(dice, names),
        15 => fixed(dice, names),
        16..=17 => union(dice, names, depth),
        _ => record(dice, names, depth),
    }
}

fn logical(dice: &mut Dice) -> Value {
    dice.of(&[
        json!({"type": "int", "logicalType": "date"}),
        json!({"type": "long", "logicalType": "timestamp-millis"}),
        json!({"type": "string", "logicalType": "uuid"}),
        json!({"type": "long", "logicalType": "what-is-this"}),
        // Invalid logical types are ignored.
        json!({"type": "int", "logicalType": "uuid"}),
        json!({"type": "string", "logicalType": "timestamp-millis"}),
        json!({"type": "bytes", "logicalType": "decimal"}),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 0}),
    ])
    .clone()
}

/// Generates a unique name: as `name` and sometimes `namespace`, and in full.
fn name(dice: &mut Dice, names: &mut Names) -> (Map<String, Value>, String) {
    loop {
        let short = *dice.of(&TYPES);
        let space = *dice.of(&SPACES);
        let full = format!("{space}.{short}");
        if !names.all.contains(&full) {
            names.all.push(full.clone());
            let mut object = Map::new();
            if dice.one_in(2) {
                object.insert("name".to_owned(), json!(full));
            } else {
                object.insert("name".to_owned(), json!(short));
                object.insert("namespace".to_owned(), json!(space));
            }
            return (object, full);
        }
        if names.all.len() >= TYPES.len() * SPACES.len() {
            let short = format!("T{}", names.all.len());
            names.all.push(short.clone());
            return (Map::from_iter([("name".to_owned(), json!(format!("z.{short}")))]), format!("z.{short}"));
        }
    }
}

fn subset<'a>(dice: &mut Dice, list: &[&'a str], at_least: usize) -> Vec<&'a str> {
    let mut chosen = list.to_vec();
    for place in (1..chosen.len()).rev() {
        let other = dice.below(place + 1);
        chosen.swap(place, other);
    }
    let count = at_least + dice.below(list.len() - at_least + 1);
    chosen.truncate(count);
    chosen
}

fn enumeration(dice: &mut Dice, names: &mut Names) -> Value {
    let (mut object, full) = name(dice, names);
    let symbols = subset(dice, &SYMBOLS, 1);
    object.insert("type".to_owned(), json!("enum"));
    if dice.one_in(4) {
        object.insert("default".to_owned(), json!(dice.of(&symbols)));
    }
    object.insert("symbols".to_owned(), json!(symbols));
    names.complete.push(full);
    object.into()
}

fn fixed(dice: &mut Dice, names: &mut Names) -> Value {
    let (mut object, full) = name(dice, names);
    object.insert("type".to_owned(), json!("fixed"));
    object.insert("size".to_owned(), json!(dice.below(4)));
    names.complete.push(full);
    object.into()
}

/// The part of a type that the branches of a union must not share here. Avro allows two branches with the same name in
/// two namespaces, but Java resolves such values differently from its own check of compatibility.
fn branch_kind(ty: &Value) -> String {
    match ty {
        Value::String(name) => name.rsplit('.').next().unwrap().to_owned(),
        Value::Array(_) => "union".to_owned(),
        _ => match ty["type"].as_str() {
            Some("record" | "enum" | "fixed") => full_name(ty).rsplit('.').next().unwrap().to_owned(),
            Some(plain) => plain.to_owned(),
            None => "?".to_owned(),
        },
    }
}

fn full_name(definition: &Value) -> String {
    let name = definition["name"].as_str().unwrap();
    match definition["namespace"].as_str() {
        Some(space) if !name.contains('.') => format!("{space}.{name}"),
        _ => name.to_owned(),
    }
}

fn union(dice: &mut Dice, names: &mut Names, depth: usize) -> Value {
    let mut branches: Vec<Value> = vec![json!("null")];
    for _ in 0..=dice.below(3) {
        let branch = ty(dice, names, depth + 1, true);
        let kind = branch_kind(&branch);
        if kind != "union" && branches.iter().all(|other| branch_kind(other) != kind) {
            branches.push(branch);
        }
    }
    if branches.len() > 2 && dice.one_in(4) {
        branches.remove(0);
    } else if dice.one_in(3) {
        let last = branches.len() - 1;
        branches.swap(0, last);
    }
    // A recursive type must be avoidable: either null is a branch, or no open record is.
    if branches.iter().any(|b| b.as_str().is_some_and(|name| names.open.iter().any(|open| open == name)))
        && !branches.contains(&json!("null"))
    {
        branches.push(json!("null"));
    }
    branches.into()
}

fn record(dice: &mut Dice, names: &mut Names, depth: usize) -> Value {
    let (mut object, full) = name(dice, names);
    object.insert("type".to_owned(), json!("record"));
    names.open.push(full.clone());
    let mut fields = vec![];
    for field in subset(dice, &FIELDS, 0) {
        let ty = ty(dice, names, depth + 1, false);
        fields.push(with_default(dice, json!({"name": field, "type": ty})));
    }
    names.open.pop();
    names.complete.push(full);
    object.insert("fields".to_owned(), fields.into());
    object.into()
}

fn with_default(dice: &mut Dice, mut field: Value) -> Value {
    if dice.one_in(2)
        && let Some(default) = default(dice, &field["type"])
    {
        field["default"] = default;
    }
    field
}

/// A default that fits; none for types that are only referred to.
fn default(dice: &mut Dice, ty: &Value) -> Option<Value> {
    Some(match ty {
        Value::String(name) => match name.as_str() {
            "null" => Value::Null,
            "boolean" => true.into(),
            "int" | "long" => dice.below(100).into(),
            "float" | "double" => 1.5.into(),
            "bytes" => "\u{ff}".into(),
            "string" => "text".into(),
            _ => return None,
        },
        Value::Array(branches) => default(dice, branches.first()?)?,
        _ => match ty["type"].as_str()? {
            "array" => Value::Array(default(dice, &ty["items"]).into_iter().take(dice.below(2)).collect()),
            "map" => json!({}),
            "enum" => ty["symbols"][0].clone(),
            "fixed" => "z".repeat(usize::try_from(ty["size"].as_u64()?).ok()?).into(),
            "record" => {
                let mut object = Map::new();
                for field in ty["fields"].as_array()? {
                    let value = default(dice, &field["type"])?;
                    object.insert(field["name"].as_str()?.to_owned(), value);
                }
                object.into()
            }
            plain => default(dice, &json!(plain))?,
        },
    })
}

/// Makes a copy of `schema` with some changes, both reasonable and unreasonable ones.
pub(crate) fn changed(dice: &mut Dice, schema: &Value) -> Value {
    let mut copy = schema.clone();
    let mut renamed = vec![];
    for _ in 0..=dice.below(3) {
        let places = count(&copy);
        let mut place = dice.below(places);
        at(&mut copy, &mut place, &mut |ty| change(dice, ty, &mut renamed));
    }
    for (from, to) in renamed {
        rename(&mut copy, &from, &to);
    }
    copy
}

fn parts(ty: &mut Value) -> Vec<&mut Value> {
    match ty {
        Value::Array(branches) => branches.iter_mut().collect(),
        Value::Object(object) => {
            let mut parts = vec![];
            for (key, value) in object {
                match key.as_str() {
                    "items" | "values" => parts.push(value),
                    "fields" => {
                        if let Some(fields) = value.as_array_mut() {
                            parts.extend(fields.iter_mut().filter_map(|field| field.get_mut("type")));
                        }
                    }
                    _ => {}
                }
            }
            parts
        }
        _ => vec![],
    }
}

fn count(ty: &Value) -> usize {
    let mut copy = ty.clone();
    1 + parts(&mut copy).into_iter().map(|part| count(part)).sum::<usize>()
}

fn at(ty: &mut Value, place: &mut usize, then: &mut impl FnMut(&mut Value)) -> bool {
    if *place == 0 {
        then(ty);
        return true;
    }
    *place -= 1;
    parts(ty).into_iter().any(|part| at(part, place, then))
}

fn rename(ty: &mut Value, from: &str, to: &str) {
    if ty.as_str() == Some(from) {
        *ty = json!(to);
    }
    parts(ty).into_iter().for_each(|part| rename(part, from, to));
}

fn change(dice: &mut Dice, ty: &mut Value, renamed: &mut Vec<(String, String)>) {
    if dice.one_in(10) && !ty.is_array() && branch_kind(ty) != "null" {
        *ty = if dice.one_in(2) { json!(["null", ty.clone()]) } else { json!([ty.clone(), "null"]) };
        return;
    }
    match ty {
        Value::String(name) if PRIMITIVES.contains(&name.as_str()) => *name = (*dice.of(&PRIMITIVES)).to_owned(),
        Value::String(_) => {}
        Value::Array(branches) => change_union(dice, branches),
        Value::Object(_) => match ty["type"].as_str() {
            Some("record") if !dice.one_in(4) => change_record(dice, ty),
            Some("enum") if dice.one_in(2) => change_enum(dice, ty),
            Some("fixed") if dice.one_in(3) => ty["size"] = json!(dice.below(4)),
            Some("record" | "enum" | "fixed") => change_name(dice, ty, renamed),
            Some("array") => *ty = json!({"type": "map", "values": ty["items"]}),
            Some("map") => *ty = json!({"type": "array", "items": ty["values"]}),
            _ => *ty = json!(dice.of(&PRIMITIVES)),
        },
        _ => {}
    }
}

fn change_union(dice: &mut Dice, branches: &mut Vec<Value>) {
    match dice.below(3) {
        0 if branches.len() > 1 => drop(branches.remove(dice.below(branches.len()))),
        1 => branches.reverse(),
        _ => {
            let extra = json!(dice.of(&PRIMITIVES));
            if branches.iter().all(|branch| branch_kind(branch) != branch_kind(&extra)) {
                let place = dice.below(branches.len() + 1);
                branches.insert(place, extra);
            }
        }
    }
}

fn change_enum(dice: &mut Dice, ty: &mut Value) {
    let symbols = subset(dice, &SYMBOLS, 1);
    let object = ty.as_object_mut().unwrap();
    object.remove("default");
    if dice.one_in(3) {
        object.insert("default".to_owned(), json!(dice.of(&symbols)));
    }
    object.insert("symbols".to_owned(), json!(symbols));
}

fn change_name(dice: &mut Dice, ty: &mut Value, renamed: &mut Vec<(String, String)>) {
    let old = full_name(ty);
    let new = format!("{}.{}", dice.of(&["x", "w"]), dice.of(&["A", "B", "E", "F"]));
    let short = new.rsplit('.').next().unwrap();
    let object = ty.as_object_mut().unwrap();
    object.remove("namespace");
    object.insert("name".to_owned(), json!(new));
    match dice.below(4) {
        0 => {}
        // An alias without a namespace belongs to the new namespace.
        1 => drop(object.insert("aliases".to_owned(), json!([old.rsplit('.').next().unwrap()]))),
        _ => drop(object.insert("aliases".to_owned(), json!([old, format!("other.{short}")]))),
    }
    renamed.push((old, new));
}

fn change_record(dice: &mut Dice, ty: &mut Value) {
    let mut names = Names { all: vec![], ..Names::default() };
    let fields = ty["fields"].as_array_mut().unwrap();
    let free = FIELDS.iter().chain(&["g", "h"]).copied().find(|name| fields.iter().all(|field| field["name"] != *name));
    match dice.below(5) {
        0 if !fields.is_empty() => drop(fields.remove(dice.below(fields.len()))),
        1 if !fields.is_empty() => {
            let place = dice.below(fields.len());
            let field = fields[place].as_object_mut().unwrap();
            if field.remove("default").is_none()
                && let Some(default) = default(dice, &field["type"])
            {
                field.insert("default".to_owned(), default);
            }
        }
        2 if !fields.is_empty() => {
            let place = dice.below(fields.len());
            let Some(free) = free else { return };
            let old = fields[place]["name"].clone();
            fields[place]["name"] = json!(free);
            if !dice.one_in(3) {
                fields[place]["aliases"] = json!([old]);
            }
        }
        3 => fields.reverse(),
        _ => {
            let Some(free) = free else { return };
            let ty = if dice.one_in(2) { json!(dice.of(&PRIMITIVES)) } else { union(dice, &mut names, 9) };
            let place = dice.below(fields.len() + 1);
            let field = with_default(dice, json!({"name": free, "type": ty}));
            fields.insert(place, field);
        }
    }
}
