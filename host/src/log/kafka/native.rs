//! The calls that go past rdkafka to librdkafka: to add a group's positions to a transaction, to commit it, to ask for
//! a topic's identity, for the bounds of many partitions at once, and for what this client may do to a topic or a
//! group.
//!
//! rdkafka's `commit_transaction` flushes first, polling in slices of 100 ms that always last their whole length: a
//! commit takes 105 ms. librdkafka flushes by itself, and returns as soon as the broker has answered. Its flush waits
//! until the reports of all deliveries were served, which the thread of a `ThreadedProducer` does.
//!
//! rdkafka hands out a group's metadata but does not show what is in it. A consumer that was away for too long has
//! neither member id nor generation until it joined again, and a broker takes positions without both from anybody: what
//! fences a zombie would be missing. So both are looked at here, in the metadata that is sent.
//!
//! rdkafka does not have the request that tells topics of the same name apart, nor those that tell what a client may
//! do.
//!
//! rdkafka panics if the name of a header or the metadata of a committed position is not UTF-8. Kafka does not check
//! either, so any client can write such a record or position.
#![allow(unsafe_code)] // rdkafka has no commit without its own flush, no look into the metadata, no identities, one partition a question, and panics

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::ptr;
use std::slice;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::Header;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as native;

use super::super::Operation;
use super::errors::Failure;

/// How much later than librdkafka, which gives up on a request after its time, the caller stops waiting for the answer.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// Adds `positions` to the open transaction on behalf of `member`, waiting at most `timeout`.
///
/// Fails with [`Code::UnknownMemberId`] without asking the broker if `member` is not in its group now.
pub(super) fn send_positions<P: ProducerContext, C: ConsumerContext>(
    producer: &impl Producer<P>,
    positions: &TopicPartitionList,
    member: &BaseConsumer<C>,
    timeout: Duration,
) -> Result<(), Failure> {
    // SAFETY: both clients and the list live as long as they are borrowed here, and librdkafka's clients may be used
    // from any thread. The metadata is null or ours: it and its member id, which belongs to it, are only read while it
    // lives, and it is destroyed once.
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

/// Flushes and commits the open transaction, waiting at most `timeout`. A retriable failure is resumed by calling
/// again.
pub(super) fn commit_transaction<P: ProducerContext>(
    producer: &impl Producer<P>,
    timeout: Duration,
) -> Result<(), Failure> {
    // SAFETY: the producer owns a live client for as long as it is borrowed here, and librdkafka's clients may be used
    // from any thread.
    unsafe { take(native::rd_kafka_commit_transaction(producer.client().native_ptr(), milliseconds(timeout))) }
}

/// Replaces the positions in `list` by what the brokers answer: the beginning and the end are asked for as such, any
/// other number is taken as a time. One question to each broker, where rdkafka asks for one partition at a time. Every
/// element has an error of its own.
pub(super) fn offsets<C: ClientContext>(
    client: &Client<C>,
    list: &TopicPartitionList,
    timeout: Duration,
) -> Result<(), Code> {
    // SAFETY: the client and the list live as long as they are borrowed here, and nobody else has the list;
    // librdkafka's clients may be used from any thread.
    let code = unsafe { native::rd_kafka_offsets_for_times(client.native_ptr(), list.ptr(), milliseconds(timeout)) };
    match Code::from(code) {
        Code::NoError => Ok(()),
        code => Err(code),
    }
}

/// The headers of `message`. Bytes of a name that are not UTF-8 become U+FFFD; librdkafka ends a name at its first NUL.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut list = ptr::null_mut();
    // SAFETY: the message lives as long as it is borrowed here, and owns its headers.
    let code = unsafe { native::rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if Code::from(code) != Code::NoError || list.is_null() {
        return vec![];
    }
    // SAFETY: the list is live and only read.
    let count = unsafe { native::rd_kafka_header_cnt(list) };
    let mut headers = Vec::with_capacity(count);
    for place in 0..count {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the name ends with a NUL and the value has `size` bytes. Both belong to the message and are copied.
        let header = unsafe {
            let code = native::rd_kafka_header_get_all(list, place, &raw mut name, &raw mut value, &raw mut size);
            if Code::from(code) != Code::NoError || name.is_null() {
                break;
            }
            let name = Cow::Owned(CStr::from_ptr(name).to_string_lossy().into_owned());
            let value = (!value.is_null()).then(|| Bytes::copy_from_slice(slice::from_raw_parts(value.cast(), size)));
            Header { name, value }
        };
        headers.push(header);
    }
    headers
}

/// The metadata of each position in `list`, in its order. Empty where it is not UTF-8: Heddle did not write it then.
pub(super) fn metadata(list: &TopicPartitionList) -> Vec<String> {
    let text = |place: usize| {
        // SAFETY: the list lives as long as it is borrowed here and has more than `place` elements. The metadata is null
        // or has so many bytes, which are copied.
        unsafe {
            let element = &*(*list.ptr()).elems.add(place);
            if element.metadata.is_null() {
                return String::new();
            }
            let bytes = slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
            str::from_utf8(bytes).unwrap_or_default().to_owned()
        }
    };
    (0..list.count()).map(text).collect()
}

/// Asks for the identity of `topic`, waiting about `timeout` at most. `None`: the brokers are too old to give one.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, Code> {
    let name = CString::new(topic).map_err(|_| Code::InvalidTopic)?;
    let mut names = [name.as_ptr()];
    // SAFETY: the client lives as long as it is borrowed here. What is made here is destroyed here, once, after its
    // last use: librdkafka copies the names and the options, and keeps the queue by itself as long as a request that
    // nobody waits for any more may answer to it. The event is null or ours.
    unsafe {
        let handle = client.native_ptr();
        let options =
            native::rd_kafka_AdminOptions_new(handle, native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        // Refused, the default holds, of a minute.
        let _default =
            native::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(timeout), ptr::null_mut(), 0);
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let queue = native::rd_kafka_queue_new(handle);
        native::rd_kafka_DescribeTopics(handle, topics, options, queue);
        let event = native::rd_kafka_queue_poll(queue, milliseconds(timeout + ANSWER_SLACK));
        let answer = if event.is_null() { Err(Code::OperationTimedOut) } else { described_id(event) };
        native::rd_kafka_event_destroy(event);
        native::rd_kafka_queue_destroy(queue);
        native::rd_kafka_TopicCollection_destroy(topics);
        native::rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// The identity in the answer to a question about one topic.
///
/// # Safety
/// `event` is a live event that nobody else uses.
unsafe fn described_id(event: *mut native::rd_kafka_event_t) -> Result<Option<String>, Code> {
    // SAFETY: what is read here, and only read, belongs to the event; the text is copied. The array of topics has as
    // many elements as librdkafka says.
    unsafe {
        let code = Code::from(native::rd_kafka_event_error(event));
        if code != Code::NoError {
            return Err(code);
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = if result.is_null() {
            ptr::null_mut()
        } else {
            native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count)
        };
        if topics.is_null() || count == 0 {
            return Err(Code::UnknownTopicOrPartition);
        }
        let topic = *topics;
        let code = Code::from(native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic)));
        if code != Code::NoError {
            return Err(code);
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let zero = id.is_null()
            || (native::rd_kafka_Uuid_most_significant_bits(id) == 0
                && native::rd_kafka_Uuid_least_significant_bits(id) == 0);
        if zero {
            return Ok(None);
        }
        let text = native::rd_kafka_Uuid_base64str(id);
        Ok((!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned()))
    }
}

/// What a client may do to something. `None`: the brokers do not tell.
pub(super) type Allowed = Option<Vec<Operation>>;

/// What this client may do to `topic`, waiting about `timeout` at most.
pub(super) fn topic_operations<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Allowed, Code> {
    let name = CString::new(topic).map_err(|_| Code::InvalidTopic)?;
    let mut names = [name.as_ptr()];
    let kind = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: librdkafka copies the names, and the collection is destroyed once. The event is live in the second part,
    // which only reads.
    unsafe {
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let answer = ask(
            client,
            kind,
            timeout,
            |handle, options, queue| native::rd_kafka_DescribeTopics(handle, topics, options, queue),
            |event| {
                let result = native::rd_kafka_event_DescribeTopics_result(event);
                let mut count = 0;
                let found = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                let topic = first(found, count).ok_or(Code::UnknownTopicOrPartition)?;
                succeeded(native::rd_kafka_TopicDescription_error(topic))?;
                let mut count = 0;
                let may = native::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
                Ok(operations(may, count))
            },
        );
        native::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// What this client may do to `group`, waiting about `timeout` at most.
pub(super) fn group_operations<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<Allowed, Code> {
    let name = CString::new(group).map_err(|_| Code::InvalidGroupId)?;
    let mut names = [name.as_ptr()];
    let kind = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: librdkafka copies the names. The event is live in the second part, which only reads.
    unsafe {
        ask(
            client,
            kind,
            timeout,
            |handle, options, queue| {
                native::rd_kafka_DescribeConsumerGroups(handle, names.as_mut_ptr(), names.len(), options, queue);
            },
            |event| {
                let result = native::rd_kafka_event_DescribeConsumerGroups_result(event);
                let mut count = 0;
                let found = native::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
                let group = first(found, count).ok_or(Code::GroupIdNotFound)?;
                succeeded(native::rd_kafka_ConsumerGroupDescription_error(group))?;
                let mut count = 0;
                let may = native::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut count);
                Ok(operations(may, count))
            },
        )
    }
}

/// Sends a request for something with its operations, and reads the answer.
///
/// # Safety
/// `send` gives the handle, the options and the queue to librdkafka and keeps none; `read` uses the event only while it
/// runs.
unsafe fn ask<C: ClientContext, T>(
    client: &Client<C>,
    kind: native::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(*mut native::rd_kafka_t, *mut native::rd_kafka_AdminOptions_t, *mut native::rd_kafka_queue_t),
    read: impl FnOnce(*mut native::rd_kafka_event_t) -> Result<T, Code>,
) -> Result<T, Code> {
    // SAFETY: the client lives as long as it is borrowed here. What is made here is destroyed here, once, after its
    // last use; librdkafka copies the options, and keeps the queue by itself as long as an answer may come that nobody
    // waits for any more.
    unsafe {
        let handle = client.native_ptr();
        let options = native::rd_kafka_AdminOptions_new(handle, kind);
        // Refused, the default holds, of a minute.
        let _default =
            native::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(timeout), ptr::null_mut(), 0);
        let refused = native::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            native::rd_kafka_error_destroy(refused);
        }
        let queue = native::rd_kafka_queue_new(handle);
        send(handle, options, queue);
        let event = native::rd_kafka_queue_poll(queue, milliseconds(timeout + ANSWER_SLACK));
        let answer = if event.is_null() {
            Err(Code::OperationTimedOut)
        } else {
            match Code::from(native::rd_kafka_event_error(event)) {
                Code::NoError => read(event),
                code => Err(code),
            }
        };
        native::rd_kafka_event_destroy(event);
        native::rd_kafka_queue_destroy(queue);
        native::rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// The first of `count` things that librdkafka lists.
///
/// # Safety
/// `list` is null or an array of so many.
unsafe fn first<T>(list: *mut *const T, count: usize) -> Option<*const T> {
    // SAFETY: it is not null, and has an element.
    (!list.is_null() && count > 0).then(|| unsafe { *list })
}

/// Whether an answer about one thing is none.
///
/// # Safety
/// `error` is null or a live error.
unsafe fn succeeded(error: *const native::rd_kafka_error_t) -> Result<(), Code> {
    // SAFETY: librdkafka takes a null for no error.
    match Code::from(unsafe { native::rd_kafka_error_code(error) }) {
        Code::NoError => Ok(()),
        code => Err(code),
    }
}

/// The operations that librdkafka lists, as far as they matter here.
///
/// # Safety
/// `list` is null or an array of `count` operations.
unsafe fn operations(list: *const native::rd_kafka_AclOperation_t, count: usize) -> Allowed {
    use native::rd_kafka_AclOperation_t as Native;
    if list.is_null() {
        return None;
    }
    // SAFETY: it is not null, has so many elements, and is only read here.
    let list = unsafe { slice::from_raw_parts(list, count) };
    let ours = |operation: &Native| match operation {
        Native::RD_KAFKA_ACL_OPERATION_READ => Some(Operation::Read),
        Native::RD_KAFKA_ACL_OPERATION_WRITE => Some(Operation::Write),
        Native::RD_KAFKA_ACL_OPERATION_CREATE => Some(Operation::Create),
        Native::RD_KAFKA_ACL_OPERATION_ALTER => Some(Operation::Alter),
        Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => Some(Operation::DescribeConfigs),
        _ => None,
    };
    Some(list.iter().filter_map(ours).collect())
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
