//! The schemas that `heddle new` writes as a starting point.

use heddle_contract::format::Schema;
use heddle_contract::format::shape::Shape;
use heddle_contract::section::SchemaFormat;
use serde_json::{Map, Value, json};

/// The namespace of the types.
const NAMESPACE: &str = "com.example";

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Text,
    Number,
}

/// A topic's name as the name of a type.
pub(in crate::cli) fn type_name(topic: &str) -> String {
    let words = topic.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// The first field of a record, if it is a string. Such a field is usually the record's id.
pub(super) fn id_field(schema: &Schema) -> Option<String> {
    let shapes = schema.shapes();
    let Shape::Record(record) = shapes.get(shapes.root()) else { return None };
    let first = record.fields.first().filter(|field| matches!(shapes.get(field.ty), Shape::String))?;
    Some(first.name.clone()).filter(|name| name != "text")
}

/// The text of a schema of one record.
pub(super) fn schema(format: SchemaFormat, name: &str, fields: &[(&str, Field)]) -> String {
    match format {
        SchemaFormat::Avro => avro(name, fields),
        SchemaFormat::Json => json_schema(name, fields),
        SchemaFormat::Protobuf => protobuf(name, fields),
    }
}

fn avro(name: &str, fields: &[(&str, Field)]) -> String {
    let field = |(name, ty): &(&str, Field)| {
        let ty = if matches!(ty, Field::Text) { "string" } else { "double" };
        format!("    {{ \"name\": {name:?}, \"type\": \"{ty}\" }}")
    };
    let fields = fields.iter().map(field).collect::<Vec<_>>().join(",\n");
    format!(
        "{{\n  \"type\": \"record\",\n  \"name\": {name:?},\n  \"namespace\": \"{NAMESPACE}\",\n  \"fields\": [\n{fields}\n  ]\n}}\n"
    )
}

fn json_schema(name: &str, fields: &[(&str, Field)]) -> String {
    let property = |(name, ty): &(&str, Field)| {
        let ty = if matches!(ty, Field::Text) { "string" } else { "number" };
        ((*name).to_owned(), json!({ "type": ty }))
    };
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "type": "object",
        "required": fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "properties": fields.iter().map(property).collect::<Map<String, Value>>(),
    });
    format!("{schema:#}\n")
}

fn protobuf(name: &str, fields: &[(&str, Field)]) -> String {
    let field = |(place, (name, ty)): (usize, &(&str, Field))| {
        let ty = if matches!(ty, Field::Text) { "string" } else { "double" };
        format!("  {ty} {} = {};\n", snake(name), place + 1)
    };
    let fields = fields.iter().enumerate().map(field).collect::<String>();
    format!("syntax = \"proto3\";\n\npackage {NAMESPACE};\n\nmessage {name} {{\n{fields}}}\n")
}

/// `orderId` as `order_id`.
fn snake(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
    name.chars().map(letter).collect::<String>().trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use heddle_contract::format::{Entry, parse};

    use super::*;

    #[test]
    fn schemas_of_all_formats_are_valid_and_name_their_id() {
        let fields = [("orderId", Field::Text), ("amount", Field::Number)];
        for (format, id) in
            [(SchemaFormat::Avro, "orderId"), (SchemaFormat::Json, "orderId"), (SchemaFormat::Protobuf, "order_id")]
        {
            let text = schema(format, &type_name("orders.placed"), &fields);
            let schema = parse(&Entry::new(format, text.as_str()), &[]).unwrap();
            assert!(schema.describe().ends_with("OrdersPlaced"), "{text}");
            assert_eq!(id_field(&schema).as_deref(), Some(id), "{text}");
        }
    }
}
