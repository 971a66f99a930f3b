//! The handler of the simulated component, deterministic like every handler. Its emits contain what it read, so a wrong
//! state shows in the output.

use bytes::Bytes;
use heddle::runtime::Handler;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::{Record, Topic};
use heddle_core::fault::{EventFault, EventFaultKind, Fault, TaskFault};
use heddle_core::state::{Range, Reads, StoreIndex, Writes};
use heddle_core::task::{Dispatch, Prepared};

use crate::command::{Command, Operation};
use crate::plan::RECORD_BYTES_MAX;
use crate::reference::{Shown, TABLE};

/// The store that `add` writes.
pub(crate) const COUNTS: StoreIndex = StoreIndex(0);
/// The store that `put` writes.
pub(crate) const MARKS: StoreIndex = StoreIndex(1);

/// A handler that executes commands.
pub(crate) struct CommandHandler {
    /// The topic for its emits.
    pub(crate) output: Topic,
    /// Message ids are used if true.
    pub(crate) dedup: bool,
    /// Returns an error if the registry does not answer for the schema of the next record.
    pub(crate) registry: Box<dyn FnMut() -> Result<(), String>>,
    /// The versions that the host has shown of its global table. Absent if the table's records are part of the input,
    /// because the table then goes back with an aborted transaction.
    pub(crate) shown: Option<Shown>,
    /// The reason why the schema of a stored value was unavailable in the last delivery.
    pub(crate) unavailable: Option<String>,
}

impl CommandHandler {
    /// Looks up the schema of a stored value in the registry.
    fn stored(&mut self) -> Result<(), TaskFault> {
        (self.registry)().map_err(|why| {
            self.unavailable = Some(why.clone());
            TaskFault(why)
        })
    }
}

impl Handler for CommandHandler {
    fn take_unavailable(&mut self) -> Option<String> {
        self.unavailable.take()
    }
}

impl Dispatch for CommandHandler {
    fn prepare<'r>(&mut self, record: &'r Record) -> Result<Prepared<'r>, String> {
        (self.registry)()?;
        Ok(Prepared::plain(record))
    }

    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        if !self.dedup {
            return Ok(None);
        }
        Ok(Some(MessageId(command_of(prepared.record)?.id.into())))
    }

    fn dispatch(&mut self, _: &Prepared<'_>, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        let record = delivery.record;
        let command = command_of(record)?;
        let mut call =
            Call { reads, effects: Effects::default(), notes: format!("{}@{}", record.source, record.offset) };
        for operation in command.operations {
            if matches!(operation, Operation::Get(_) | Operation::Scan(_)) {
                self.stored()?;
            }
            match operation {
                Operation::Reject => return Err(EventFault::new(EventFaultKind::Rejected, "as asked").into()),
                Operation::Flaky(attempts) if delivery.attempt <= attempts => {
                    return Err(EventFault::new(EventFaultKind::Failed, "as asked").into());
                }
                Operation::Flaky(_) => {}
                Operation::Emit(key) => call.emit(&self.output, key, call.notes.clone()),
                Operation::Huge => call.emit(&self.output, None, "x".repeat(RECORD_BYTES_MAX + 1)),
                Operation::Hoard(key) => call.write(MARKS, key.into(), Some("x".repeat(RECORD_BYTES_MAX + 1).into())),
                Operation::Add(key, by) => call.add(key.into(), by)?,
                Operation::Put(key, value) => call.write(MARKS, key.into(), Some(value.into())),
                Operation::Delete(key) => {
                    for store in [COUNTS, MARKS] {
                        call.write(store, Bytes::from(key.clone()), None);
                    }
                    call.emit_record(&self.output, Some(key), None);
                }
                Operation::Get(key) => call.get(&key.into())?,
                Operation::Scan(prefix) => call.scan(&prefix)?,
                Operation::Look(key) => call.look(&key, self.shown.as_ref())?,
            }
        }
        Ok(call.effects)
    }
}

fn command_of(record: &Record) -> Result<Command, EventFault> {
    let value = record.value.as_deref().ok_or_else(|| EventFault::new(EventFaultKind::NullValue, "no value"))?;
    Command::parse(value).ok_or_else(|| EventFault::new(EventFaultKind::Decode, "no command"))
}

/// One delivery in progress.
struct Call {
    reads: Reads,
    effects: Effects,
    notes: String,
}

impl Call {
    fn own(&self) -> &Writes {
        &self.effects.writes
    }

    fn write(&mut self, store: StoreIndex, key: Bytes, value: Option<Bytes>) {
        self.effects.writes.insert((store, key), value);
    }

    fn note(&mut self, store: StoreIndex, key: &[u8], value: &[u8]) {
        let [key, value] = [key, value].map(String::from_utf8_lossy);
        self.notes.push_str(&format!(" {}.{key}={value}", store.0));
    }

    fn emit(&mut self, topic: &Topic, key: Option<String>, value: String) {
        self.emit_record(topic, key, Some(value.into()));
    }

    fn emit_record(&mut self, topic: &Topic, key: Option<String>, value: Option<Bytes>) {
        let (topic, key) = (topic.clone(), key.map(Bytes::from));
        self.effects.emits.push(Emit { topic, key, value, headers: vec![], cloudevents: false });
    }

    fn add(&mut self, key: Bytes, by: i64) -> Result<(), TaskFault> {
        let before = self.reads.get(self.own(), COUNTS, &key)?;
        let before = before.and_then(|value| std::str::from_utf8(&value).ok()?.parse::<i64>().ok()).unwrap_or(0);
        let sum = Bytes::from((before + by).to_string());
        self.note(COUNTS, &key, &sum);
        self.write(COUNTS, key, Some(sum));
        Ok(())
    }

    fn get(&mut self, key: &Bytes) -> Result<(), TaskFault> {
        for store in [COUNTS, MARKS] {
            let value = self.reads.get(self.own(), store, key)?;
            self.note(store, key, value.as_deref().unwrap_or(b"-"));
        }
        Ok(())
    }

    fn look(&mut self, key: &str, shown: Option<&Shown>) -> Result<(), TaskFault> {
        let value = self.reads.get(self.own(), TABLE, &Bytes::from(key.to_owned()))?;
        let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let noted = match (value, shown) {
            (None, _) => "missing".to_owned(),
            (Some(value), Some(shown)) => shown.note(key, &value),
            (Some(value), None) => value,
        };
        self.notes.push_str(&format!(" T.{key}={noted}"));
        Ok(())
    }

    fn scan(&mut self, prefix: &str) -> Result<(), TaskFault> {
        for store in [COUNTS, MARKS] {
            let range = Range { prefix: prefix.as_bytes(), after: None };
            for (key, value) in self.reads.scan(self.own(), store, &range, usize::MAX)? {
                self.note(store, &key, &value);
            }
        }
        Ok(())
    }
}
