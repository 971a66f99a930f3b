//! `wasi:sockets`: a network that denies everything. Python's standard library cannot be linked without it.

use wasmtime::component::{LinkerInstance, Resource, Val};

use super::{Called, Caller, unknown};
use crate::guest::host::Host;

/// The network. A component may hold it, but cannot use it for anything.
pub(super) enum Network {}

/// Links the functions that create a socket. All other functions need a socket, so they cannot be called.
pub(super) fn link(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "instance-network" => instance.func_wrap(name, |mut caller: Caller<'_>, (): ()| {
            caller.data_mut().wasi.hold()?;
            Ok((Resource::<Network>::new_own(0),))
        }),
        // These return `result<_, error-code>`. Only one case of that enum is used.
        "create-tcp-socket" | "create-udp-socket" | "resolve-addresses" => {
            instance.func_new(name, |_, _, _, results| {
                // A hostile component may import the name with another type. wasmtime checks the value against that
                // type.
                if let Some(result) = results.first_mut() {
                    *result = Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))));
                }
                Ok(())
            })
        }
        _ => unknown(instance, name),
    }
}
