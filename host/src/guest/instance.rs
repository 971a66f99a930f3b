//! One instance of a component: its memory, and the current delivery.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use heddle_contract::manifest::component::{Tombstones, UnknownType};
use heddle_contract::wire::{self, Part, Wire, Writer};
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::Record;
use heddle_core::fault::{EventFault, EventFaultKind, Fault, TaskFault};
use heddle_core::state::Reads;
use heddle_core::task::{Decoding, Dispatch, Prepared};
use tracing::Level;
use wasmtime::component::{Func, Val};
use wasmtime::{Store, Trap};

use super::Schemas;
use super::codec::{self, Decoder};
use super::component::{Component, Typed};
use super::engine::{STACK_BYTES_MAX, ticks};
use super::host::{Host, OutputRefused};
use super::identify::{Identify, in_header, in_value};
use super::imports::EmitRefused;
use super::lines::Lines;
use super::start::start;
use super::stores::{Plans, Reading, StateRefused};
use super::tables::EntryUnreadable;
use super::wasi::Exited;

/// An instance and its handlers. After a trap its memory can be in any state, so the instance is dropped and replaced.
struct Live {
    store: Store<Host>,
    /// The handlers, in the component's order.
    handlers: Vec<Func>,
    /// True if earlier deliveries may have left something in its memory.
    used: bool,
}

/// The result of one call of a handler.
struct Called {
    outcome: Result<Effects, Fault>,
    lines: Lines,
    /// True if the instance was refused memory, and earlier deliveries may have used up the missing part. A fresh
    /// instance may have enough.
    worn_out: bool,
}

/// The maximum size of a value whose memory is kept for the next value.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// A decoder, and its input.
type Encoded<'s> = (&'s Decoder, Cow<'s, [u8]>);

/// Calls a component's handlers for one worker.
pub struct Instance {
    component: Arc<Component>,
    schemas: Arc<dyn Schemas>,
    live: Option<Live>,
    /// The arguments of the last call of each handler. The next call reuses their memory.
    params: Vec<Vec<Val>>,
    /// The decoders, each with its writer. Their number grows with the number of schema versions in use.
    decoders: Vec<(Writer, Decoder)>,
    /// The numbers of decoders, by handler and writer.
    numbers: HashMap<(usize, Writer, Part), usize, RandomState>,
    /// The decoders of stored values. They are lent to the host's side while a handler runs.
    plans: Plans,
    /// The number of deliveries that were retried in a fresh instance.
    retried: u64,
    /// The number of instances so far.
    instances: u64,
    /// The schema of a stored value that could not be fetched in the last delivery.
    missing: Option<Writer>,
    /// The reason why the last delivery could not be made now.
    waits: Option<String>,
}

impl Instance {
    /// Creates the caller of the handlers of `component`. The instance itself is created with the first delivery.
    #[must_use]
    pub fn new(component: Arc<Component>, schemas: Arc<dyn Schemas>) -> Self {
        let params = component.handlers.iter().map(|_| vec![]).collect();
        Self {
            component,
            schemas,
            live: None,
            params,
            decoders: vec![],
            numbers: HashMap::default(),
            plans: Plans::default(),
            missing: None,
            waits: None,
            retried: 0,
            instances: 0,
        }
    }

    /// As [`new`](Self::new), with an instance that has already started.
    ///
    /// # Errors
    /// If the instance does not start within the deadline of a start.
    pub fn start(component: Arc<Component>, schemas: Arc<dyn Schemas>) -> Result<Self, EventFault> {
        let live = Self::instantiate(&component)?;
        Ok(Self { live: Some(live), instances: 1, ..Self::new(component, schemas) })
    }

    /// Loads the schema that the last delivery lacked to decode a stored value.
    ///
    /// # Errors
    /// If the registry does not answer. The caller tries again later.
    pub(crate) fn load_missing(&mut self) -> Result<(), String> {
        if let Some(writer) = self.missing {
            self.schemas.named(writer)?;
            self.missing = None;
        }
        Ok(())
    }

    /// Takes the reason why the last delivery could not be made now, if it was a registry outage.
    pub(crate) fn take_unavailable(&mut self) -> Option<String> {
        self.waits.take()
    }

    /// The memory of the instance, in bytes. Zero if there is none.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.store.data().memory_bytes())
    }

    /// The number of instances so far.
    pub(crate) fn instances(&self) -> u64 {
        self.instances
    }

    fn place(&self, record: &Record) -> Option<usize> {
        self.component.handlers.iter().position(|handler| handler.topic == record.source.topic)
    }

    fn typed(&self, place: usize, part: Part) -> Option<&Typed> {
        let handler = &self.component.handlers[place];
        match part {
            Part::Key => handler.key.as_ref(),
            Part::Value => handler.value.as_ref(),
        }
    }

    /// Looks up the decoder for a part of a record, or compiles it.
    fn decoding(&mut self, place: usize, part: Part, record: &Record) -> Result<Decoding, String> {
        let (bytes, what) = (bytes_of(record, part), part.name());
        let (Some(bytes), Some(typed)) = (bytes, self.typed(place, part)) else { return Ok(Decoding::Unneeded) };
        let broken = |why| Ok(Decoding::Broken(Box::new(EventFault::new(EventFaultKind::Decode, why))));
        let (wire, header) = (self.component.handlers[place].wire, schema_header(record, part));
        let mut writer = match wire.writer(part, header, bytes) {
            Ok(writer) => writer,
            Err(unnamed) => return broken(format!("the {what} {unnamed}")),
        };
        if let Some(number) = self.numbers.get(&(place, writer, part)) {
            return Ok(Decoding::With(*number));
        }
        let mut schema = self.schemas.named(writer)?;
        // Plain bytes may look like a schema id.
        let may_be_plain = wire == Wire::Auto && header.is_none();
        if may_be_plain && schema.as_ref().is_none_or(|schema| schema.format() != typed.schema.format()) {
            writer = Writer::Contract;
        }
        if writer == Writer::Contract {
            if let Some(number) = self.numbers.get(&(place, writer, part)) {
                return Ok(Decoding::With(*number));
            }
            schema = Some(typed.schema.clone());
        }
        let Some(schema) = schema else {
            return broken(format!("the registry has no schema with {writer} of the {what}"));
        };
        self.decoders.push((writer, Decoder::new(&schema, &typed.schema, typed.shapes.clone())));
        let number = self.decoders.len() - 1;
        self.numbers.insert((place, writer, part), number);
        Ok(Decoding::With(number))
    }

    /// The decoder and the payload of a part of a record; `None` if the part needs no decoder.
    fn encoded<'s>(
        &'s self,
        place: usize,
        part: Part,
        prepared: &'s Prepared<'_>,
    ) -> Result<Option<Encoded<'s>>, EventFault> {
        let decoding = match part {
            Part::Key => &prepared.key,
            Part::Value => &prepared.value,
        };
        let number = match decoding {
            Decoding::Unneeded => return Ok(None),
            Decoding::With(number) => *number,
            Decoding::Broken(fault) => return Err((**fault).clone()),
        };
        let (bytes, typed) = (bytes_of(prepared.record, part), self.typed(place, part));
        let (Some(bytes), Some(typed)) = (bytes, typed) else { return Ok(None) };
        let (writer, decoder) = &self.decoders[number];
        if *writer == Writer::Contract {
            return Ok(Some((decoder, wire::plain(bytes, &typed.schema).bytes)));
        }
        let (wire, header) = (self.component.handlers[place].wire, schema_header(prepared.record, part));
        Ok(wire.read(part, header, bytes, &typed.schema).ok().map(|payload| (decoder, payload.bytes)))
    }

    /// Returns true if the record is handled without its handler, because the manifest says so.
    fn is_skipped(&self, place: usize, prepared: &Prepared<'_>) -> bool {
        let handler = &self.component.handlers[place];
        if prepared.record.value.is_none() {
            return handler.tombstones == Tombstones::Skip;
        }
        // Other faults of the value are detected when it is decoded.
        handler.unknown_type == Some(UnknownType::Skip)
            && self
                .encoded(place, Part::Value, prepared)
                .is_ok_and(|encoded| encoded.is_some_and(|(decoder, payload)| decoder.is_of_unknown_type(&payload)))
    }

    /// Sets the arguments of a handler.
    fn event(&self, place: usize, prepared: &Prepared<'_>, params: &mut Vec<Val>) -> Result<(), EventFault> {
        let has_key = self.typed(place, Part::Key).is_some();
        params.resize(if has_key { 2 } else { 1 }, Val::Bool(false));
        self.value(place, prepared, &mut params[0])?;
        if has_key {
            let mut key = Val::Bool(false);
            self.decode(place, Part::Key, prepared, &mut key)?;
            params[1] = Val::Option(prepared.record.key.is_some().then(|| Box::new(key)));
        }
        Ok(())
    }

    /// Sets the argument for the value.
    fn value(&self, place: usize, prepared: &Prepared<'_>, into: &mut Val) -> Result<(), EventFault> {
        let takes_tombstones = self.component.handlers[place].tombstones == Tombstones::Handle;
        let Some(value) = &prepared.record.value else {
            *into = Val::Option(None);
            let null = EventFault::new(EventFaultKind::NullValue, "the value is null");
            return if takes_tombstones { Ok(()) } else { Err(null) };
        };
        let limit = self.component.record_bytes_max;
        if value.len() > limit {
            let detail = format!("the value has {} bytes, more than the limit of {limit}", value.len());
            return Err(EventFault::new(EventFaultKind::TooLarge, detail));
        }
        // Reuses the memory of the last value.
        let mut val = match std::mem::replace(into, Val::Bool(false)) {
            Val::Option(Some(last)) if takes_tombstones => *last,
            last => last,
        };
        match self.typed(place, Part::Value) {
            None if self.component.handlers[place].is_text => val = text(value)?,
            None => val = codec::bytes(value),
            Some(_) => self.decode(place, Part::Value, prepared, &mut val)?,
        }
        *into = if takes_tombstones { Val::Option(Some(Box::new(val))) } else { val };
        Ok(())
    }

    /// Decodes a part of a record.
    fn decode(&self, place: usize, part: Part, prepared: &Prepared<'_>, into: &mut Val) -> Result<(), EventFault> {
        let Some((decoder, payload)) = self.encoded(place, part, prepared)? else { return Ok(()) };
        decoder.decode_into(&payload, into).map_err(|e| EventFault::new(EventFaultKind::Decode, e.to_string()))
    }

    fn instantiate(component: &Component) -> Result<Live, EventFault> {
        let (mut store, instance) = start(component)?;
        let handler = |handler: &super::component::Handler| {
            let interface = instance.get_export_index(&mut store, None, &handler.interface)?;
            let handle = instance.get_export_index(&mut store, Some(&interface), "handle")?;
            instance.get_func(&mut store, handle)
        };
        let handlers = component.handlers.iter().map(handler).collect::<Option<Vec<_>>>();
        let handlers = handlers.ok_or_else(|| EventFault::new(EventFaultKind::Trap, "a handler is not exported"))?;
        Ok(Live { store, handlers, used: false })
    }

    /// Calls a handler once, in the current instance or in a new one. A fault leaves no effects of the call.
    fn call(
        &mut self,
        place: usize,
        params: &[Val],
        delivery: &Delivery<'_>,
        reads: Reads,
    ) -> Result<Called, EventFault> {
        let component = self.component.clone();
        let mut live = match self.live.take() {
            Some(live) => live,
            None => {
                self.instances += 1;
                Self::instantiate(&component)?
            }
        };
        live.store.set_epoch_deadline(ticks(component.deadline));
        let reading = Reading::new(reads, self.schemas.clone(), std::mem::take(&mut self.plans));
        live.store.data_mut().begin(delivery, reading);
        let mut results = [Val::Bool(false)];
        let called = live.handlers[place].call(&mut live.store, params, &mut results);
        let host = live.store.data_mut();
        let lines = host.take_lines();
        let refused = std::mem::take(&mut host.memory_refused);
        let mut effects = Effects::default();
        if let Some(current) = host.end() {
            effects = current.effects;
            let (plans, unavailable) = current.reading.end();
            self.plans = plans;
            (self.missing, self.waits) = unavailable.unzip();
        }
        let used = std::mem::replace(&mut live.used, true);
        let outcome = called.map_err(|error| fault_of(&error, refused, &component, &lines)).and_then(|()| {
            // An instance is used again only if its call returned normally.
            self.live = Some(live);
            Ok(verdict(&results[0])?)
        });
        let worn_out = used && refused && matches!(outcome, Err(Fault::Event(_)));
        Ok(Called { outcome: outcome.map(|()| effects), lines, worn_out })
    }

    /// Reports that a delivery is retried in a fresh instance. Reports the 1st, 2nd, 4th, 8th time and so on, because a
    /// component that leaks causes this again and again.
    fn report_retry(&mut self, delivery: &Delivery<'_>) {
        self.retried += 1;
        if self.retried.is_power_of_two() {
            tracing::warn!(
                component = %delivery.component,
                topic = %delivery.record.source.topic,
                partition = delivery.record.source.partition.0,
                offset = delivery.record.offset.0,
                memory_bytes_max = self.component.limits.memory_bytes_max,
                retried = self.retried,
                "an instance used up its memory over several deliveries, retrying the delivery in a fresh instance"
            );
        }
    }
}

impl Dispatch for Instance {
    fn prepare<'r>(&mut self, record: &'r Record) -> Result<Prepared<'r>, String> {
        let Some(place) = self.place(record) else { return Ok(Prepared::plain(record)) };
        let value = self.decoding(place, Part::Value, record)?;
        let key = self.decoding(place, Part::Key, record)?;
        Ok(Prepared { record, handler: Some(place), value, key })
    }

    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        let Some(place) = prepared.handler else { return Ok(None) };
        if self.is_skipped(place, prepared) {
            return Ok(None);
        }
        match (&self.component.handlers[place].id, &prepared.record.value) {
            (Some(Identify::Header(name)), _) => Ok(in_header(prepared.record, name)),
            // Faults of the whole value are detected when it is dispatched.
            (Some(Identify::Value(path)), Some(value)) if value.len() <= self.component.record_bytes_max => {
                match self.encoded(place, Part::Value, prepared)? {
                    Some((decoder, payload)) => in_value(path, decoder, &payload),
                    None => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn dispatch(&mut self, prepared: &Prepared<'_>, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        self.waits = None;
        let Some(place) = prepared.handler else {
            let what = "the component has no handler for this topic";
            return Err(EventFault::new(EventFaultKind::Failed, what).into());
        };
        if self.is_skipped(place, prepared) {
            return Ok(Effects::default());
        }
        let mut params = std::mem::take(&mut self.params[place]);
        self.event(place, prepared, &mut params)?;
        let mut called = self.call(place, &params, delivery, reads.clone())?;
        if called.worn_out {
            self.report_retry(delivery);
            self.live = None;
            called = self.call(place, &params, delivery, reads)?;
        }
        if delivery.record.value.as_ref().is_some_and(|value| value.len() <= KEPT_BYTES_MAX) {
            self.params[place] = params;
        }
        let Called { outcome, lines, .. } = called;
        let outcome = outcome.map_err(|fault| match fault {
            Fault::Event(fault) => Fault::Event(EventFault { log: lines.told(), ..fault }),
            task => task,
        });
        lines.tell(delivery, if outcome.is_ok() { Level::TRACE } else { Level::WARN });
        outcome
    }
}

fn bytes_of(record: &Record, part: Part) -> Option<&[u8]> {
    match part {
        Part::Key => record.key.as_deref(),
        Part::Value => record.value.as_deref(),
    }
}

/// The header with the schema of a part. The last one of its name counts, as for Confluent's deserializers.
fn schema_header(record: &Record, part: Part) -> Option<&[u8]> {
    let header = record.headers.iter().rfind(|header| header.name == part.header())?;
    Some(header.value.as_deref().unwrap_or_default())
}

/// Converts a value that is passed as text.
fn text(value: &[u8]) -> Result<Val, EventFault> {
    let text = std::str::from_utf8(value);
    let fault = |at| EventFault::new(EventFaultKind::Decode, format!("at byte {at}: the value is not UTF-8"));
    text.map(|text| Val::String(text.to_owned())).map_err(|error| fault(error.valid_up_to()))
}

/// The fault of a call that did not return normally.
fn fault_of(error: &wasmtime::Error, memory_refused: bool, component: &Component, lines: &Lines) -> Fault {
    let fault = |kind, detail: String| EventFault::new(kind, detail).into();
    if let Some(task) = error.downcast_ref::<TaskFault>() {
        return task.clone().into();
    }
    if let Some(refused) = error.downcast_ref::<EmitRefused>() {
        return fault(EventFaultKind::Emit, refused.to_string());
    }
    if let Some(refused) = error.downcast_ref::<StateRefused>() {
        return fault(EventFaultKind::State, refused.to_string());
    }
    if let Some(unreadable) = error.downcast_ref::<EntryUnreadable>() {
        return fault(EventFaultKind::Table, unreadable.to_string());
    }
    if let Some(refused) = error.downcast_ref::<OutputRefused>() {
        return fault(EventFaultKind::Output, refused.to_string());
    }
    let trap = error.downcast_ref::<Trap>();
    let ended = trap.map(ToString::to_string).or_else(|| Some(error.downcast_ref::<Exited>()?.to_string()));
    match ended {
        Some(_) if trap == Some(&Trap::StackOverflow) => {
            let limit = STACK_BYTES_MAX >> 10;
            fault(EventFaultKind::Stack, format!("the handler calls itself too deeply for its {limit} KiB of stack"))
        }
        Some(_) if trap == Some(&Trap::Interrupt) => {
            let deadline = component.deadline.as_millis();
            fault(EventFaultKind::Deadline, format!("the handler ran past its deadline of {deadline} ms"))
        }
        _ if memory_refused => {
            let limit = component.limits.memory_bytes_max;
            fault(EventFaultKind::Memory, format!("the handler asked for more than its {limit} bytes of memory"))
        }
        // A trap has no message. A guest that panics logs its message first.
        Some(ended) => match lines.last_words() {
            Some(words) => fault(EventFaultKind::Trap, format!("{} ({ended})", words.replace('\n', " "))),
            None => fault(EventFaultKind::Trap, ended),
        },
        None => fault(EventFaultKind::Trap, format!("{error:#}").replace('\n', " ")),
    }
}

/// Converts the result of the handler, `result<_, failure>`.
fn verdict(result: &Val) -> Result<(), EventFault> {
    match result {
        Val::Result(Ok(_)) => Ok(()),
        Val::Result(Err(Some(failure))) => match failure.as_ref() {
            Val::Variant(case, Some(message)) => {
                let message = if let Val::String(message) = message.as_ref() { message.clone() } else { String::new() };
                let kind = if case == "rejected" { EventFaultKind::Rejected } else { EventFaultKind::Failed };
                Err(EventFault::new(kind, message))
            }
            _ => Err(EventFault::new(EventFaultKind::Failed, "the handler failed without a reason")),
        },
        _ => Err(EventFault::new(EventFaultKind::Failed, "the handler returned a value that is not a result")),
    }
}
