//! The two calls that go past rdkafka to librdkafka: to add a group's positions to a transaction, and to commit it.
//!
//! rdkafka's `commit_transaction` flushes first, polling in slices of 100 ms that always last their whole length: a commit takes
//! 105 ms. librdkafka flushes by itself, and returns as soon as the broker has answered.
//!
//! rdkafka hands out a group's metadata but does not show what is in it. A consumer that was away for too long has
//! neither member id nor generation until it joined again, and a broker takes positions without both from anybody: what fences a
//! zombie would be missing. So both are looked at here, in the metadata that is sent.
#![allow(unsafe_code)] // rdkafka offers no way to commit without its own flush, and none to look into the metadata

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as native;

use super::errors::Failure;

/// Adds `positions` to the open transaction on behalf of `member`, waiting at most `timeout`.
///
/// Fails with [`Code::UnknownMemberId`] without asking the broker if `member` is not in its group now.
pub(super) fn send_positions<P: ProducerContext, C: ConsumerContext>(
    producer: &BaseProducer<P>,
    positions: &TopicPartitionList,
    member: &BaseConsumer<C>,
    timeout: Duration,
) -> Result<(), Failure> {
    // SAFETY: both clients and the list live as long as they are borrowed here, and librdkafka's clients may be used from any
    // thread. The metadata is null or ours: it and its member id, which belongs to it, are only read while it lives, and it
    // is destroyed once.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(member.client().native_ptr());
        if metadata.is_null() {
            return Err(not_a_member());
        }
        let member_id = native::rd_kafka_consumer_group_metadata_member_id(metadata);
        let joined = native::rd_kafka_consumer_group_metadata_generation_id(metadata) >= 0
            && !member_id.is_null()
            && !CStr::from_ptr(member_id).is_empty();
        let result = if joined {
            take(native::rd_kafka_send_offsets_to_transaction(
                producer.client().native_ptr(),
                positions.ptr(),
                metadata,
                milliseconds(timeout),
            ))
        } else {
            Err(not_a_member())
        };
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        result
    }
}

/// Flushes and commits the open transaction, waiting at most `timeout`. A retriable failure is resumed by calling again.
pub(super) fn commit_transaction<P: ProducerContext>(
    producer: &BaseProducer<P>,
    timeout: Duration,
) -> Result<(), Failure> {
    // SAFETY: the producer owns a live client for as long as it is borrowed here, and librdkafka's clients may be used from
    // any thread.
    unsafe { take(native::rd_kafka_commit_transaction(producer.client().native_ptr(), milliseconds(timeout))) }
}

/// Reads the outcome of a call and destroys it.
///
/// # Safety
/// `error` is null, or an error that librdkafka gave to us to destroy and that nobody else uses.
unsafe fn take(error: *mut native::rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error lives until it is destroyed below; its string belongs to it and is copied before that.
    unsafe {
        let failure = Failure {
            code: native::rd_kafka_error_code(error).into(),
            text: CStr::from_ptr(native::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
            fatal: native::rd_kafka_error_is_fatal(error) != 0,
            retriable: native::rd_kafka_error_is_retriable(error) != 0,
            requires_abort: native::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        native::rd_kafka_error_destroy(error);
        Err(failure)
    }
}

fn not_a_member() -> Failure {
    Failure {
        code: Code::UnknownMemberId,
        text: "this member is not in its group now".to_owned(),
        fatal: false,
        retriable: false,
        requires_abort: true,
    }
}

fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
