//! An empty, deterministic WASI 0.2, for tool chains that require one. It gives access to nothing but the delivery.
//!
//! ```text
//!  cli/stdout, stderr           lines for the handler's log, at `info` and `warn`
//!  cli/stdin                    empty
//!  cli/environment              no variables, no arguments
//!  cli/exit                     ends the instance, as a trap does
//!  filesystem                   no preopened folder, so no files
//!  clocks/wall-clock            the record's timestamp; 1970 while the component starts
//!  clocks/monotonic-clock       advances with each read; a wait for an instant ends at once
//!  random                       the numbers of `heddle:runtime/random`; the same ones at every start
//!  sockets                      no socket can be created and no name resolved: access denied
//! ```
//!
//! Interfaces outside of [`INTERFACES`], such as http, are not linked: a component that imports them is refused.

mod clocks;
mod sockets;
mod state;
mod streams;

pub(super) use state::{Output, State};

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Linker, LinkerInstance, ResourceType};
use wasmtime::{Engine, StoreContextMut};

use super::host::Host;
use super::random::BYTES_MAX;
use sockets::Network;
use state::Pollable;
use streams::{InputStream, IoError, OutputStream};

/// The supported interfaces, in any 0.2 version.
const INTERFACES: [&str; 26] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The handler, or the runtime of its language, ended the instance.
#[derive(Debug, thiserror::Error)]
#[error("the component exited with code {0}")]
pub(super) struct Exited(u8);

/// The type of resources that no component ever gets: files, terminals and sockets.
enum Absent {}

type Called = wasmtime::Result<()>;
type Caller<'a> = StoreContextMut<'a, Host>;

/// The supported interface that an import names, without its version.
pub(super) fn interface(import: &str) -> Option<&'static str> {
    let (name, version) = import.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    patch.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    INTERFACES.into_iter().find(|known| *known == name)
}

/// Links the functions that a component imports of the interface `import`, in the version that it names.
pub(super) fn link(linker: &mut Linker<Host>, engine: &Engine, import: &str, asked: &ComponentInstance) -> Called {
    let Some(interface) = interface(import) else { return Ok(()) };
    let mut instance = linker.instance(import)?;
    for (name, item) in asked.exports(engine) {
        match item.ty {
            ComponentItem::Resource(_) => link_resource(&mut instance, name)?,
            ComponentItem::ComponentFunc(_) => link_function(&mut instance, interface, name)?,
            _ => {}
        }
    }
    Ok(())
}

fn link_resource(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    let released = |mut caller: Caller<'_>, _| {
        caller.data_mut().wasi.release();
        Ok(())
    };
    match name {
        "error" => instance.resource(name, ResourceType::host::<IoError>(), |_, _| Ok(())),
        "input-stream" => instance.resource(name, ResourceType::host::<InputStream>(), released),
        "output-stream" => instance.resource(name, ResourceType::host::<OutputStream>(), released),
        "network" => instance.resource(name, ResourceType::host::<Network>(), released),
        "pollable" => instance.resource(name, ResourceType::host::<Pollable>(), |mut caller, rep| {
            caller.data_mut().wasi.forget(rep);
            Ok(())
        }),
        _ => instance.resource(name, ResourceType::host::<Absent>(), |_, _| Ok(())),
    }
}

fn link_function(instance: &mut LinkerInstance<'_, Host>, interface: &'static str, name: &str) -> Called {
    match interface {
        "wasi:cli/environment" => environment(instance, name),
        "wasi:cli/exit" => exit(instance, name),
        "wasi:cli/stderr" | "wasi:cli/stdin" | "wasi:cli/stdout" | "wasi:io/streams" => streams::link(instance, name),
        "wasi:clocks/monotonic-clock" | "wasi:clocks/wall-clock" | "wasi:io/poll" => {
            clocks::link(instance, interface, name)
        }
        "wasi:random/insecure" | "wasi:random/random" => random(instance, name),
        "wasi:sockets/instance-network"
        | "wasi:sockets/ip-name-lookup"
        | "wasi:sockets/tcp-create-socket"
        | "wasi:sockets/udp-create-socket" => sockets::link(instance, name),
        _ => absent(instance, interface, name),
    }
}

fn environment(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "get-environment" => instance.func_wrap(name, |_, (): ()| Ok((Vec::<(String, String)>::new(),))),
        "get-arguments" => instance.func_wrap(name, |_, (): ()| Ok((Vec::<String>::new(),))),
        "initial-cwd" => instance.func_wrap(name, |_, (): ()| Ok((None::<String>,))),
        _ => unknown(instance, name),
    }
}

fn exit(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "exit" => instance.func_wrap(name, |_, (status,): (Result<(), ()>,)| -> Called {
            Err(wasmtime::Error::new(Exited(u8::from(status.is_err()))))
        }),
        "exit-with-code" => {
            instance.func_wrap(name, |_, (code,): (u8,)| -> Called { Err(wasmtime::Error::new(Exited(code))) })
        }
        _ => unknown(instance, name),
    }
}

fn random(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    use rand_chacha::rand_core::RngCore as _;
    match name {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            instance.func_wrap(name, |mut caller: Caller<'_>, (len,): (u64,)| {
                let within = usize::try_from(len).ok().filter(|len| *len <= BYTES_MAX as usize);
                let Some(len) = within else {
                    let what = format!(
                        "the handler asked for {len} random bytes, more than the {BYTES_MAX} there are at a time"
                    );
                    return Err(wasmtime::Error::msg(what));
                };
                let mut bytes = vec![0; len];
                caller.data_mut().random().fill_bytes(&mut bytes);
                Ok((bytes,))
            })
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            instance.func_wrap(name, |mut caller: Caller<'_>, (): ()| Ok((caller.data_mut().random().next_u64(),)))
        }
        _ => unknown(instance, name),
    }
}

/// Links files and terminals. There are none, so a component can only call the functions that look for them.
fn absent(instance: &mut LinkerInstance<'_, Host>, interface: &str, name: &str) -> Called {
    match (interface, name) {
        ("wasi:filesystem/preopens", "get-directories") => {
            instance.func_wrap(name, |_, (): ()| Ok((Vec::<(wasmtime::component::Resource<Absent>, String)>::new(),)))
        }
        (_, "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr") => {
            instance.func_wrap(name, |_, (): ()| Ok((None::<wasmtime::component::Resource<Absent>>,)))
        }
        _ => unknown(instance, name),
    }
}

/// Links a function that traps when it is called.
fn unknown(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    let what = format!("the component called WASI's `{name}`, which does nothing here");
    instance.func_new(name, move |_, _, _, _| Err(wasmtime::Error::msg(what.clone())))
}

#[cfg(test)]
mod tests {
    use super::interface;

    #[test]
    fn any_patch_of_0_2_is_the_same_interface() {
        for version in ["0.2.0", "0.2.6", "0.2.12"] {
            assert_eq!(interface(&format!("wasi:cli/stdout@{version}")), Some("wasi:cli/stdout"));
        }
        for other in ["wasi:cli/stdout", "wasi:cli/stdout@0.3.0", "wasi:cli/stdout@0.2.0-rc-1", "wasi:cli/run@0.2.0"] {
            assert_eq!(interface(other), None, "{other}");
        }
        for refused in ["wasi:sockets/tls@0.2.0", "wasi:http/outgoing-handler@0.2.0"] {
            assert_eq!(interface(refused), None, "{refused}");
        }
    }
}
