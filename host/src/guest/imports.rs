//! The imports of a component: the emitters that its manifest grants, and the interfaces that every component shares.

use std::sync::Arc;

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::format::shape::Shapes;
use heddle_contract::wire::{self, SchemaId};
use heddle_core::effects::Emit;
use heddle_core::event::{Header, Topic};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use super::codec::{self, Encoder};
use super::component::Typed;
use super::host::Host;
use super::random;

/// The package of the interfaces that every component shares.
pub(super) const RUNTIME: &str = "heddle:runtime/";
/// The version of that package in this host.
pub(super) const RUNTIME_VERSION: &str = "0.1.0";
/// The interfaces of the package with their functions.
pub(super) const RUNTIME_FUNCTIONS: [(&str, &[&str]); 3] =
    [("context", &["current"]), ("log", &["write"]), ("random", &["next-u64", "bytes"])];

/// A topic that a component may emit to.
#[derive(Clone)]
pub(super) struct Emitter {
    pub(super) topic: Topic,
    /// The name of the import.
    pub(super) interface: String,
    /// The value's encoder. `None` for a topic without a schema, whose values are bytes.
    pub(super) value: Option<Framed>,
    pub(super) key: KeyCodec,
    pub(super) cloudevents: bool,
}

/// An encoder, and the registry's id in front of its output.
#[derive(Clone)]
pub(super) struct Framed {
    encoder: Encoder,
    id: SchemaId,
    /// The ids of the branches' own schemas, if each branch is written by its own schema.
    branches: Option<Arc<[SchemaId]>>,
}

impl Framed {
    pub(super) fn new(typed: &Typed, id: SchemaId) -> Self {
        Self { encoder: Encoder::new(typed.schema.clone(), typed.shapes.clone()), id, branches: None }
    }

    /// Writes the values of a union by the schemas of its branches.
    pub(super) fn by_branches(self, ids: Vec<SchemaId>) -> Self {
        Self { branches: Some(ids.into()), ..self }
    }

    pub(super) fn id(&self) -> SchemaId {
        self.id
    }

    pub(super) fn shapes(&self) -> &Shapes {
        self.encoder.shapes()
    }

    /// The value in the wire format, or the reason why the schema does not allow it.
    pub(super) fn encode(&self, value: &Val) -> Result<Bytes, String> {
        let mut out = Vec::with_capacity(128);
        out.extend(wire::prefix(self.id));
        self.encoder.encode(value, &mut out).map_err(|e| e.to_string())?;
        if let Some(ids) = &self.branches {
            let value = &out[wire::prefix(self.id).len()..];
            return wire::by_branch(ids, value).map(Bytes::from).ok_or_else(|| "it has no branch".to_owned());
        }
        // Written values stay in memory for seconds, so they have no spare capacity.
        Ok(Bytes::copy_from_slice(&out))
    }
}

/// The encoding of keys.
#[derive(Clone)]
pub(super) enum KeyCodec {
    /// UTF-8 text.
    String,
    /// Raw bytes.
    Bytes,
    /// A schema of the registry.
    Schema(Framed),
}

impl KeyCodec {
    /// The schema of the keys, if there is one.
    pub(super) fn schema(&self) -> Option<(SchemaId, Schema)> {
        if let Self::Schema(framed) = self { Some((framed.id, framed.encoder.schema().clone())) } else { None }
    }

    /// The key's bytes, or the reason why its schema does not allow it.
    pub(super) fn encode(&self, key: &Val) -> Result<Bytes, String> {
        match (self, key) {
            (Self::String, Val::String(key)) => Ok(key.clone().into()),
            (Self::Schema(framed), key) => framed.encode(key),
            (_, key) => Ok(read_bytes(key)),
        }
    }
}

/// The error of an emit that breaks its topic's schema. Its type distinguishes it from other traps.
#[derive(Debug, thiserror::Error)]
#[error("the value emitted to `{topic}` breaks its schema: {what}")]
pub(super) struct EmitRefused {
    topic: Topic,
    what: String,
}

type Called = wasmtime::Result<()>;

/// Links one emitter.
pub(super) fn link_emitter(linker: &mut Linker<Host>, emitter: &Emitter) -> Called {
    let mut instance = linker.instance(&emitter.interface)?;
    let to = Arc::new(emitter.clone());
    let (plain, with) = (to.clone(), to.clone());
    instance.func_new("send", move |mut store: StoreContextMut<'_, Host>, _, values, _| {
        let [value] = values else { return Err(wasmtime::Error::msg("send takes one value")) };
        let emit = encode(&plain, value, None, vec![])?;
        Ok(store.data_mut().current()?.emit(emit)?)
    })?;
    instance.func_new("send-with", move |mut store: StoreContextMut<'_, Host>, _, values, _| {
        let [value, Val::Option(key), headers] = values else {
            return Err(wasmtime::Error::msg("send-with takes a value, an optional key and headers"));
        };
        let emit = encode(&with, value, key.as_deref(), read_headers(headers))?;
        Ok(store.data_mut().current()?.emit(emit)?)
    })?;
    instance.func_new("delete", move |mut store: StoreContextMut<'_, Host>, _, values, _| {
        let [key] = values else { return Err(wasmtime::Error::msg("delete takes one key")) };
        let emit = tombstone(&to, key)?;
        Ok(store.data_mut().current()?.emit(emit)?)
    })
}

fn encode(emitter: &Emitter, value: &Val, key: Option<&Val>, headers: Vec<Header>) -> wasmtime::Result<Emit> {
    let refused = |what: String| EmitRefused { topic: emitter.topic.clone(), what };
    let value = match &emitter.value {
        Some(framed) => framed.encode(value).map_err(refused)?,
        None => read_bytes(value),
    };
    let key = key.map(|key| encode_key(emitter, key)).transpose()?;
    let (topic, cloudevents) = (emitter.topic.clone(), emitter.cloudevents);
    Ok(Emit { topic, key, value: Some(value), headers, cloudevents })
}

fn encode_key(emitter: &Emitter, key: &Val) -> wasmtime::Result<Bytes> {
    let refused = |what| EmitRefused { topic: emitter.topic.clone(), what: format!("key: {what}") };
    Ok(emitter.key.encode(key).map_err(refused)?)
}

fn tombstone(emitter: &Emitter, key: &Val) -> wasmtime::Result<Emit> {
    let (topic, key) = (emitter.topic.clone(), Some(encode_key(emitter, key)?));
    Ok(Emit { topic, key, value: None, headers: vec![], cloudevents: emitter.cloudevents })
}

fn read_bytes(value: &Val) -> Bytes {
    let Val::List(items) = value else { return Bytes::new() };
    items.iter().map(|item| if let Val::U8(byte) = item { *byte } else { 0 }).collect()
}

fn read_headers(value: &Val) -> Vec<Header> {
    let Val::List(items) = value else { return vec![] };
    let header = |item: &Val| match item {
        Val::Record(fields) => match fields.as_slice() {
            [(_, Val::String(name)), (_, Val::Option(value))] => {
                Some(Header { name: name.clone().into(), value: value.as_deref().map(read_bytes) })
            }
            _ => None,
        },
        _ => None,
    };
    items.iter().filter_map(header).collect()
}

/// Links the interfaces of `heddle:runtime`.
pub(super) fn link_runtime(linker: &mut Linker<Host>) -> Called {
    linker.instance(&runtime("context"))?.func_new(
        "current",
        |mut store: StoreContextMut<'_, Host>, _, _, results| {
            results[0] = context(&store.data_mut().current()?.delivery());
            Ok(())
        },
    )?;
    linker.instance(&runtime("log"))?.func_new("write", |mut store: StoreContextMut<'_, Host>, _, values, _| {
        if let [Val::Enum(level), Val::String(message)] = values {
            store.data_mut().log(level, message);
        }
        Ok(())
    })?;
    random::link(linker, &runtime("random"))
}

/// The name of an interface of `heddle:runtime` in imports.
pub(super) fn runtime(interface: &str) -> String {
    format!("{RUNTIME}{interface}@{RUNTIME_VERSION}")
}

/// The record `delivery` of `heddle:runtime/context`.
fn context(delivery: &heddle_core::delivery::Delivery<'_>) -> Val {
    let record = delivery.record;
    let optional = |bytes: &Option<Bytes>| Val::Option(bytes.as_ref().map(|bytes| Box::new(codec::bytes(bytes))));
    let header = |header: &Header| {
        let name = ("name".to_owned(), Val::String(header.name.to_string()));
        Val::Record(vec![name, ("value".to_owned(), optional(&header.value))])
    };
    let fields = [
        ("id", Val::String(delivery.id())),
        ("attempt", Val::U32(delivery.attempt)),
        ("topic", Val::String(record.source.topic.to_string())),
        ("partition", Val::S32(record.source.partition.0)),
        ("offset", Val::S64(record.offset.0)),
        ("timestamp", Val::S64(record.timestamp.0)),
        ("key", optional(&record.key)),
        ("headers", Val::List(record.headers.iter().map(header).collect())),
    ];
    Val::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
}
