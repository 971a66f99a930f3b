//! The format of the simulated input: each record holds the operations of its handler.
//!
//! ```text
//!  17|add:k3:5 get:k1 emit flaky:1 emit:k2
//!  id, and the operations in order
//! ```

/// The request in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The message id. Records with the same id are the same event.
    pub(crate) id: String,
    /// The operations, in order.
    pub(crate) operations: Vec<Operation>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Adds to the number of the key in the first store, and notes the sum.
    Add(String, i64),
    /// Sets the key in the second store.
    Put(String, String),
    /// Deletes the key in both stores, and emits a tombstone.
    Delete(String),
    /// Notes the key's values in both stores.
    Get(String),
    /// Notes all entries of both stores whose keys have this prefix.
    Scan(String),
    /// Notes what the table has for the key.
    Look(String),
    /// Emits the notes so far under the key, or under the input's key if `None`.
    Emit(Option<String>),
    /// Emits a record larger than the log accepts.
    Huge,
    /// Sets the key in the second store to a value larger than the log accepts.
    Hoard(String),
    /// Fails permanently.
    Reject,
    /// Fails this many attempts.
    Flaky(u32),
}

impl Command {
    /// Parses a record's value. Returns `None` if it is not a command.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (id, operations) = std::str::from_utf8(value).ok()?.split_once('|')?;
        let operations = operations.split(' ').filter(|text| !text.is_empty()).map(Operation::parse);
        Some(Self { id: id.to_owned(), operations: operations.collect::<Option<_>>()? })
    }

    /// The command as a record's value.
    pub(crate) fn text(&self) -> String {
        let operations = self.operations.iter().map(Operation::text).collect::<Vec<_>>();
        format!("{}|{}", self.id, operations.join(" "))
    }
}

impl Operation {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let (name, first, second) = (words.next()?, words.next(), words.next());
        Some(match (name, first, second) {
            ("add", Some(key), Some(by)) => Self::Add(key.to_owned(), by.parse().ok()?),
            ("put", Some(key), Some(value)) => Self::Put(key.to_owned(), value.to_owned()),
            ("del", Some(key), None) => Self::Delete(key.to_owned()),
            ("get", Some(key), None) => Self::Get(key.to_owned()),
            ("look", Some(key), None) => Self::Look(key.to_owned()),
            ("scan", Some(prefix), None) => Self::Scan(prefix.to_owned()),
            ("emit", key, None) => Self::Emit(key.map(str::to_owned)),
            ("huge", None, None) => Self::Huge,
            ("hoard", Some(key), None) => Self::Hoard(key.to_owned()),
            ("reject", None, None) => Self::Reject,
            ("flaky", Some(attempts), None) => Self::Flaky(attempts.parse().ok()?),
            _ => return None,
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Add(key, by) => format!("add:{key}:{by}"),
            Self::Put(key, value) => format!("put:{key}:{value}"),
            Self::Delete(key) => format!("del:{key}"),
            Self::Get(key) => format!("get:{key}"),
            Self::Look(key) => format!("look:{key}"),
            Self::Scan(prefix) => format!("scan:{prefix}"),
            Self::Emit(None) => "emit".to_owned(),
            Self::Emit(Some(key)) => format!("emit:{key}"),
            Self::Huge => "huge".to_owned(),
            Self::Hoard(key) => format!("hoard:{key}"),
            Self::Reject => "reject".to_owned(),
            Self::Flaky(attempts) => format!("flaky:{attempts}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_were_written() {
        let text = "17|look:r1 add:k3:5 put:a:b del:x get:k1 scan: emit flaky:1 emit:k2 huge reject hoard:k4";
        let command = Command::parse(text.as_bytes()).unwrap();
        assert_eq!((command.operations.len(), command.text()), (12, text.to_owned()));
        for odd in ["", "17", "17|what", "17|add:k", "17|add:k:x", "17|emit:a:b"] {
            assert_eq!(Command::parse(odd.as_bytes()), None, "{odd}");
        }
    }
}
