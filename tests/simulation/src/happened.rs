//! Counts of what happened in lives, so that a test can assert that its subject occurred.

use std::ops::AddAssign;

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Counts of what happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Happened { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl Happened {
            /// All counts, each with its label.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name),)+]
            }
        }

        impl AddAssign for Happened {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counts! {
    /// Input records that the model counts.
    records = "records read",
    /// Transactions that were committed.
    commits = "commits",
    /// Records read while a commit was in flight.
    overlapped = "read during a commit",
    /// Records skipped because of their message id.
    duplicates = "duplicates skipped",
    /// Of these duplicates, those past their window behind the newest timestamp.
    late_duplicates = "late duplicates skipped",
    /// Dead-lettered records.
    dead_letters = "dead letters",
    /// Times that a record was parked for a retry.
    retried = "left to wait",
    /// Processes that crashed during a call.
    crashes = "crashes in a call",
    /// Of these, between the first step of a commit and its answer.
    crashes_in_commit = "crashes in a commit",
    /// Processes killed between two calls.
    kills = "kills from outside",
    /// Processes that paused for longer than their session.
    pauses = "pauses beyond the session",
    /// Workers that paused for long while the rest of their process went on.
    hung = "workers that hung",
    /// Calls during which others went on.
    interleaved = "calls interleaved",
    /// Processes that were cut off from the group while they continued to run.
    cut_off = "cut off from the group",
    /// Workers that switched to another version of the component.
    swapped = "versions swapped",
    /// Hosts that left and came back.
    leaves = "hosts left",
    /// Sessions that ran out.
    expired = "sessions expired",
    /// Transactions that exceeded their timeout.
    timed_out = "transactions timed out",
    /// Partitions assigned.
    assigned = "partitions assigned",
    /// Partitions revoked.
    revoked = "partitions revoked",
    /// Partitions that were lost before their member noticed.
    lost = "partitions lost",
    /// Calls refused because a newer member took over.
    fenced = "fenced",
    /// Transactions that had to be aborted.
    aborted = "aborts",
    /// Deliveries that were aborted with their transaction and made again.
    undone_deliveries = "deliveries aborted",
    /// Commits whose outcome the caller did not learn, and which took effect.
    unknown_committed = "unknown, committed",
    /// Commits whose outcome the caller did not learn, and which did not take effect.
    unknown_lost = "unknown, not committed",
    /// Commits that were answered late.
    late = "late answers",
    /// Calls to the log that failed temporarily.
    unreachable = "log unreachable",
    /// Records that the log refused.
    refused = "records refused",
    /// Records that the log refused on arrival, naming the record.
    refused_by_number = "refused on arrival",
    /// Records that the log refused on arrival, without naming the record.
    refused_unnamed = "refused, not known which",
    /// Changes of reference data.
    referred = "reference data changed",
    /// Topics of reference data that were deleted and recreated.
    referred_anew = "recreated reference data",
    /// Times that a registry did not answer.
    stalled = "registry down",
    /// Changelog partitions restored from the watermark of a local copy.
    tails = "restored from a tail",
    /// Changelog partitions restored from the beginning.
    rebuilds = "rebuilt from nothing",
    /// Atomic writes to disk.
    applies = "writes to disk",
    /// Writes to disk that failed.
    failed_applies = "failed writes to disk",
    /// Writes to disk that a crash undid.
    undone_applies = "writes undone by a crash",
    /// Disks that were lost.
    wiped = "disks lost",
    /// Disks that were found damaged and recreated.
    corrupt = "disks damaged",
    /// Times that the oldest records of a partition were deleted.
    trimmed = "partitions trimmed",
    /// Trimmed offsets that the group had not read.
    lost_offsets = "offsets lost, and reported",
    /// Inputs that got partitions.
    grown = "inputs grown",
    /// Times that a worker did not join because the topics did not fit its component.
    not_admitted = "not admitted",
    /// Members that rejoined because nobody read added partitions.
    rejoined = "joined again for them",
    /// Inputs that were deleted and created again.
    anew = "recreated inputs",
    /// Transactions of other programs.
    foreign = "others' transactions",
    /// Disks that were full, for a while or permanently.
    full_disks = "disks full",
    /// Writes that failed because the disk was full.
    no_room = "writes without room",
    /// Dead letters that were too large to keep whole.
    reduced = "letters reduced",
    /// Local copies compared with their changelog.
    trees = "copies compared",
    /// Of these copies, those that a crash left partly written.
    written_in_part = "copies written in part",
}
