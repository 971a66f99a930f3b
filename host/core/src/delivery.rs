//! One record handed to one handler, with its attempt number.

use std::sync::Arc;

use crate::event::Record;

/// The full name of a component, `<app>.<component>`: also its consumer group.
pub type ComponentName = Arc<str>;

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
}

impl Delivery<'_> {
    /// The same for every attempt and every run: `<component>/<topic>/<partition>/<offset>`.
    #[must_use]
    pub fn id(&self) -> String {
        let Record { source, offset, .. } = self.record;
        let mut id = String::with_capacity(self.component.len() + source.topic.len() + NUMBERS_CHARS);
        let mut digits = itoa::Buffer::new();
        for part in [self.component, "/", &source.topic, "/", digits.format(source.partition.0), "/"] {
            id.push_str(part);
        }
        id.push_str(digits.format(offset.0));
        id
    }
}
