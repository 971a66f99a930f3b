//! What happened in lives, counted: so that a test can say that what it is about did occur.

use std::ops::AddAssign;

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Counts of what happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Happened { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl Happened {
            /// All counts, each with what it counts.
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
    /// Records of the input that count.
    records = "records read",
    /// Transactions that the log was asked to commit, and did.
    commits = "commits",
    /// Records that were read while a commit was under way.
    overlapped = "read during a commit",
    /// Records skipped because of their message id.
    duplicates = "duplicates skipped",
    /// Duplicates among them that were past the window of what had come before.
    late_duplicates = "late duplicates skipped",
    /// Records set aside.
    dead_letters = "dead letters",
    /// Times that a record was left to wait for another attempt.
    retried = "left to wait",
    /// Processes that ended in the middle of a call.
    crashes = "crashes in a call",
    /// Of these, between the first step of a commit and its answer.
    crashes_in_commit = "crashes in a commit",
    /// Processes killed between two calls.
    kills = "kills from outside",
    /// Processes that stood still for longer than their session.
    pauses = "pauses beyond the session",
    /// Workers that stood still for long while the rest of their process went on.
    hung = "workers that hung",
    /// Calls in the middle of which others went on.
    interleaved = "calls interleaved",
    /// Processes that were cut off from the group while they ran on.
    cut_off = "cut off from the group",
    /// Workers that went over to another version of the component.
    swapped = "versions swapped",
    /// Hosts that left and came back.
    leaves = "hosts left",
    /// Sessions that ran out.
    expired = "sessions expired",
    /// Transactions that ran out of time.
    timed_out = "transactions timed out",
    /// Partitions handed out.
    assigned = "partitions assigned",
    /// Partitions asked back.
    revoked = "partitions revoked",
    /// Partitions that were gone when their member noticed.
    lost = "partitions lost",
    /// Calls refused because a newer member took over.
    fenced = "fenced",
    /// Transactions that had to be aborted.
    aborted = "aborts",
    /// Commits whose outcome the caller was not told, and which took effect.
    unknown_committed = "unknown, committed",
    /// Commits whose outcome the caller was not told, and which did not take effect.
    unknown_lost = "unknown, not committed",
    /// Commits that were answered late.
    late = "late answers",
    /// Calls to the log that failed for the moment.
    unreachable = "log unreachable",
    /// Records that the log refused.
    refused = "records refused",
    /// Records that the log refused when they arrived, and named.
    refused_by_number = "refused on arrival",
    /// Records that the log refused when they arrived, and did not name.
    refused_unnamed = "refused, not known which",
    /// Times that a registry did not answer.
    stalled = "registry down",
    /// Changelog partitions read from a copy's watermark.
    tails = "restored from a tail",
    /// Changelog partitions read from the beginning.
    rebuilds = "rebuilt from nothing",
    /// Atomic writes to disk.
    applies = "writes to disk",
    /// Writes to disk that failed.
    failed_applies = "failed writes to disk",
    /// Writes to disk that a crash took back.
    undone_applies = "writes undone by a crash",
    /// Disks that were lost.
    wiped = "disks lost",
    /// Disks that were found damaged and made anew.
    corrupt = "disks damaged",
    /// Times that the oldest records of a partition were deleted.
    trimmed = "partitions trimmed",
    /// Offsets among them that the group had not read.
    lost_offsets = "offsets lost, and told",
    /// Inputs that got partitions.
    grown = "inputs grown",
    /// Times that a worker did not join because the topics did not fit.
    not_admitted = "not admitted",
    /// Members that joined again because nobody read added partitions.
    rejoined = "joined again for them",
    /// Inputs that were deleted and made anew.
    anew = "inputs made anew",
    /// Transactions of other programs.
    foreign = "others' transactions",
    /// Disks that were full for a while or for ever.
    full_disks = "disks full",
    /// Writes that a full disk did not take.
    no_room = "writes without room",
    /// Dead letters that were too large to be kept whole.
    reduced = "letters reduced",
    /// Copies on disk compared with their changelog.
    trees = "copies compared",
    /// Copies among them that a crash left written in part.
    written_in_part = "copies written in part",
}
