//! The number of files and sockets that this process has open, and its limit.

use heddle_core::explain::Explained;

/// The approximate minimum that a host needs: sockets to every broker for each client, files of the engines, callers.
const WANTED: u64 = 512;
/// The share of the limit, in percent, from which on too few descriptors are left.
const FULL_PERCENT: u64 = 90;

/// Raises the limit as far as the process may, because shells and service managers often begin with a low one.
pub(crate) fn raise_limit() {
    // A failure is reported later, when the limit matters.
    let _raised = rlimit::increase_nofile_limit(u64::MAX);
}

/// The number of open descriptors. `None` if the system does not report it, or if no descriptor is left to read it.
pub(crate) fn open() -> Option<u64> {
    // The listing itself uses one.
    let listed = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(u64::try_from(listed).unwrap_or(u64::MAX).saturating_sub(1))
}

/// Returns a message if too few descriptors are left.
pub(crate) fn fault() -> Option<Explained> {
    let (limit, _) = rlimit::Resource::NOFILE.get().ok()?;
    judge(limit, open(), std::path::Path::new("/proc/self").exists())
}

fn judge(limit: u64, open: Option<u64>, told: bool) -> Option<Explained> {
    let used = match open {
        Some(open) => open,
        // On a system with `/proc`, no answer means that no descriptor is left.
        None if told => limit,
        None => 0,
    };
    if used.saturating_mul(100) < limit.saturating_mul(FULL_PERCENT) {
        return None;
    }
    let wanted = WANTED.max(limit.saturating_mul(2));
    Some(
        Explained::new(format!("this process has {used} of at most {limit} files and sockets open"))
            .at("the limit of open files (ulimit -n, LimitNOFILE)")
            .hint(format_args!("raise it to {wanted} at least, and restart the host")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_reported_before_there_is_none_left() {
        assert_eq!(judge(1_000, Some(899), true), None);
        let told = judge(1_000, Some(900), true).unwrap().what;
        assert!(told.starts_with("this process has 900 of at most 1000 files"), "{told}");
        assert!(judge(40, None, true).is_some(), "none is left to look with");
        assert_eq!(judge(40, None, false), None, "the system does not report it");
        assert!(open().is_none_or(|open| open > 2), "this test has its standard streams");
    }
}
