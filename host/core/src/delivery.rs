//! One record handed to one handler, with its attempt number.

use std::sync::Arc;

use crate::event::Record;

/// The full name of a component, `<app>.<component>`: also its consumer group.
pub type ComponentName = Arc<str>;

/// Tells records of a topic that was deleted and made anew from those that had the same offsets before. The topic that
/// a component knew first has none.
pub type Epoch = Arc<str>;

/// Room for the numbers of an id, its slashes, and what is added to it in a header.
const NUMBERS_CHARS: usize = 40;

/// One record on its way to a handler.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The component it goes to.
    pub component: &'a ComponentName,
    /// The record.
    pub record: &'a Record,
    /// 1 for the first try.
    pub attempt: u32,
    /// Which topic of its name the record comes from.
    pub epoch: Option<&'a Epoch>,
}

impl Delivery<'_> {
    /// The same for every attempt and every run: `<component>/<topic>/<partition>/<offset>`, with `@<epoch>` behind the
    /// topic if there is one.
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
