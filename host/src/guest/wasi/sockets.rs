//! `wasi:sockets`: a network that denies everything. Python's library cannot be linked without it.

use wasmtime::component::{LinkerInstance, Resource, Val};

use super::{Called, Caller, unknown};
use crate::guest::host::Host;

/// The network. A component may hold it, and gets nothing by it.
pub(super) enum Network {}

/// Links the functions by which a component would come to a socket. Whoever has no socket cannot call the others.
pub(super) fn link(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "instance-network" => instance.func_wrap(name, |mut caller: Caller<'_>, (): ()| {
            caller.data_mut().wasi.hold()?;
            Ok((Resource::<Network>::new_own(0),))
        }),
        // These return `result<_, error-code>`, an enum of which one case is needed.
        "create-tcp-socket" | "create-udp-socket" | "resolve-addresses" => {
            instance.func_new(name, |_, _, _, results| {
                // A hostile component may import the name with another type; wasmtime compares the value with it.
                if let Some(result) = results.first_mut() {
                    *result = Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))));
                }
                Ok(())
            })
        }
        _ => unknown(instance, name),
    }
}
