//! The WIT of schemas, parsed with the libraries of the component tools, and compared with the codec's shapes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use heddle_contract::format::Schema;
use heddle_contract::format::avro::parse;
use heddle_contract::format::shape::{Shape, ShapeId, Shapes};
use heddle_contract::wit::{self, Names, Payload, Store, Table, Topic, World};
use proptest::prelude::*;
use serde_json::{Value, json};
use wit_parser::{Resolve, Type, TypeDefKind, TypeId, UnresolvedPackageGroup};

fn schema(text: &Value) -> Shapes {
    Schema::from(parse("s", &text.to_string()).unwrap()).shapes()
}

fn topic<'a>(name: &'a str, subject: &'a str, shapes: &'a Shapes) -> Topic<'a> {
    Topic { name, value: Payload::Schema { subject, shapes }, key: Payload::String, tombstones: false }
}

fn store<'a>(name: &'a str, shapes: &'a Shapes) -> Store<'a> {
    Store { name, value: Payload::Schema { subject: "store:s", shapes }, key: Payload::String }
}

/// The WIT of a component that was never built before.
fn generate(world: &World<'_>) -> String {
    wit::generate(world, &names(world))
}

fn names(world: &World<'_>) -> Names {
    Names::allot(world, &BTreeMap::new(), &Names::default()).unwrap()
}

/// Parses a world's files as a component's build does.
fn resolve(world: &World<'_>) -> Result<Resolve, String> {
    let mut resolve = Resolve::default();
    let runtime = wit::RUNTIME.map(|(_, text)| text.replace("package heddle:runtime@0.1.0;", "")).join("\n");
    resolve
        .push_str("runtime.wit", &format!("package heddle:runtime@0.1.0;\n{runtime}"))
        .map_err(|e| format!("{e:#}"))?;
    let text = generate(world);
    let group = UnresolvedPackageGroup::parse("component.wit", &text).map_err(|e| format!("{e:?}\n{text}"))?;
    resolve.push_group(group).map_err(|e| format!("{e:#}\n{text}"))?;
    Ok(resolve)
}

fn order() -> Shapes {
    schema(
        &json!({"type":"record","name":"OrderCreated","namespace":"com.example.orders","doc":"An order was placed.","fields":[
        {"name":"orderId","type":"string"},{"name":"customerId","type":"string","doc":"Who ordered."},
        {"name":"orderDate","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"totalAmount","type":"double"},
        {"name":"items","type":{"type":"array","items":{"type":"record","name":"OrderItem","fields":[
            {"name":"productId","type":"string"},{"name":"quantity","type":"int"},{"name":"price","type":"double"}]}}}]}),
    )
}

fn everything() -> Shapes {
    schema(&json!({"type":"record","name":"Everything","fields":[
        {"name":"type","type":"boolean"},{"name":"HTTPStatus","type":"int"},{"name":"line_2","type":["null","string"],"default":null},
        {"name":"choice","type":["null","string","int",{"type":"record","name":"Send","fields":[{"name":"x","type":"float"}]}]},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"digest","type":{"type":"fixed","name":"Md5","size":16}},
        {"name":"tags","type":{"type":"map","values":{"type":"array","items":["int","Everything"]}}},
        {"name":"result","type":{"type":"enum","name":"Result","symbols":["OK","NOT_FOUND","record"]}},
        {"name":"day","type":["null",{"type":"int","logicalType":"date"}]}]}))
}

#[test]
fn the_orders_of_the_quickstart() {
    let (created, accepted) = (
        order(),
        schema(&json!({"type":"record","name":"OrderAccepted","fields":[{"name":"orderId","type":"string"}]})),
    );
    let world = World {
        consumes: vec![topic("orders.created", "orders.created-value", &created)],
        emits: vec![topic("orders.accepted", "orders.accepted-value", &accepted)],
        ..World::default()
    };
    resolve(&world).unwrap();
    insta::assert_snapshot!(generate(&world));
}

#[test]
fn every_type_there_is() {
    let all = everything();
    let key = schema(&json!({"type":"record","name":"Key","fields":[{"name":"id","type":"long"}]}));
    let mut consumed = topic("all", "all-value", &all);
    consumed.key = Payload::Schema { subject: "all-key", shapes: &key };
    let raw = Topic { name: "raw.bytes", value: Payload::Bytes, key: Payload::Bytes, tombstones: false };
    let world =
        World { consumes: vec![consumed], emits: vec![topic("all", "all-value", &all), raw], ..World::default() };
    resolve(&world).unwrap();
    insta::assert_snapshot!(generate(&world));
}

#[test]
fn stores_by_the_kind_of_their_keys() {
    // They have the names of the functions beside them.
    let value = schema(&json!({"type":"record","name":"Get","fields":[
        {"name":"n","type":"long"},{"name":"put","type":{"type":"enum","name":"Put","symbols":["SCAN"]}}]}));
    let key = schema(&json!({"type":"record","name":"Scan","fields":[{"name":"id","type":"long"}]}));
    let mut stores = vec![store("by-bytes", &value), store("by-string", &value), store("by-type", &value)];
    stores[0].key = Payload::Bytes;
    stores[2].key = Payload::Schema { subject: "store-key:by-type", shapes: &key };
    let world = World { stores, ..World::default() };
    resolve(&world).unwrap();
    insta::assert_snapshot!(generate(&world));
}

#[test]
fn tables_by_the_kind_of_their_keys() {
    let value = schema(&json!({"type":"record","name":"Product","fields":[{"name":"name","type":"string"}]}));
    let key = schema(&json!({"type":"record","name":"ProductId","fields":[{"name":"id","type":"long"}]}));
    let payload = |subject, shapes| Payload::Schema { subject, shapes };
    let table = |name, topic, value, key| Table { name, topic, value, key };
    let tables = vec![
        table("by-type", "shop.products", payload("shop.products-value", &value), payload("shop.products-key", &key)),
        table("raw", "raw", Payload::Bytes, Payload::Bytes),
        // A store and a table may have the same name.
        table("stock", "stock", payload("shop.products-value", &value), Payload::String),
    ];
    let world = World { tables, stores: vec![store("stock", &value)], ..World::default() };
    resolve(&world).unwrap();
    insta::assert_snapshot!(generate(&world));
}

/// Checks that a parsed type is the one that the codec produces.
fn agree(resolve: &Resolve, shapes: &Shapes, shape: ShapeId, ty: &Type) -> Result<(), String> {
    let kind = |id: TypeId| {
        let mut id = id;
        loop {
            match &resolve.types[id].kind {
                TypeDefKind::Type(Type::Id(next)) => id = *next,
                other => break other.clone(),
            }
        }
    };
    let fail = |what: &str| Err(format!("{what}: {:?} is not {ty:?}", shapes.get(shape)));
    match (shapes.get(shape), ty) {
        (Shape::Bool, Type::Bool)
        | (Shape::S32(_), Type::S32)
        | (Shape::S64(_), Type::S64)
        | (Shape::F32, Type::F32)
        | (Shape::F64, Type::F64)
        | (Shape::String | Shape::Decimal { .. } | Shape::Json(_), Type::String) => Ok(()),
        (shape_at, Type::Id(id)) => match (shape_at, kind(*id)) {
            (Shape::S32(_), TypeDefKind::Type(Type::S32)) | (Shape::S64(_), TypeDefKind::Type(Type::S64)) => Ok(()),
            (Shape::Bytes | Shape::Fixed(_), TypeDefKind::List(Type::U8)) => Ok(()),
            (Shape::List(item), TypeDefKind::List(ty)) => agree(resolve, shapes, *item, &ty),
            (Shape::Map { value, .. }, TypeDefKind::List(Type::Id(pair))) => match kind(pair) {
                TypeDefKind::Tuple(pair) => agree(resolve, shapes, *value, &pair.types[1]),
                _ => fail("map"),
            },
            (Shape::Option(inner), TypeDefKind::Option(ty)) => agree(resolve, shapes, *inner, &ty),
            (Shape::Record(ours), TypeDefKind::Record(record)) => {
                assert!(ours.fields.iter().map(|field| &field.label).eq(record.fields.iter().map(|field| &field.name)));
                ours.fields
                    .iter()
                    .zip(&record.fields)
                    .try_for_each(|(ours, field)| agree(resolve, shapes, ours.ty, &field.ty))
            }
            (Shape::Variant(ours), TypeDefKind::Variant(variant)) => {
                assert!(ours.cases.iter().map(|case| &case.label).eq(variant.cases.iter().map(|case| &case.name)));
                ours.cases.iter().zip(&variant.cases).try_for_each(|(case, other)| match (case.ty, &other.ty) {
                    (None, None) => Ok(()),
                    (Some(shape), Some(ty)) => agree(resolve, shapes, shape, ty),
                    _ => fail("case"),
                })
            }
            (Shape::Enum(ours), TypeDefKind::Enum(e)) if !ours.symbols.is_empty() => {
                assert!(ours.symbols.iter().map(|symbol| &symbol.label).eq(e.cases.iter().map(|case| &case.name)));
                Ok(())
            }
            (Shape::Null | Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_), TypeDefKind::Enum(e)) => {
                assert_eq!(e.cases.len(), 1);
                Ok(())
            }
            _ => fail("kind"),
        },
        _ => fail("type"),
    }
}

fn odd_names() -> impl Strategy<Value = String> {
    let odd = [
        "type", "record", "send", "handle", "header", "failure", "get", "put", "delete", "scan", "key", "list", "id",
        "ID", "orderId", "_x", "a1b2", "from", "HTTPCode", "x_9",
    ];
    prop_oneof![
        Just(odd).prop_flat_map(|odd| proptest::sample::select(odd.to_vec())).prop_map(str::to_owned),
        "[a-z][a-zA-Z0-9_]{0,6}"
    ]
}

/// A type without named types in it. The record around it adds those.
fn types() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::sample::select(vec!["boolean", "int", "long", "float", "double", "string", "bytes"])
            .prop_map(|name| json!(name)),
        Just(json!({"type":"long","logicalType":"timestamp-millis"})),
        Just(json!({"type":"bytes","logicalType":"decimal","precision":4,"scale":1})),
        Just(json!("Root")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|ty| json!({"type":"array","items":ty})),
            inner.clone().prop_map(|ty| json!({"type":"map","values":ty})),
            inner.prop_filter("no union in a union", |ty| !ty.is_array()).prop_map(|ty| json!(["null", ty])),
            Just(json!(["null", "string", "long", "Root"])),
        ]
    })
}

proptest! {
    #[test]
    fn generated_wit_parses_and_agrees_with_the_codec(
        fields in proptest::collection::vec((odd_names(), types()), 1..6),
        inner in proptest::collection::vec((odd_names(), types()), 1..4),
        record_name in odd_names(),
    ) {
        let field = |(name, ty): &(String, Value)| json!({"name":name,"type":ty});
        let mut all = fields.iter().map(field).collect::<Vec<_>>();
        let nested = json!({"type":"record","name":record_name,"fields":inner.iter().map(field).collect::<Vec<_>>()});
        all.push(json!({"name":"nestedRecord","type":["null","int",nested]}));
        let text = json!({"type":"record","name":"Root","fields":all}).to_string();
        let Ok(root) = parse("s", &text) else { return Ok(()) };
        let schema = Schema::from(root);
        let root = schema.shapes();
        let world = World { consumes: vec![topic("in", "in-value", &root)], emits: vec![topic("out", "out-value", &root)], stores: vec![store("s", &root)], ..World::default() };
        let shapes = Shapes::named(&schema, "in-value", &names(&world));
        let resolved = resolve(&world).unwrap();
        let (_, interface) = resolved.interfaces.iter().find(|(_, i)| i.name.as_deref() == Some("on-in")).unwrap();
        let event = &interface.functions["handle"].params[0].ty;
        agree(&resolved, &shapes, shapes.root(), event).unwrap();
    }
}
