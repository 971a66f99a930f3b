//! Generates the emitters, stores and tables for a Rust component's tests. They are functions with the signatures of
//! `wit-bindgen`'s functions, and act on the SDK's `TestHost`.

use std::fmt::Write as _;

use super::world::{Store, Table, Topic, Ty, World, pascal, snake};

/// Generates the file that `component!` includes if there is no host.
pub(super) fn generate(world: &World) -> String {
    let mut text =
        "// Written by `heddle build` from the schemas in the app's contracts. Not to be edited.\n\n".to_owned();
    if !world.types.is_empty() {
        text.push_str("pub use super::heddle_bindings::heddle::component::contracts;\n");
    }
    let fakes = Fakes(world);
    world.emits.iter().for_each(|topic| fakes.emitter(&mut text, topic));
    world.stores.iter().for_each(|store| fakes.store(&mut text, store));
    world.tables.iter().for_each(|table| fakes.table(&mut text, table));
    text
}

struct Fakes<'w>(&'w World);

impl Fakes<'_> {
    fn emitter(&self, text: &mut String, Topic { topic, interface, value, key }: &Topic) {
        let key = key.as_ref().unwrap_or(&Ty::String);
        let (value_taken, value_owned) = (self.taken(value), self.owned_from(value, "value"));
        let (key_type, key_taken, key_owned) = (owned(key), self.taken(key), self.owned_from(key, "key"));
        let _ = write!(
            text,
            "\npub mod {} {{
    use super::*;

    pub fn send(value: {value_taken}) {{
        ::heddle_sdk::testing::send({topic:?}, {value_owned}, None::<{key_type}>, &[]);
    }}

    pub fn send_with(value: {value_taken}, key: Option<{key_taken}>, headers: &[::heddle_sdk::Header]) {{
        ::heddle_sdk::testing::send({topic:?}, {value_owned}, key.map(|key| {key_owned}), headers);
    }}

    pub fn delete(key: {key_taken}) {{
        ::heddle_sdk::testing::send_tombstone({topic:?}, {key_owned});
    }}
}}
",
            snake(interface)
        );
    }

    fn store(&self, text: &mut String, Store { name, interface, key, value, scan }: &Store) {
        let (key_type, value_type) = (owned(key), owned(value));
        let (key_taken, at) = (self.taken(key), self.bytes(key, "key"));
        let (key_owned, value_owned) = (self.owned_from(key, "key"), self.owned_from(value, "value"));
        let value_taken = self.taken(value);
        let _ = write!(
            text,
            "\npub mod {} {{
    use super::*;

    pub fn get(key: {key_taken}) -> Option<{value_type}> {{
        ::heddle_sdk::testing::get::<{key_type}, {value_type}>({name:?}, &{at})
    }}

    pub fn put(key: {key_taken}, value: {value_taken}) {{
        ::heddle_sdk::testing::put({name:?}, {at}, {key_owned}, {value_owned});
    }}

    pub fn delete(key: {key_taken}) {{
        ::heddle_sdk::testing::delete({name:?}, &{at});
    }}
",
            snake(interface)
        );
        if *scan {
            let (prefix, after) = (self.bytes(key, "prefix"), self.bytes(key, "after"));
            let _ = write!(
                text,
                "
    pub fn scan(prefix: {key_taken}, after: Option<{key_taken}>, limit: u32) -> Vec<({key_type}, {value_type})> {{
        let after: Option<Vec<u8>> = after.map(|after| {after});
        ::heddle_sdk::testing::scan({name:?}, &{prefix}, after.as_deref(), limit)
    }}
"
            );
        }
        text.push_str("}\n");
    }

    fn table(&self, text: &mut String, Table { name, interface, key, value, scan, .. }: &Table) {
        let (key_type, value_type) = (owned(key), owned(value));
        let (key_taken, at, key_owned) = (self.taken(key), self.bytes(key, "key"), self.owned_from(key, "key"));
        let module = snake(interface);
        let _ = write!(
            text,
            "
pub mod {module} {{
    use super::*;

    pub fn get(key: {key_taken}) -> Option<{value_type}> {{
        ::heddle_sdk::testing::table_get::<{key_type}, {value_type}>({name:?}, &{at})
    }}

    /// Sets an entry of the table, or deletes it with `None`, as a record of its topic does. For tests only.
    pub fn fill(host: &mut ::heddle_sdk::testing::TestHost, key: {key_taken}, value: Option<{value_type}>) {{
        host.fill_table({name:?}, {at}, {key_owned}, value);
    }}
"
        );
        if *scan {
            let (prefix, after) = (self.bytes(key, "prefix"), self.bytes(key, "after"));
            let _ = write!(
                text,
                "
    pub fn scan(prefix: {key_taken}, after: Option<{key_taken}>, limit: u32) -> Vec<({key_type}, {value_type})> {{
        let after: Option<Vec<u8>> = after.map(|after| {after});
        ::heddle_sdk::testing::table_scan({name:?}, &{prefix}, after.as_deref(), limit)
    }}
"
            );
        }
        text.push_str("}\n");
    }

    /// The parameter type for `ty` in `wit-bindgen`'s functions.
    fn taken(&self, ty: &Ty) -> String {
        match self.0.original(ty) {
            Ty::String => "&str".to_owned(),
            Ty::Bytes => "&[u8]".to_owned(),
            Ty::List(item) => format!("&[{}]", owned(item)),
            Ty::Option(some) if !matches!(ty, Ty::Named(_)) => format!("Option<{}>", self.taken(some)),
            _ if self.0.has_list(ty) => format!("&{}", owned(ty)),
            _ => owned(ty),
        }
    }

    /// The expression that converts a parameter to an owned value.
    fn owned_from(&self, ty: &Ty, name: &str) -> String {
        match self.0.original(ty) {
            Ty::String => format!("{name}.to_owned()"),
            Ty::Bytes | Ty::List(_) => format!("{name}.to_vec()"),
            Ty::Option(some) if !matches!(ty, Ty::Named(_)) => {
                format!("{name}.map(|some| {})", self.owned_from(some, "some"))
            }
            _ if self.0.has_list(ty) => format!("{name}.clone()"),
            _ => name.to_owned(),
        }
    }

    /// The expression for the bytes by which keys are ordered. Keys of a schema have no order; their bytes only
    /// distinguish them.
    fn bytes(&self, ty: &Ty, name: &str) -> String {
        match self.0.original(ty) {
            Ty::String => format!("{name}.as_bytes().to_vec()"),
            Ty::Bytes => format!("{name}.to_vec()"),
            _ => format!("format!(\"{{{name}:?}}\").into_bytes()"),
        }
    }
}

/// The owned type.
fn owned(ty: &Ty) -> String {
    match ty {
        Ty::Bool => "bool".to_owned(),
        Ty::S32 => "i32".to_owned(),
        Ty::S64 => "i64".to_owned(),
        Ty::U32 => "u32".to_owned(),
        Ty::U64 => "u64".to_owned(),
        Ty::F32 => "f32".to_owned(),
        Ty::F64 => "f64".to_owned(),
        Ty::String => "String".to_owned(),
        Ty::Bytes => "Vec<u8>".to_owned(),
        Ty::List(item) => format!("Vec<{}>", owned(item)),
        Ty::Tuple(types) => format!("({})", types.iter().map(|ty| owned(ty) + ",").collect::<String>()),
        Ty::Option(some) => format!("Option<{}>", owned(some)),
        Ty::Named(name) => format!("contracts::{}", pascal(name)),
    }
}
