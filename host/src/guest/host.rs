//! What belongs to one instance on the host's side: the delivery under way and what it did so far.

use heddle_core::delivery::{ComponentName, Delivery};
use heddle_core::effects::Effects;
use heddle_core::event::Record;
use rand_chacha::ChaCha8Rng;
use wasmtime::ResourceLimiter;

use super::lines::Lines;
use super::random;
use super::stores::Reading;

/// The host's side of an instance.
pub(super) struct Host {
    memory_bytes_max: usize,
    /// The delivery under way; none while the component starts.
    current: Option<Current>,
    pub(super) lines: Lines,
    pub(super) memory_refused: bool,
}

/// A delivery, kept for as long as its handler runs. It becomes a value for the guest only when the guest asks.
pub(super) struct Current {
    component: ComponentName,
    record: Record,
    attempt: u32,
    random: Option<ChaCha8Rng>,
    pub(super) effects: Effects,
    pub(super) reading: Reading,
}

impl Current {
    pub(super) fn new(delivery: &Delivery<'_>, reading: Reading) -> Self {
        Self {
            component: delivery.component.clone(),
            record: delivery.record.clone(),
            attempt: delivery.attempt,
            random: None,
            effects: Effects::default(),
            reading,
        }
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
    pub(super) fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, current: None, lines: Lines::default(), memory_refused: false }
    }

    /// A delivery begins.
    pub(super) fn begin(&mut self, current: Current) {
        self.current = Some(current);
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
        let granted = desired <= self.memory_bytes_max;
        self.memory_refused |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // An entry takes a pointer on the host; a guest's function tables are far smaller.
        Ok(desired.saturating_mul(8) <= self.memory_bytes_max)
    }
}
