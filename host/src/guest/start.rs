//! The start of a component: runs its start function under a deadline and its memory limit, without effects.

use std::time::Duration;

use heddle_core::fault::{EventFault, EventFaultKind};
use wasmtime::component::{Instance, Val};
use wasmtime::{Store, Trap};

use super::LoadError;
use super::component::Component;
use super::engine::ticks;
use super::host::Host;

/// The maximum time for the start of a component. A language's runtime takes milliseconds, but a machine may be busy.
const START_DEADLINE: Duration = Duration::from_secs(2);

/// The minimum limit on the arguments of one call of an import, in bytes. A component may emit more than it consumes.
const ARGUMENT_BYTES_MIN: usize = 4 << 20;
/// The allowance for a key and headers in the arguments of one call, in addition to the size of a record.
const ARGUMENT_SLACK_BYTES: usize = 1 << 20;

/// The maximum host memory for the arguments of one call, in bytes. A component may emit a record as large as one that
/// it may consume. Each byte of a list temporarily takes a [`Val`].
fn argument_memory_max(record_bytes_max: usize) -> usize {
    let bytes = record_bytes_max.saturating_add(ARGUMENT_SLACK_BYTES).max(ARGUMENT_BYTES_MIN);
    bytes.saturating_mul(size_of::<Val>())
}

/// The reason why a component does not start.
pub(super) struct StartFault {
    what: String,
    hint: &'static str,
}

impl StartFault {
    fn of(error: &wasmtime::Error, memory_refused: bool, component: &Component) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self {
                what: format!("it ran past the {} ms that a start may take", START_DEADLINE.as_millis()),
                hint: "move work out of the component's start, into its handlers",
            },
            _ if memory_refused => Self {
                what: format!("it asked for more than its {} bytes of memory", component.limits.memory_bytes_max),
                hint: "raise [limits] memory in component.toml, or have the component begin with less",
            },
            _ => Self {
                what: format!("{:#}", error.root_cause()).replace('\n', " "),
                hint: "check what the component does outside of its handlers",
            },
        }
    }

    /// The error that refuses the component.
    pub(super) fn refusal(self, component: &str) -> LoadError {
        LoadError::DoesNotStart { component: component.to_owned(), what: self.what, hint: self.hint.to_owned() }
    }
}

impl From<StartFault> for EventFault {
    fn from(fault: StartFault) -> Self {
        Self::new(EventFaultKind::Trap, format!("the component does not start: {}", fault.what))
    }
}

/// Starts an instance with separate memory.
pub(super) fn start(component: &Component) -> Result<(Store<Host>, Instance), StartFault> {
    let mut store = Store::new(&component.engine.wasmtime, Host::new(component.limits));
    store.limiter(|host| host);
    store.set_hostcall_fuel(argument_memory_max(component.record_bytes_max));
    store.set_epoch_deadline(ticks(START_DEADLINE));
    match component.pre.instantiate(&mut store) {
        Ok(instance) => Ok((store, instance)),
        Err(error) => Err(StartFault::of(&error, store.data().memory_refused, component)),
    }
}
