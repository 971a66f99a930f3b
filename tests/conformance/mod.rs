//! One suite for every implementation of the log: the guarantees on which the runtime relies.
//!
//! A case is a function over a [`Harness`]. An implementation takes part with one file: a harness, and the line
//! `crate::conformance::conformance!(its_harness());`. The macro makes one test of every case, named `<file>::<case>`.

macro_rules! suite {
    ($harness:expr; $($theme:ident: $($case:ident)*;)*) => {
        $($(
            #[test]
            fn $case() {
                crate::conformance::$theme::$case(&$harness);
            }
        )*)*
    };
}

/// Makes one test of every case, each on a new harness.
macro_rules! conformance {
    ($harness:expr) => {
        crate::conformance::membership! { $harness }
        suite! { $harness;
            records:
                order_is_kept_in_each_partition
                keys_go_where_java_clients_send_them
                nulls_and_headers_are_kept_as_written
                timestamps_are_kept
                a_record_that_cannot_be_taken_is_refused;
            topics:
                topics_are_listed_and_not_made_twice
                of_many_topics_those_are_made_that_can_be
                what_is_not_there_is_named
                reading_starts_where_it_is_told
                a_waiting_poll_ends_when_records_come
                watermarks_and_positions_are_told
                a_topic_made_anew_is_another
                a_deleted_topic_takes_all_with_it
                everything_is_there_after_a_restart;
        }
    };
}
pub(crate) use conformance;

/// Makes one test of every case about members of groups and their transactions.
macro_rules! membership {
    ($harness:expr) => {
        suite! { $harness;
            transactions:
                a_transaction_is_seen_whole_and_not_before_its_commit
                aborted_records_are_never_seen
                a_zombie_cannot_commit
                positions_and_outputs_commit_together
                records_come_while_a_commit_is_under_way
                until_a_commit_was_told_of_nothing_is_sent_or_ended
                a_member_that_is_dropped_while_it_commits_commits_whole_or_not_at_all
                a_member_that_vanished_leaves_no_trace
                a_writer_writes_all_or_nothing
                a_newer_writer_fences_the_older
                a_writer_and_a_member_fence_each_other
                a_refused_record_does_not_spoil_the_transaction;
            groups:
                a_new_group_starts_where_it_is_told
                a_second_member_shares_and_gives_back
                a_leaving_group_resumes_at_its_positions
                members_on_threads_lose_nothing_and_double_nothing
                a_member_has_the_same_numbers_of_all_topics;
            starts:
                a_position_that_is_gone_is_told_to_the_next_member
                records_deleted_under_a_member_are_told_once
                a_group_keeps_the_start_that_it_was_told
                positions_are_set_while_nobody_is_in_the_group;
            state:
                a_commit_tells_where_it_ends
                a_transaction_ends_before_what_others_wrote
                what_was_aborted_does_not_count_as_an_end
                what_is_assigned_waits_to_be_read
                pausing_holds_back_what_was_fetched
                a_paused_partition_goes_back_to_its_position
                a_member_that_reads_nothing_is_still_a_member
                an_open_transaction_lies_before_the_end
                positions_pass_what_was_aborted;
        }
    };
}
pub(crate) use membership;

mod groups;
pub(crate) mod harness;
mod records;
mod starts;
mod state;
mod topics;
mod transactions;

mod embedded;
mod kafka;
mod kafka_consumer;
