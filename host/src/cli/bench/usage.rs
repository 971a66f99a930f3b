//! What Linux counts of this process. Elsewhere there is nothing to read, and those figures are left out.

/// Clock ticks of /proc in a second.
const TICKS: f64 = 100.0;

/// User and system time so far, in seconds: fields 14 and 15 of `stat`.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<f64>().ok();
    Some((field()? + field()?) / TICKS)
}

/// The most memory resident since [`forget_peak`], in mebibytes.
pub(super) fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

/// Lets the peak begin with what is resident now.
pub(super) fn forget_peak() {
    // Where it cannot be, the peak is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
