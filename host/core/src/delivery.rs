//! A record that is handed to a handler, with its attempt number.

use std::sync::Arc;

use crate::event::Record;

/// The full name of a component, `<app>.<component>`. It is also the component's consumer group.
pub type ComponentName = Arc<str>;

/// The incarnation of a topic. It distinguishes the records of a recreated topic from earlier records with the same
/// offsets. The first incarnation that a component knew has no epoch.
pub type Epoch = Arc<str>;

/// The maximum length of the numbers in an id, its slashes, and a suffix in a header.
const NUMBERS_CHARS: usize = 40;

/// One record for one handler.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The component that receives it.
    pub component: &'a ComponentName,
    /// The record.
    pub record: &'a Record,
    /// The attempt number, from 1.
    pub attempt: u32,
    /// The incarnation of the record's topic.
    pub epoch: Option<&'a Epoch>,
}

impl Delivery<'_> {
    /// The id of the delivery, equal for every attempt and every run: `<component>/<topic>/<partition>/<offset>`, with
    /// `@<epoch>` after the topic if there is an epoch.
    #[must_use]
    pub fn id(&self) -> String {
        let Record { source, offset, .. } = self.record;
        let mut id = String::with_capacity(self.component.len() + source.topic.len() + NUMBERS_CHARS);
        let mut digits = itoa::Buffer::new();
        for part in [self.component, "/", &source.topic] {
            id.push_str(part);
        }
        if let Some(epoch) = self.epoch {
            id.push('@');
            id.push_str(epoch);
        }
        for part in ["/", digits.format(source.partition.0), "/"] {
            id.push_str(part);
        }
        id.push_str(digits.format(offset.0));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Offset, Timestamp, TopicPartition};

    #[test]
    fn an_epoch_stands_behind_the_topic_and_none_leaves_the_id_as_it_was() {
        let source = TopicPartition::new("orders", 3);
        let record =
            Record { source, offset: Offset(7), timestamp: Timestamp(0), key: None, value: None, headers: vec![] };
        let component = "shop.intake".into();
        let id = |epoch| Delivery { component: &component, record: &record, attempt: 1, epoch }.id();
        assert_eq!(id(None), "shop.intake/orders/3/7");
        assert_eq!(id(Some(&"1f2e".into())), "shop.intake/orders@1f2e/3/7");
    }
}
