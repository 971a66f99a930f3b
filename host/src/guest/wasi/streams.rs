//! `wasi:io/streams` and the three streams of `wasi:cli`. Input is empty, and output becomes log lines.

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::state::Output;
use super::{Called, Caller, clocks, unknown};
use crate::guest::host::Host;

/// The maximum size of one write, as reported to the component.
const WRITE_BYTES_MAX: u64 = 64 << 10;

/// stdin.
pub(super) enum InputStream {}
/// stdout or stderr, by its number.
pub(super) enum OutputStream {}
/// The error of a stream. No stream ever fails.
pub(super) enum IoError {}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "part of the type; no operation fails")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Input = (Resource<InputStream>, u64);
type Done = Result<(), StreamError>;

/// Links a function of a stream, or a function that returns a stream.
pub(super) fn link(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "get-stdin" => instance.func_wrap(name, |mut caller: Caller<'_>, (): ()| {
            caller.data_mut().wasi.hold()?;
            Ok((Resource::<InputStream>::new_own(0),))
        }),
        "get-stdout" => output(instance, name, Output::Stdout),
        "get-stderr" => output(instance, name, Output::Stderr),
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            instance.func_wrap(name, |_, _: Input| Ok((Err::<Vec<u8>, _>(StreamError::Closed),)))
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            instance.func_wrap(name, |_, _: Input| Ok((Err::<u64, _>(StreamError::Closed),)))
        }
        "[method]input-stream.subscribe" => {
            instance.func_wrap(name, |caller: Caller<'_>, _: (Resource<InputStream>,)| clocks::pollable(caller, None))
        }
        _ => link_output(instance, name),
    }
}

fn output(instance: &mut LinkerInstance<'_, Host>, name: &str, output: Output) -> Called {
    instance.func_wrap(name, move |mut caller: Caller<'_>, (): ()| {
        caller.data_mut().wasi.hold()?;
        Ok((Resource::<OutputStream>::new_own(output as u32),))
    })
}

fn link_output(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Called {
    match name {
        "[method]output-stream.check-write" => {
            instance.func_wrap(name, |_, _: (Resource<OutputStream>,)| Ok((Ok::<_, StreamError>(WRITE_BYTES_MAX),)))
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            instance.func_wrap(name, |mut caller: Caller<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                let output = if stream.rep() == Output::Stdout as u32 { Output::Stdout } else { Output::Stderr };
                caller.data_mut().write(output, &bytes);
                Ok((Done::Ok(()),))
            })
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            instance.func_wrap(name, |_, _: (Resource<OutputStream>,)| Ok((Done::Ok(()),)))
        }
        "[method]output-stream.write-zeroes" | "[method]output-stream.blocking-write-zeroes-and-flush" => {
            instance.func_wrap(name, |_, _: (Resource<OutputStream>, u64)| Ok((Done::Ok(()),)))
        }
        "[method]output-stream.subscribe" => {
            instance.func_wrap(name, |caller: Caller<'_>, _: (Resource<OutputStream>,)| clocks::pollable(caller, None))
        }
        "[method]output-stream.splice" | "[method]output-stream.blocking-splice" => instance
            .func_wrap(name, |_, _: (Resource<OutputStream>, Resource<InputStream>, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            }),
        _ => unknown(instance, name),
    }
}
