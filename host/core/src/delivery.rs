//! One record handed to one handler, with its attempt number.

use std::sync::Arc;

use crate::event::Record;

/// The full name of a component, `<app>.<component>`: also its consumer group.
pub type ComponentName = Arc<str>;

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
        format!("{}/{}/{}", self.component, self.record.source, self.record.offset)
    }
}
