//! Logical types: the meanings of annotated types. An invalid one is ignored, as the specification requires of readers,
//! and the value is that of the underlying type. `heddle schema lint` reports it.

use serde_json::{Map, Value};

use super::{IntLogical, LongLogical};

/// The logical types of Avro 1.12, and the types that each one annotates.
const KNOWN: [(&str, &[&str]); 13] = [
    ("date", &["int"]),
    ("time-millis", &["int"]),
    ("time-micros", &["long"]),
    ("timestamp-millis", &["long"]),
    ("timestamp-micros", &["long"]),
    ("timestamp-nanos", &["long"]),
    ("local-timestamp-millis", &["long"]),
    ("local-timestamp-micros", &["long"]),
    ("local-timestamp-nanos", &["long"]),
    ("decimal", &["bytes", "fixed"]),
    ("big-decimal", &["bytes"]),
    ("duration", &["fixed"]),
    ("uuid", &["string", "fixed"]),
];

pub(super) fn of_int(logical: Option<&str>) -> Option<IntLogical> {
    match logical? {
        "date" => Some(IntLogical::Date),
        "time-millis" => Some(IntLogical::TimeMillis),
        _ => None,
    }
}

pub(super) fn of_long(logical: Option<&str>) -> Option<LongLogical> {
    match logical? {
        "time-micros" => Some(LongLogical::TimeMicros),
        "timestamp-millis" => Some(LongLogical::TimestampMillis),
        "timestamp-micros" => Some(LongLogical::TimestampMicros),
        "timestamp-nanos" => Some(LongLogical::TimestampNanos),
        "local-timestamp-millis" => Some(LongLogical::LocalTimestampMillis),
        "local-timestamp-micros" => Some(LongLogical::LocalTimestampMicros),
        "local-timestamp-nanos" => Some(LongLogical::LocalTimestampNanos),
        _ => None,
    }
}

/// Precision and scale of an object that is declared as a decimal. `size` is that of a fixed type.
pub(super) fn decimal(object: &Map<String, Value>, size: Option<u64>) -> Result<(u32, u32), String> {
    let number = |key| object.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let (precision, scale) = (number("precision").unwrap_or(0), number("scale").unwrap_or(0));
    if precision == 0 || scale > precision || (object.contains_key("scale") && number("scale").is_none()) {
        return Err("it needs a `precision` of at least 1 and a `scale` of at most the precision".to_owned());
    }
    // The maximum number of digits in `size` bytes: floor(log10(2^(8n-1) - 1)).
    if size.is_some_and(|size| f64::from(precision) > (8.0 * size as f64 - 1.0) * std::f64::consts::LOG10_2) {
        return Err(format!("a `precision` of {precision} does not fit the `size` of the fixed type"));
    }
    Ok((precision, scale))
}

/// The reason why the logical type of a type's definition is ignored, if it has one that is.
pub(crate) fn ignored(object: &Map<String, Value>) -> Option<String> {
    let logical = object.get("logicalType")?;
    let why = why_ignored(logical, object)?;
    Some(format!("the logicalType {logical} is ignored, and the value has the underlying type: {why}"))
}

fn why_ignored(logical: &Value, object: &Map<String, Value>) -> Option<String> {
    let known = KNOWN.iter().find(|(name, _)| logical.as_str() == Some(name));
    let Some((name, types)) = known else { return Some("Avro does not have it".to_owned()) };
    let ty = object.get("type").and_then(Value::as_str).unwrap_or_default();
    if !types.contains(&ty) {
        return Some(format!("it annotates only {}", types.join(" and ")));
    }
    let size = object.get("size").and_then(Value::as_u64);
    match (*name, size) {
        ("decimal", size) => decimal(object, size).err(),
        ("duration", Some(size)) if size != 12 => Some("it needs a `size` of 12".to_owned()),
        ("uuid", Some(size)) if size != 16 => Some("it needs a `size` of 16".to_owned()),
        _ => None,
    }
}
