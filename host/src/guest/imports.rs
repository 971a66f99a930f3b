//! The imports of a component: the emitters that its manifest grants, and the interfaces that all components share.

use std::sync::Arc;

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::format::shape::Shapes;
use heddle_contract::wire::{self, PREFIX_BYTES, Part, SchemaId};
use heddle_core::effects::Emit;
use heddle_core::event::{Header, Topic};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use super::codec::{self, Encoder};
use super::component::Typed;
use super::host::Host;
use super::random;

/// The package of the interfaces that all components share.
pub(super) const RUNTIME: &str = "heddle:runtime/";
/// The version of that package in this host.
pub(super) const RUNTIME_VERSION: &str = "0.1.0";

/// A topic that a component may emit to.
#[derive(Clone)]
pub(super) struct Emitter {
    pub(super) topic: Topic,
    /// The name of the import.
    pub(super) interface: String,
    /// The encoding of values; bytes for a topic without a schema.
    pub(super) value: PartCodec,
    pub(super) key: PartCodec,
    pub(super) cloudevents: bool,
}

/// The way in which a written key or value names the schema that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// By its id in front of the encoding.
    Prefix(SchemaId),
    /// In a header with this content.
    Header(Bytes),
    /// Not at all.
    Plain,
}

/// An encoder, and what the wire adds to its output.
#[derive(Clone)]
pub(super) struct Framed {
    encoder: Encoder,
    /// The frame of all values, or of each branch.
    frames: Arc<[Frame]>,
    /// Each branch of a union has its own frame.
    by_branch: bool,
}

/// A written key or value.
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    /// The content of the header that names its schema.
    pub(super) header: Option<Bytes>,
}

impl Encoded {
    fn plain(bytes: Bytes) -> Self {
        Self { bytes, header: None }
    }
}

impl Framed {
    pub(super) fn new(typed: &Typed, frame: Frame) -> Self {
        Self {
            encoder: Encoder::new(typed.schema.clone(), typed.shapes.clone()),
            frames: [frame].into(),
            by_branch: false,
        }
    }

    /// Writes the values of each branch of a union with its own frame.
    pub(super) fn by_branches(self, frames: Vec<Frame>) -> Self {
        Self { frames: frames.into(), by_branch: true, ..self }
    }

    /// The id of the schema, if it is written in front of values.
    pub(super) fn id(&self) -> Option<SchemaId> {
        match self.frames.first() {
            Some(Frame::Prefix(id)) => Some(*id),
            _ => None,
        }
    }

    pub(super) fn shapes(&self) -> &Shapes {
        self.encoder.shapes()
    }

    /// Encodes a value, or returns the reason why the schema does not allow it.
    pub(super) fn encode(&self, value: &Val) -> Result<Encoded, String> {
        let mut out = Vec::with_capacity(128);
        out.extend([0; PREFIX_BYTES]);
        self.encoder.encode(value, &mut out).map_err(|e| e.to_string())?;
        let (branch, start) = match self.by_branch {
            true => self.encoder.schema().branch(&out[PREFIX_BYTES..]).ok_or("it has no branch")?,
            false => (0, 0),
        };
        let start = PREFIX_BYTES + start;
        // Written values stay in memory for seconds, so they have no spare capacity.
        // Message indexes are in the frame, unless that is a prefix.
        let from = |start: usize| Bytes::copy_from_slice(self.encoder.schema().without_indexes(&out[start..]));
        Ok(match &self.frames[branch] {
            Frame::Prefix(id) => {
                let start = start - PREFIX_BYTES;
                out[start..start + PREFIX_BYTES].copy_from_slice(&wire::prefix(*id));
                Encoded::plain(Bytes::copy_from_slice(&out[start..]))
            }
            Frame::Header(header) => Encoded { bytes: from(start), header: Some(header.clone()) },
            Frame::Plain => Encoded::plain(from(start)),
        })
    }
}

/// The encoding of keys or values.
#[derive(Clone)]
pub(super) enum PartCodec {
    /// UTF-8 text.
    String,
    /// Raw bytes.
    Bytes,
    /// A schema of the registry.
    Schema(Framed),
}

impl PartCodec {
    /// The schema, if there is one.
    pub(super) fn schema(&self) -> Option<&Schema> {
        if let Self::Schema(framed) = self { Some(framed.encoder.schema()) } else { None }
    }

    /// The schema id in front of the written bytes, if there is one.
    pub(super) fn id(&self) -> Option<SchemaId> {
        if let Self::Schema(framed) = self { framed.id() } else { None }
    }

    /// Encodes a key or value, or returns the reason why its schema does not allow it.
    pub(super) fn encode(&self, value: &Val) -> Result<Encoded, String> {
        match (self, value) {
            (Self::String, Val::String(text)) => Ok(Encoded::plain(text.clone().into())),
            (Self::Schema(framed), value) => framed.encode(value),
            (_, value) => Ok(Encoded::plain(read_bytes(value))),
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

fn encode(emitter: &Emitter, value: &Val, key: Option<&Val>, mut headers: Vec<Header>) -> wasmtime::Result<Emit> {
    let refused = |what: String| EmitRefused { topic: emitter.topic.clone(), what };
    let value = emitter.value.encode(value).map_err(refused)?;
    // A handler may pass on the headers of its input. They may name the schemas of other bytes, so they are removed.
    if emitter.value.schema().is_some() {
        headers.retain(|header| header.name != Part::Value.header());
    }
    if key.is_none() || emitter.key.schema().is_some() {
        headers.retain(|header| header.name != Part::Key.header());
    }
    headers.extend(value.header.map(|named| Header::new(Part::Value.header(), named)));
    let key = key.map(|key| encode_key(emitter, key, &mut headers)).transpose()?;
    let (topic, cloudevents) = (emitter.topic.clone(), emitter.cloudevents);
    Ok(Emit { topic, key, value: Some(value.bytes), headers, cloudevents })
}

fn encode_key(emitter: &Emitter, key: &Val, headers: &mut Vec<Header>) -> wasmtime::Result<Bytes> {
    let refused = |what| EmitRefused { topic: emitter.topic.clone(), what: format!("key: {what}") };
    let key = emitter.key.encode(key).map_err(refused)?;
    headers.extend(key.header.map(|named| Header::new(Part::Key.header(), named)));
    Ok(key.bytes)
}

fn tombstone(emitter: &Emitter, key: &Val) -> wasmtime::Result<Emit> {
    let mut headers = vec![];
    let (topic, key) = (emitter.topic.clone(), Some(encode_key(emitter, key, &mut headers)?));
    Ok(Emit { topic, key, value: None, headers, cloudevents: emitter.cloudevents })
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

/// Converts a delivery to the record `delivery` of `heddle:runtime/context`.
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
