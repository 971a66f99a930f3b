//! How many files and sockets this process has open, and how many it may have.

/// A host needs about this many at least: sockets to every broker for each client, files of the engines, callers.
const WANTED: u64 = 512;
/// From this share of the limit on there are too few left, in percent.
const FULL_PERCENT: u64 = 90;

/// Raises the limit as far as this process may: shells and service managers often begin with a low one.
pub(crate) fn raise_limit() {
    // What cannot be raised is reported when it matters.
    let _raised = rlimit::increase_nofile_limit(u64::MAX);
}

/// How many are open now. `None`: the system does not say, or there is none left to ask with.
pub(crate) fn open() -> Option<u64> {
    // The listing itself has one open.
    let listed = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(u64::try_from(listed).unwrap_or(u64::MAX).saturating_sub(1))
}

/// What is wrong with them, if something is.
pub(crate) fn fault() -> Option<String> {
    let (limit, _) = rlimit::Resource::NOFILE.get().ok()?;
    judge(limit, open(), std::path::Path::new("/proc/self").exists())
}

fn judge(limit: u64, open: Option<u64>, told: bool) -> Option<String> {
    let used = match open {
        Some(open) => open,
        // Where the system tells, no answer means that none is left.
        None if told => limit,
        None => 0,
    };
    if used.saturating_mul(100) < limit.saturating_mul(FULL_PERCENT) {
        return None;
    }
    Some(format!(
        "this process has {used} of at most {limit} files and sockets open\n  where: the limit of open files (ulimit -n, LimitNOFILE)\n  what to do: raise it to {} at least, and start the host again",
        WANTED.max(limit.saturating_mul(2))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_reported_before_there_is_none_left() {
        assert_eq!(judge(1_000, Some(899), true), None);
        let told = judge(1_000, Some(900), true).unwrap();
        assert!(told.starts_with("this process has 900 of at most 1000 files"), "{told}");
        assert!(judge(40, None, true).is_some(), "none is left to look with");
        assert_eq!(judge(40, None, false), None, "the system does not tell");
        assert!(open().is_none_or(|open| open > 2), "this test has its standard streams");
    }
}
