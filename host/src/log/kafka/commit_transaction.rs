//! The one call that goes past rdkafka to librdkafka.
//!
//! rdkafka's `commit_transaction` flushes first, polling in slices of 100 ms that always last their whole length: a commit takes
//! 105 ms. librdkafka flushes by itself, and returns as soon as the broker has answered.
#![allow(unsafe_code)] // rdkafka offers no way to commit without its own flush

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka_sys as native;

use super::errors::Failure;

/// Flushes and commits the open transaction, waiting at most `timeout`. A retriable failure is resumed by calling again.
pub(super) fn commit_transaction<C: ProducerContext>(
    producer: &BaseProducer<C>,
    timeout: Duration,
) -> Result<(), Failure> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the producer owns a live client for as long as it is borrowed here, and librdkafka's clients may be used from
    // any thread. The call returns null or an error that we own: it is read while it lives and destroyed once.
    // The string belongs to the error and is copied before that.
    unsafe {
        let error = native::rd_kafka_commit_transaction(producer.client().native_ptr(), timeout_ms);
        if error.is_null() {
            return Ok(());
        }
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
