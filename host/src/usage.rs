//! Linux's statistics of a process, for measurements. Systems without `/proc` return errors.

use std::io::{self, ErrorKind};

/// Clock ticks of `/proc` per second.
const TICKS: f64 = 100.0;

/// The CPU time of all threads of a process so far, in seconds: fields 14 and 15 of its `stat`, user and system time
/// (proc(5)).
///
/// # Errors
/// If there is no such process, or the system does not report it.
pub fn cpu_seconds(process: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<f64>().ok();
    match (field(), field()) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// A memory figure of a process, by its name in `status`, in kibibytes: `VmRSS` is the current resident memory, `VmHWM`
/// its peak.
///
/// # Errors
/// As for [`cpu_seconds`].
pub fn memory_kb(process: u32, name: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.ok_or_else(|| ErrorKind::InvalidData.into())
}
