//! The suite's cases for members, on Apache Kafka with the groups' partitions assigned by the broker (KIP-848).

use heddle_fixtures::group::Protocol;

use crate::conformance::kafka::Kafka;

crate::conformance::membership!(Kafka::new(Protocol::Consumer));
