//! Derives handlers, emitters, stores and tables from a component's contract.

use std::sync::Arc;

use heddle_contract::format::Schema;
use heddle_contract::format::shape::Shapes;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{
    Consumes, Emits, KeyType, StoreSpec, SubjectNames, Tombstones, ValueFormat,
};
use heddle_contract::manifest::tables::TableSpec;
use heddle_contract::section::Contract;
use heddle_contract::wire::{
    self, SchemaId, Wire, key_subject, record_subject, store_key_subject, store_value_subject, value_subject,
};
use heddle_core::state::StoreIndex;
use wasmtime::component::Type;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use super::LoadError;
use super::component::{Framing, Handler, Typed};
use super::engine::Engine;
use super::identify::Identify;
use super::imports::{Emitter, Frame, Framed, PartCodec};
use super::signature::{HANDLED, Signature, text};
use super::stores::StoreAccess;
use super::tables::TableAccess;

/// The parts of a component while it is checked.
pub(super) struct Loader<'a> {
    pub(super) engine: &'a Engine,
    pub(super) name: &'a str,
    pub(super) contract: &'a Contract,
    pub(super) compiled: &'a wasmtime::component::Component,
}

impl Loader<'_> {
    fn broken(&self, what: String) -> LoadError {
        LoadError::Contract { component: self.name.to_owned(), what }
    }

    fn typed(&self, subject: &str) -> Result<Option<Typed>, LoadError> {
        let Some(schema) = self.contract.schemas.get(subject) else { return Ok(None) };
        let schema = schema.parse().map_err(|what| self.broken(format!("{subject}: {what}")))?;
        if let Some(problem) = schema.inexpressible().first() {
            return Err(self.broken(format!("{subject}, {problem}")));
        }
        let shapes = Shapes::named(&schema, subject, &self.contract.names);
        Ok(Some(Typed { schema, shapes: Arc::new(shapes) }))
    }

    fn framed(&self, subject: &str, wire: Wire, framing: &Framing) -> Result<Option<Framed>, LoadError> {
        let Some(typed) = self.typed(subject)? else { return Ok(None) };
        let frame = self.frame(subject, &typed.schema, wire, framing)?;
        Ok(Some(Framed::new(&typed, frame)))
    }

    /// The frame of values that are written by the schema with this name in the contract.
    fn frame(&self, name: &str, schema: &Schema, wire: Wire, framing: &Framing) -> Result<Frame, LoadError> {
        if wire == Wire::Plain {
            return Ok(Frame::Plain);
        }
        let Some(id) = framing.ids.get(name).copied() else {
            return Err(self.broken(format!("the schema of the subject `{name}` is not registered")));
        };
        Ok(match wire {
            Wire::Header => {
                let guid = framing.guids.get(&id).copied();
                Frame::Header(wire::header(id, guid, &schema.indexes()).into())
            }
            _ => Frame::Prefix(id),
        })
    }

    /// The codec that writes a topic's values.
    fn value_codec(&self, topic: &str, emits: &Emits, wire: Wire, framing: &Framing) -> Result<PartCodec, LoadError> {
        let subject = value_subject(topic);
        let plain = if emits.format == ValueFormat::Text { PartCodec::String } else { PartCodec::Bytes };
        let Some(typed) = self.typed(&subject)? else { return Ok(plain) };
        self.is_named_on(wire, topic, &typed.schema)?;
        let is_whole = emits.subject == SubjectNames::Topic || wire == Wire::Plain;
        let several_messages = typed.schema.is_union() && typed.schema.avro().is_none();
        if is_whole && !several_messages {
            return Ok(PartCodec::Schema(Framed::new(&typed, self.frame(&subject, &typed.schema, wire, framing)?)));
        }
        let frame = |ty: &String| {
            let own = typed.schema.with_type(ty).unwrap_or_else(|_| typed.schema.clone());
            let name = if is_whole { subject.clone() } else { record_subject(topic, ty) };
            self.frame(&name, &own, wire, framing)
        };
        let mut frames = typed.schema.type_names().iter().map(frame).collect::<Result<Vec<_>, _>>()?;
        if typed.schema.is_union() {
            let framed = Framed::new(&typed, Frame::Plain).by_branches(frames);
            return Ok(PartCodec::Schema(framed));
        }
        let frame = frames.pop().ok_or_else(|| self.broken(format!("the values of `{topic}` have no type")))?;
        Ok(PartCodec::Schema(Framed::new(&typed, frame)))
    }

    /// Refuses several messages on a wire that does not say which of them a value is.
    fn is_named_on(&self, wire: Wire, topic: &str, schema: &Schema) -> Result<(), LoadError> {
        if wire == Wire::Plain && schema.is_union() && schema.avro().is_none() {
            let types = schema.type_names().join("`, `");
            return Err(self.broken(format!(
                "the values of `{topic}` are of the messages `{types}`, and its wire is plain, which does not say which"
            )));
        }
        Ok(())
    }

    pub(super) fn emitters(&self, manifest: &Manifest, framing: &Framing) -> Result<Vec<Emitter>, LoadError> {
        let emitter = |(topic, emits): (&String, &Emits)| {
            let wire = manifest.wire(topic);
            let key = match (&emits.key, self.framed(&key_subject(topic), wire, framing)?) {
                (Some(KeyType::Bytes), _) => PartCodec::Bytes,
                (Some(KeyType::String), _) => PartCodec::String,
                (_, Some(framed)) => PartCodec::Schema(framed),
                _ => PartCodec::String,
            };
            Ok(Emitter {
                topic: topic.as_str().into(),
                interface: format!("heddle:component/{}", self.contract.names.emit_interface(topic)),
                value: self.value_codec(topic, emits, wire, framing)?,
                key,
                cloudevents: emits.cloudevents,
            })
        };
        manifest.emits.iter().map(emitter).collect()
    }

    /// The stores, ordered by name. The index of a store is its [`StoreIndex`].
    pub(super) fn stores(&self, manifest: &Manifest, framing: &Framing) -> Result<Vec<Arc<StoreAccess>>, LoadError> {
        let entry_bytes_max = usize::try_from(manifest.limits.store_value_bytes_max).unwrap_or(usize::MAX);
        let missing = |subject: &str| self.broken(format!("the contract has no schema `{subject}`"));
        let framed = |subject: &str| self.framed(subject, Wire::Registry, framing)?.ok_or_else(|| missing(subject));
        let store = |(place, (name, spec)): (usize, (&String, &StoreSpec))| {
            let (value, key) = (store_value_subject(name), store_key_subject(name));
            let typed = self.typed(&value)?.ok_or_else(|| missing(&value))?;
            Ok(Arc::new(StoreAccess {
                index: StoreIndex(place),
                name: name.clone(),
                interface: format!("heddle:component/{}", self.contract.names.store_interface(name)),
                key: match spec.key {
                    None | Some(KeyType::String) => PartCodec::String,
                    Some(KeyType::Bytes) => PartCodec::Bytes,
                    Some(KeyType::Schema(_)) => PartCodec::Schema(framed(&key)?),
                },
                value: framed(&value)?,
                typed,
                entry_bytes_max,
            }))
        };
        manifest.stores.iter().enumerate().map(store).collect()
    }

    /// The tables, ordered by name.
    pub(super) fn tables(&self, manifest: &Manifest) -> Result<Vec<Arc<TableAccess>>, LoadError> {
        let table = |(place, (name, spec)): (usize, (&String, &TableSpec))| {
            let wire = manifest.wire(&spec.topic);
            let frame = if wire == Wire::Plain { Frame::Plain } else { Frame::Prefix(SchemaId(0)) };
            let key = match &spec.key {
                Some(KeyType::Bytes) => PartCodec::Bytes,
                Some(KeyType::String) => PartCodec::String,
                // The schema id in a key is ignored: see `TableKeys`.
                _ => match self.typed(&key_subject(&spec.topic))? {
                    Some(typed) => PartCodec::Schema(Framed::new(&typed, frame)),
                    None => PartCodec::String,
                },
            };
            Ok(Arc::new(TableAccess {
                index: StoreIndex::table(place),
                name: name.clone(),
                interface: format!("heddle:component/{}", self.contract.names.table_interface(name)),
                key,
                wire,
                value: self.typed(&value_subject(&spec.topic))?,
                is_text: spec.format == ValueFormat::Text,
            }))
        };
        manifest.tables.iter().enumerate().map(table).collect()
    }

    pub(super) fn handlers(&self, manifest: &Manifest) -> Result<Vec<Handler>, LoadError> {
        let handler = |(topic, consumes): (&String, &Consumes)| self.handler(topic, consumes, manifest.wire(topic));
        manifest.consumes.iter().map(handler).collect()
    }

    fn handler(&self, topic: &str, consumes: &Consumes, wire: Wire) -> Result<Handler, LoadError> {
        let interface = format!("heddle:component/{}", self.contract.names.on_interface(topic));
        let missing = || LoadError::NoHandler {
            component: self.name.to_owned(),
            export: interface.clone(),
            topic: topic.to_owned(),
        };
        let function = Signature::of(&self.export(&interface).ok_or_else(missing)?);
        let differs = |expected: &str| self.other_contract(topic, &function.differs("handle", expected));
        let value = self.typed(&value_subject(topic))?;
        value.as_ref().map_or(Ok(()), |typed| self.is_named_on(wire, topic, &typed.schema))?;
        let key = match &consumes.key {
            Some(KeyType::Bytes | KeyType::String) => None,
            _ => self.typed(&key_subject(topic))?,
        };
        let params = if key.is_some() { "<value>, option<<key>>" } else { "<value>" };
        let expected = format!("func({params}) -> {HANDLED}");
        let Some(first) = function.params.first().filter(|_| function.returns(HANDLED)) else {
            return Err(differs(&expected));
        };
        let is_text = consumes.format == ValueFormat::Text;
        let of_text = is_text.then(Shapes::text);
        let shapes = value.as_ref().map(|typed| &*typed.shapes).or(of_text.as_ref());
        match (consumes.tombstones, first) {
            (Tombstones::Handle, Type::Option(some)) => self.compare(shapes, &some.ty(), topic)?,
            (Tombstones::Handle, other) => {
                let what = "its handler takes tombstones, so the value is an option, the component has";
                return Err(self.other_contract(topic, &format!("{what} `{}`", text(other))));
            }
            _ => self.compare(shapes, first, topic)?,
        }
        match (&key, &function.params[1..]) {
            (None, []) => {}
            (Some(key), [Type::Option(ty)]) => self.compare_typed_key(&key.shapes, &ty.ty(), topic)?,
            (Some(_), []) => {
                return Err(
                    self.other_contract(topic, "its keys have a schema, and the component's `handle` takes no key")
                );
            }
            (Some(_), [key]) => {
                let what = "its key is an option, the component has";
                return Err(self.other_contract(topic, &format!("{what} `{}`", text(key))));
            }
            _ => return Err(differs(&expected)),
        }
        let schema = value.as_ref().map(|typed| &typed.schema);
        let id = consumes.id.as_ref().map(|id| Identify::of(topic, schema, id)).transpose();
        let id = id.map_err(|e| self.broken(e.to_string()))?;
        Ok(Handler {
            topic: topic.into(),
            interface,
            wire,
            value,
            is_text,
            key,
            id,
            tombstones: consumes.tombstones,
            unknown_type: consumes.unknown_type,
        })
    }

    /// The function `handle` of an interface that the component exports.
    fn export(&self, interface: &str) -> Option<ComponentFunc> {
        let engine = &self.engine.wasmtime;
        let ComponentItem::ComponentInstance(instance) =
            self.compiled.component_type().get_export(engine, interface)?.ty
        else {
            return None;
        };
        match instance.get_export(engine, "handle")?.ty {
            ComponentItem::ComponentFunc(function) => Some(function),
            _ => None,
        }
    }
}
