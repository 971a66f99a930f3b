//! What belongs to one instance on the host's side: the delivery under way and what it did so far.

use heddle_core::delivery::{ComponentName, Delivery};
use heddle_core::effects::{Effects, Emit};
use heddle_core::event::Record;
use rand_chacha::ChaCha8Rng;
use wasmtime::ResourceLimiter;

use super::lines::Lines;
use super::random;
use super::stores::Reading;

/// The host's side of an instance.
pub(super) struct Host {
    limits: HostLimits,
    /// The delivery under way; none while the component starts.
    current: Option<Current>,
    pub(super) lines: Lines,
    pub(super) memory_refused: bool,
}

/// What an instance, and one delivery to it, may use.
#[derive(Clone, Copy)]
pub(super) struct HostLimits {
    pub(super) memory_bytes_max: usize,
    pub(super) emits_max: usize,
    pub(super) output_bytes_max: usize,
    pub(super) log_lines_max: usize,
}

/// A handler emits or writes more than one delivery may: its fault, told apart from other traps by its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OutputRefused(String);

/// A delivery, kept for as long as its handler runs. It becomes a value for the guest only when the guest asks.
pub(super) struct Current {
    component: ComponentName,
    record: Record,
    attempt: u32,
    random: Option<ChaCha8Rng>,
    pub(super) effects: Effects,
    /// How large what it emits and writes is so far.
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
            random: None,
            effects: Effects::default(),
            output_bytes: 0,
            limits,
            reading,
        }
    }

    /// Adds a record to what it emits.
    pub(super) fn emit(&mut self, emit: Emit) -> Result<(), OutputRefused> {
        let limit = self.limits.emits_max;
        if self.effects.emits.len() >= limit {
            let what = format!("the handler emits more than {limit} records: raise [limits] emits, or emit less");
            return Err(OutputRefused(what));
        }
        let headers = emit.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, bytes::Bytes::len));
        self.grow(emit.value.len() + emit.key.as_ref().map_or(0, bytes::Bytes::len) + headers.sum::<usize>())?;
        self.effects.emits.push(emit);
        Ok(())
    }

    /// Adds to the size of what it emits and writes.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), OutputRefused> {
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
        Delivery { component: &self.component, record: &self.record, attempt: self.attempt }
    }

    pub(super) fn random(&mut self) -> &mut ChaCha8Rng {
        let Self { component, record, attempt, random, .. } = self;
        random.get_or_insert_with(|| random::generator(&Delivery { component, record, attempt: *attempt }))
    }
}

impl Host {
    pub(super) fn new(limits: HostLimits) -> Self {
        Self { limits, current: None, lines: Lines::default(), memory_refused: false }
    }

    /// A delivery begins.
    pub(super) fn begin(&mut self, delivery: &Delivery<'_>, reading: Reading) {
        self.current = Some(Current::new(delivery, reading, self.limits));
    }

    /// Keeps a line of the component's log.
    pub(super) fn log(&mut self, level: &str, message: &str) {
        self.lines.add(level, message, self.limits.log_lines_max);
    }

    /// It is over, however it ended.
    pub(super) fn end(&mut self) -> Option<Current> {
        self.current.take()
    }

    /// The delivery under way. A component has no effects and sees nothing while it starts: how often that happens is chance.
    pub(super) fn current(&mut self) -> wasmtime::Result<&mut Current> {
        self.current.as_mut().ok_or_else(|| wasmtime::Error::msg("there is no delivery outside of a handler"))
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.limits.memory_bytes_max;
        self.memory_refused |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // An entry takes a pointer on the host; a guest's function tables are far smaller.
        Ok(desired.saturating_mul(8) <= self.limits.memory_bytes_max)
    }
}
