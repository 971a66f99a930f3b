//! The host's state of one instance: the current delivery and its effects so far.

use heddle_core::delivery::{ComponentName, Delivery, Epoch};
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::{Header, Record, Timestamp};
use rand_chacha::ChaCha8Rng;
use wasmtime::ResourceLimiter;

use super::lines::Lines;
use super::random;
use super::stores::Reading;
use super::wasi;

/// The host's state of an instance.
pub(super) struct Host {
    limits: HostLimits,
    /// The size of all memories. `table_bytes` is the host memory of all tables.
    memory_bytes: usize,
    table_bytes: usize,
    /// The current delivery. `None` while the component starts.
    current: Option<Current>,
    pub(super) lines: Lines,
    pub(super) memory_refused: bool,
    pub(super) wasi: wasi::State,
    /// The random numbers while the component starts.
    starting: Option<ChaCha8Rng>,
}

/// The limits of an instance and of one delivery to it.
#[derive(Clone, Copy)]
pub(super) struct HostLimits {
    pub(super) memory_bytes_max: usize,
    pub(super) emits_max: usize,
    pub(super) output_bytes_max: usize,
    pub(super) log_lines_max: usize,
}

/// The error of a handler that emits or writes more than one delivery may. Its type distinguishes it from other traps.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OutputRefused(String);

/// The sizes of an emitted record, a header and a write without their bytes. They take memory even without bytes, and a
/// handler may emit and write any number of them.
const EMIT_BYTES: usize = size_of::<Emit>();
const HEADER_BYTES: usize = size_of::<Header>();
const WRITE_BYTES: usize = 64;

/// A delivery that is being handled. It is converted to a value for the guest only on request.
pub(super) struct Current {
    component: ComponentName,
    record: Record,
    attempt: u32,
    epoch: Option<Epoch>,
    random: Option<ChaCha8Rng>,
    pub(super) effects: Effects,
    /// The size of its emits and writes so far.
    output_bytes: usize,
    limits: HostLimits,
    pub(super) reading: Reading,
}

impl Current {
    fn new(delivery: &Delivery<'_>, reading: Reading, limits: HostLimits) -> Self {
        Self {
            component: delivery.component.clone(),
            record: delivery.record.clone(),
            attempt: delivery.attempt,
            epoch: delivery.epoch.cloned(),
            random: None,
            effects: Effects::default(),
            output_bytes: 0,
            limits,
            reading,
        }
    }

    /// Adds a record to the emits.
    pub(super) fn emit(&mut self, emit: Emit) -> Result<(), OutputRefused> {
        let limit = self.limits.emits_max;
        if self.effects.emits.len() >= limit {
            let what = format!("the handler emits more than {limit} records: raise [limits] emits, or emit less");
            return Err(OutputRefused(what));
        }
        let bytes = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
        let headers = emit.headers.iter().map(|header| HEADER_BYTES + header.name.len() + bytes(&header.value));
        self.grow(EMIT_BYTES + bytes(&emit.value) + bytes(&emit.key) + headers.sum::<usize>())?;
        self.effects.emits.push(emit);
        Ok(())
    }

    /// Counts a write of `bytes` bytes.
    pub(super) fn write(&mut self, bytes: usize) -> Result<(), OutputRefused> {
        self.grow(WRITE_BYTES + bytes)
    }

    /// Adds to the size of emits and writes.
    fn grow(&mut self, bytes: usize) -> Result<(), OutputRefused> {
        let limit = self.limits.output_bytes_max;
        self.output_bytes = self.output_bytes.saturating_add(bytes);
        if self.output_bytes > limit {
            let what =
                format!("the handler emits and writes more than {limit} bytes: raise [limits] output, or write less");
            return Err(OutputRefused(what));
        }
        Ok(())
    }

    pub(super) fn delivery(&self) -> Delivery<'_> {
        let Self { component, record, attempt, epoch, .. } = self;
        Delivery { component, record, attempt: *attempt, epoch: epoch.as_ref() }
    }

    pub(super) fn random(&mut self) -> &mut ChaCha8Rng {
        let Self { component, record, attempt, epoch, random, .. } = self;
        let delivery = Delivery { component, record, attempt: *attempt, epoch: epoch.as_ref() };
        random.get_or_insert_with(|| random::generator(&delivery))
    }
}

impl Host {
    /// The size of all memories, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(super) fn new(limits: HostLimits) -> Self {
        Self {
            limits,
            memory_bytes: 0,
            table_bytes: 0,
            current: None,
            lines: Lines::default(),
            memory_refused: false,
            wasi: wasi::State::default(),
            starting: None,
        }
    }

    /// Begins a delivery.
    pub(super) fn begin(&mut self, delivery: &Delivery<'_>, reading: Reading) {
        self.current = Some(Current::new(delivery, reading, self.limits));
        self.wasi.begin();
    }

    /// Keeps a log line of the component.
    pub(super) fn log(&mut self, level: &str, message: &str) {
        self.lines.add(level, message, self.limits.log_lines_max);
    }

    /// Takes the lines so far, including unfinished ones of stdout and stderr.
    pub(super) fn take_lines(&mut self) -> Lines {
        self.wasi.flush(&mut self.lines, self.limits.log_lines_max);
        std::mem::take(&mut self.lines)
    }

    /// Writes to stdout or stderr of the component.
    pub(super) fn write(&mut self, output: wasi::Output, bytes: &[u8]) {
        self.wasi.write(output, bytes, &mut self.lines, self.limits.log_lines_max);
    }

    /// The time of the delivery; 1970 while the component starts.
    pub(super) fn timestamp(&self) -> Timestamp {
        self.current.as_ref().map_or(Timestamp(0), |current| current.record.timestamp)
    }

    /// The random numbers of the delivery, or of the start, which are the same at every start.
    pub(super) fn random(&mut self) -> &mut ChaCha8Rng {
        match &mut self.current {
            Some(current) => current.random(),
            None => self.starting.get_or_insert_with(random::starting),
        }
    }

    /// Ends the delivery, whatever its outcome.
    pub(super) fn end(&mut self) -> Option<Current> {
        self.current.take()
    }

    /// The current delivery. Fails while the component starts: the number of starts depends on chance, so a start can
    /// neither read a delivery nor have effects.
    pub(super) fn current(&mut self) -> wasmtime::Result<&mut Current> {
        self.current.as_mut().ok_or_else(|| wasmtime::Error::msg("there is no delivery outside of a handler"))
    }
}

/// The maximum number of memories of a component. Memories, tables and core instances take address space, even when
/// they are empty. JavaScript's runtime has three memories, Python's 40 instances.
const MEMORIES_MAX: usize = 64;
const TABLES_MAX: usize = 256;
const INSTANCES_MAX: usize = 1024;
/// The host memory of a table entry, in bytes.
const TABLE_ENTRY_BYTES: usize = 8;

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The limit applies to the sum of all memories, because a component may have several.
        let all = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let granted = all <= self.limits.memory_bytes_max;
        if granted {
            self.memory_bytes = all;
        }
        self.memory_refused |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current).saturating_mul(TABLE_ENTRY_BYTES);
        let all = self.table_bytes.saturating_add(more);
        // The limit is generous, because a guest's function tables are far smaller than its memory.
        let granted = all <= self.limits.memory_bytes_max;
        if granted {
            self.table_bytes = all;
        }
        Ok(granted)
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use heddle_core::event::{Offset, TopicPartition};
    use heddle_core::state::Reads;

    use super::*;
    use crate::guest::Schemas;

    struct NoSchemas;

    impl Schemas for NoSchemas {
        fn writer(
            &self,
            _: heddle_contract::wire::SchemaId,
        ) -> Result<Option<heddle_contract::format::Schema>, String> {
            Ok(None)
        }
    }

    #[test]
    fn emits_and_writes_without_bytes_count() {
        let record = Record {
            source: TopicPartition::new("in", 0),
            offset: Offset(0),
            timestamp: Timestamp(0),
            key: None,
            value: None,
            headers: vec![],
        };
        let component = "shop.orders".into();
        let delivery = Delivery { component: &component, record: &record, attempt: 1, epoch: None };
        let limits = HostLimits { memory_bytes_max: 0, emits_max: 10, output_bytes_max: 10_000, log_lines_max: 0 };
        let reading = || Reading::new(Reads::none(), std::sync::Arc::new(NoSchemas), Default::default());
        let mut current = Current::new(&delivery, reading(), limits);
        let empty = |headers: usize| Emit {
            topic: "out".into(),
            key: None,
            value: None,
            headers: vec![Header { name: "".into(), value: None }; headers],
            cloudevents: false,
        };
        current.emit(empty(10)).unwrap();
        assert!(current.emit(empty(1_000)).is_err());
        let mut current = Current::new(&delivery, reading(), limits);
        let written = (0..1_000).take_while(|_| current.write(0).is_ok()).count();
        assert_eq!(written, 10_000 / WRITE_BYTES);
    }
}
