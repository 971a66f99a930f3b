//! The records of a transaction and the deliveries that sent them. If the log refuses records on arrival, it reports
//! their numbers.

use heddle_core::event::{Offset, Topic, TopicPartition};
use heddle_core::task::Form;

/// The records of one transaction, counted in the order in which they were sent.
#[derive(Default)]
pub(super) struct Sent {
    deliveries: Vec<Delivered>,
    /// The bytes of key and value of each record.
    bytes: Vec<u32>,
    /// The delivery that was stepped last, even if it sent nothing.
    last: Option<Delivered>,
}

/// A delivery that sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) source: TopicPartition,
    pub(super) offset: Offset,
    /// The number of its last record, plus one.
    upto: usize,
    /// The form of its first record. All records that a delivery sends have the same form.
    pub(super) form: Option<Form>,
}

impl Sent {
    /// Records that a delivery was stepped. Its records may be sent later.
    pub(super) fn stepped(&mut self, source: &TopicPartition, offset: Offset) {
        match &mut self.last {
            Some(last) if last.source == *source => (last.offset, last.form) = (offset, None),
            last => *last = Some(Delivered { source: source.clone(), offset, upto: 0, form: None }),
        }
    }

    /// Adds a record of a delivery with this many bytes.
    pub(super) fn add(&mut self, source: &TopicPartition, offset: Offset, form: Form, bytes: usize) {
        self.bytes.push(u32::try_from(bytes).unwrap_or(u32::MAX));
        let upto = self.bytes.len();
        if let Some(last) = self.last.as_mut().filter(|last| last.source == *source && last.offset == offset) {
            last.form = Some(form);
        }
        match self.deliveries.last_mut() {
            Some(last) if last.source == *source && last.offset == offset => last.upto = upto,
            _ => self.deliveries.push(Delivered { source: source.clone(), offset, upto, form: Some(form) }),
        }
    }

    /// Adds a record of a changelog. These follow the records of all deliveries.
    pub(super) fn add_changelog(&mut self) {
        self.bytes.push(0);
    }

    /// The size of the record with this number, in bytes.
    pub(super) fn bytes(&self, number: usize) -> Option<usize> {
        self.bytes.get(number).and_then(|bytes| usize::try_from(*bytes).ok())
    }

    /// The delivery that sent the record with this number. `None` stands for a changelog record, which may belong to
    /// several deliveries.
    pub(super) fn of(&self, number: usize) -> Option<&Delivered> {
        let place = self.deliveries.partition_point(|delivered| delivered.upto <= number);
        self.deliveries.get(place)
    }

    /// The delivery that was stepped last.
    pub(super) fn last(&self) -> Option<&Delivered> {
        self.last.as_ref()
    }
}

impl Delivered {
    /// The form of its record if one for `topic` was refused and the number of that record is not known.
    pub(super) fn form_for(&self, topic: Option<&Topic>, changelogs: impl Fn(&Topic) -> bool) -> Form {
        match self.form {
            Some(form) if !topic.is_some_and(changelogs) => form,
            _ => Form::Changelog,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_number_leads_to_its_delivery() {
        let (a, b) = (TopicPartition::new("in", 0), TopicPartition::new("in", 1));
        let mut sent = Sent::default();
        for (source, offset, count, form) in [(&a, 1, 2, Form::Emit), (&b, 1, 0, Form::Emit), (&b, 2, 1, Form::Letter)]
        {
            sent.stepped(source, Offset(offset));
            (0..count).for_each(|_| sent.add(source, Offset(offset), form, 7));
        }
        sent.add_changelog();
        let of = |number| sent.of(number).map(|found| (found.source.partition.0, found.offset.0, found.form));
        let [emit, letter] = [Some((0, 1, Some(Form::Emit))), Some((1, 2, Some(Form::Letter)))];
        assert_eq!([0, 1, 2, 3].map(of), [emit, emit, letter, None]);
        assert_eq!([0, 2, 3, 4].map(|number| sent.bytes(number)), [Some(7), Some(7), Some(0), None]);
        let last = sent.last().unwrap();
        assert_eq!((last.offset, last.form_for(None, |_| false)), (Offset(2), Form::Letter));
        assert_eq!(last.form_for(Some(&"log".into()), |_| true), Form::Changelog);
        sent.stepped(&a, Offset(9));
        assert_eq!(sent.last().unwrap().form_for(None, |_| false), Form::Changelog);
    }
}
