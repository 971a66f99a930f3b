//! The calls that go past rdkafka to librdkafka: to add a group's positions to a transaction, to commit it, to ask for
//! a topic's identity, for the bounds of many partitions at once, and for what this client may do to a topic or a
//! group.
//!
//! rdkafka's `commit_transaction` flushes first, polling in slices of 100 ms that always last their whole length: a
//! commit takes 105 ms. librdkafka flushes by itself, and returns as soon as the broker has answered. Its flush waits
//! until the reports of all deliveries were served, which the thread of a `ThreadedProducer` does.
//!
//! rdkafka returns a group's metadata but does not show its content. A consumer that was away for too long has neither
//! member id nor generation until it has rejoined. A broker accepts positions without both from anyone, so a zombie
//! would not be fenced. Therefore both are checked here, in the metadata that is sent.
//!
//! rdkafka does not have the request for the identity of a topic, nor those for the operations that a client may
//! use.
//!
//! rdkafka panics if the name of a header or the metadata of a committed position is not UTF-8. Kafka does not check
//! either, so any client can write such a record or position.
#![allow(unsafe_code)] // rdkafka has no commit without its own flush, no look into the metadata, no identities, one partition a question, and panics

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::slice;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::{Header, TopicPartition};
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as native;

use super::super::Operation;
use super::errors::Failure;

/// The additional time that the caller waits, because librdkafka gives up on a request after its own timeout.
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

/// Replaces the positions in `list` with the answers of the brokers. The beginning and the end are requested as such,
/// and any other number is taken as a time. There is one request for each broker, where rdkafka sends one for each
/// partition. Every element has its own error.
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
        // SAFETY: the list lives as long as it is borrowed here and has more than `place` elements. The metadata is
        // null, or it has this many bytes, which are copied.
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
    let question = Question { name: topic, timeout, operations: false };
    // SAFETY: the description is live, and what is read of it, and only read, belongs to it; the text is copied.
    describe_topic(client, question, |topic| unsafe {
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let zero = id.is_null()
            || (native::rd_kafka_Uuid_most_significant_bits(id) == 0
                && native::rd_kafka_Uuid_least_significant_bits(id) == 0);
        if zero { None } else { text_of(native::rd_kafka_Uuid_base64str(id)) }
    })
}

/// The operations that a client may do. `None`: the brokers do not list them.
pub(super) type Allowed = Option<Vec<Operation>>;

/// Asks which operations on `topic` this client may do, waiting about `timeout` at most.
pub(super) fn topic_operations<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Allowed, Code> {
    let question = Question { name: topic, timeout, operations: true };
    // SAFETY: the description is live, and its operations belong to it.
    describe_topic(client, question, |topic| unsafe {
        let mut count = 0;
        operations(native::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count), count)
    })
}

/// Asks which operations on `group` this client may do, waiting about `timeout` at most.
pub(super) fn group_operations<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<Allowed, Code> {
    let question = Question { name: group, timeout, operations: true };
    // SAFETY: the description is live, and its operations belong to it.
    describe_group(client, question, |group| unsafe {
        let mut count = 0;
        operations(native::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut count), count)
    })
}

/// A consumer group as its coordinator describes it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The name of its state, such as `Stable`.
    pub(super) state: String,
    pub(super) members: Vec<GroupMember>,
}

/// A member of a group as the coordinator describes it.
#[derive(Debug)]
pub(super) struct GroupMember {
    /// Its `group.instance.id`, or else the id that it has in the group.
    pub(super) name: String,
    pub(super) assigned: Vec<TopicPartition>,
}

/// Describes `group`, waiting about `timeout` at most. Groups of both protocols are described alike.
pub(super) fn group<C: ClientContext>(client: &Client<C>, group: &str, timeout: Duration) -> Result<Group, Code> {
    let question = Question { name: group, timeout, operations: false };
    // SAFETY: the description is live, and what is read of it, and only read, belongs to it; texts are copied. It has
    // as many members as librdkafka says. A state's name is a constant.
    describe_group(client, question, |group| unsafe {
        let state = native::rd_kafka_ConsumerGroupDescription_state(group);
        let count = native::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = (0..count).map(|place| member(native::rd_kafka_ConsumerGroupDescription_member(group, place)));
        Group {
            state: text_of(native::rd_kafka_consumer_group_state_name(state)).unwrap_or_default(),
            members: members.collect(),
        }
    })
}

/// Copies the description of a member.
///
/// # Safety
/// `member` is a live description.
unsafe fn member(member: *const native::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: what is read, and only read, belongs to the description; texts are copied. The list is null or live, and
    // has as many elements as it says.
    unsafe {
        let assignment = native::rd_kafka_MemberDescription_assignment(member);
        let partitions =
            if assignment.is_null() { ptr::null() } else { native::rd_kafka_MemberAssignment_partitions(assignment) };
        let assigned = if partitions.is_null() || (*partitions).elems.is_null() {
            vec![]
        } else {
            let count = usize::try_from((*partitions).cnt).unwrap_or(0);
            let elements = std::slice::from_raw_parts((*partitions).elems, count);
            let place = |element: &native::rd_kafka_topic_partition_t| {
                Some(TopicPartition::new(text_of(element.topic)?, element.partition))
            };
            elements.iter().filter_map(place).collect()
        };
        let instance = text_of(native::rd_kafka_MemberDescription_group_instance_id(member));
        let id = || text_of(native::rd_kafka_MemberDescription_consumer_id(member)).unwrap_or_default();
        GroupMember { name: instance.filter(|instance| !instance.is_empty()).unwrap_or_else(id), assigned }
    }
}

/// A request for the description of one topic or group.
#[derive(Clone, Copy)]
struct Question<'q> {
    name: &'q str,
    timeout: Duration,
    /// True if the client's permitted operations are requested too.
    operations: bool,
}

/// Describes a topic; `read` gets a live description, which it must not keep.
fn describe_topic<C: ClientContext, T>(
    client: &Client<C>,
    question: Question<'_>,
    read: impl FnOnce(*const native::rd_kafka_TopicDescription_t) -> T,
) -> Result<T, Code> {
    let name = CString::new(question.name).map_err(|_| Code::InvalidTopic)?;
    let mut names = [name.as_ptr()];
    let kind = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: librdkafka copies the names, and the collection is destroyed once, after its last use. The event is live
    // in the second part, which only reads.
    unsafe {
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let answer = ask(
            client,
            kind,
            question,
            |handle, options, queue| native::rd_kafka_DescribeTopics(handle, topics, options, queue),
            |event| {
                let result = native::rd_kafka_event_DescribeTopics_result(event);
                let mut count = 0;
                let found = if result.is_null() {
                    ptr::null_mut()
                } else {
                    native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count)
                };
                let topic = first(found, count).ok_or(Code::UnknownTopicOrPartition)?;
                succeeded(native::rd_kafka_TopicDescription_error(topic))?;
                Ok(read(topic))
            },
        );
        native::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// Describes a group; `read` gets a live description, which it must not keep.
fn describe_group<C: ClientContext, T>(
    client: &Client<C>,
    question: Question<'_>,
    read: impl FnOnce(*const native::rd_kafka_ConsumerGroupDescription_t) -> T,
) -> Result<T, Code> {
    let name = CString::new(question.name).map_err(|_| Code::InvalidGroupId)?;
    let mut names = [name.as_ptr()];
    let kind = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: librdkafka copies the names. The event is live in the second part, which only reads.
    unsafe {
        ask(
            client,
            kind,
            question,
            |handle, options, queue| {
                native::rd_kafka_DescribeConsumerGroups(handle, names.as_mut_ptr(), names.len(), options, queue);
            },
            |event| {
                let result = native::rd_kafka_event_DescribeConsumerGroups_result(event);
                let mut count = 0;
                let found = if result.is_null() {
                    ptr::null_mut()
                } else {
                    native::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count)
                };
                let group = first(found, count).ok_or(Code::GroupIdNotFound)?;
                succeeded(native::rd_kafka_ConsumerGroupDescription_error(group))?;
                Ok(read(group))
            },
        )
    }
}

/// Sends a request and reads the event that answers it.
///
/// # Safety
/// `send` gives the handle, the options and the queue to librdkafka and keeps none; `read` uses the event only while it
/// runs.
unsafe fn ask<C: ClientContext, T>(
    client: &Client<C>,
    kind: native::rd_kafka_admin_op_t,
    question: Question<'_>,
    send: impl FnOnce(*mut native::rd_kafka_t, *mut native::rd_kafka_AdminOptions_t, *mut native::rd_kafka_queue_t),
    read: impl FnOnce(*mut native::rd_kafka_event_t) -> Result<T, Code>,
) -> Result<T, Code> {
    let Question { timeout, operations, .. } = question;
    // SAFETY: the client lives as long as it is borrowed here. What is made here is destroyed here, once, after its
    // last use: librdkafka copies the options, and keeps the queue by itself as long as an answer may come that nobody
    // waits for any more. The event is null or ours.
    unsafe {
        let handle = client.native_ptr();
        let options = native::rd_kafka_AdminOptions_new(handle, kind);
        // Refused, the default holds, of a minute.
        let _default =
            native::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(timeout), ptr::null_mut(), 0);
        let refused = native::rd_kafka_AdminOptions_set_include_authorized_operations(options, i32::from(operations));
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

/// Copies a text.
///
/// # Safety
/// `text` is null or a live, terminated string.
unsafe fn text_of(text: *const c_char) -> Option<String> {
    // SAFETY: it is not null, and is only read here.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// The first of `count` things that librdkafka lists.
///
/// # Safety
/// `list` is null or an array of so many.
unsafe fn first<T>(list: *mut *const T, count: usize) -> Option<*const T> {
    // SAFETY: it is not null, and has an element.
    (!list.is_null() && count > 0).then(|| unsafe { *list })
}

/// Returns the error code of an answer about one thing, if it is an error.
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
