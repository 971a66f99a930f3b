//! `wasi:clocks` and `wasi:io/poll`: the record's time, and a clock that advances only by reads and waits.

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::state::Pollable;
use super::{Called, Caller, unknown};
use crate::guest::host::Host;

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// The resolution of the wall clock, which is that of a record's timestamp.
const WALL_RESOLUTION: Datetime = Datetime { seconds: 0, nanoseconds: 1_000_000 };

pub(super) fn link(instance: &mut LinkerInstance<'_, Host>, interface: &str, name: &str) -> Called {
    match (interface, name) {
        ("wasi:clocks/wall-clock", "now") => instance.func_wrap(name, |caller: Caller<'_>, (): ()| {
            let millis = u64::try_from(caller.data().timestamp().0).unwrap_or(0);
            Ok((Datetime { seconds: millis / 1000, nanoseconds: (millis % 1000) as u32 * 1_000_000 },))
        }),
        ("wasi:clocks/wall-clock", "resolution") => instance.func_wrap(name, |_, (): ()| Ok((WALL_RESOLUTION,))),
        ("wasi:clocks/monotonic-clock", _) => monotonic(instance, name),
        _ => poll(instance, name),
    }
}

fn monotonic(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "now" => instance.func_wrap(name, |mut caller: Caller<'_>, (): ()| Ok((caller.data_mut().wasi.now(),))),
        "resolution" => instance.func_wrap(name, |_, (): ()| Ok((1u64,))),
        "subscribe-instant" => {
            instance.func_wrap(name, |caller: Caller<'_>, (instant,): (u64,)| pollable(caller, Some(instant)))
        }
        "subscribe-duration" => instance.func_wrap(name, |mut caller: Caller<'_>, (duration,): (u64,)| {
            let instant = caller.data_mut().wasi.now().saturating_add(duration);
            pollable(caller, Some(instant))
        }),
        _ => unknown(instance, name),
    }
}

/// Creates a pollable for the guest.
pub(super) fn pollable(mut caller: Caller<'_>, instant: Option<u64>) -> wasmtime::Result<(Resource<Pollable>,)> {
    Ok((Resource::new_own(caller.data_mut().wasi.pollable(instant)?),))
}

fn poll(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "poll" => instance.func_wrap(name, |mut caller: Caller<'_>, (list,): (Vec<Resource<Pollable>>,)| {
            if list.is_empty() {
                return Err(wasmtime::Error::msg("the component waits for an empty list of pollables"));
            }
            let reps = list.iter().map(Resource::rep).collect::<Vec<_>>();
            Ok((caller.data_mut().wasi.wait(&reps),))
        }),
        "[method]pollable.ready" => {
            instance.func_wrap(name, |mut caller: Caller<'_>, (pollable,): (Resource<Pollable>,)| {
                Ok((caller.data_mut().wasi.ready(pollable.rep()),))
            })
        }
        "[method]pollable.block" => {
            instance.func_wrap(name, |mut caller: Caller<'_>, (pollable,): (Resource<Pollable>,)| {
                caller.data_mut().wasi.wait(&[pollable.rep()]);
                Ok(())
            })
        }
        _ => unknown(instance, name),
    }
}
