//! A copy of the registry's topic on this host's disk. It restores the topic if the topic is deleted.
//!
//! ```text
//!  {"topic":"<identity>","offset":7}            the topic, and the offset up to which it was read
//!  {"key":"schema/1","value":{…}}               as in the topic
//! ```
//!
//! A new file is written completely and then replaces the former one.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use heddle_core::event::Offset;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::records::{self, Said};
use crate::log::TopicId;
use crate::registry::state::State;

/// The first line: the copied topic, and the offset up to which it was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    topic: Option<String>,
    offset: i64,
}

impl Origin {
    pub(super) fn new(topic: Option<&TopicId>, offset: Offset) -> Self {
        Self { topic: topic.map(|id| id.0.clone()), offset: offset.0 }
    }

    /// Returns true if a topic with this identity and end still holds all that was copied.
    pub(super) fn is_within(&self, topic: Option<&TopicId>, end: Offset) -> bool {
        self.topic.as_deref() == topic.map(|id| id.0.as_str()) && self.offset <= end.0
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    value: Value,
}

/// The file of a copy.
pub(super) struct TopicCopy {
    pub(super) file: PathBuf,
}

impl TopicCopy {
    /// The copy of `topic` in the folder for copies of one cluster.
    pub(super) fn new(folder: &Path, topic: &str) -> Self {
        Self { file: folder.join(format!("{topic}.jsonl")) }
    }

    /// Reads the copy. Returns `None` if there is none yet.
    pub(super) fn read(&self) -> Result<Option<(Origin, State)>, String> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut lines = text.lines();
        let broken = |error: serde_json::Error| error.to_string();
        let origin = serde_json::from_str(lines.next().unwrap_or_default()).map_err(broken)?;
        let mut state = State::default();
        for line in lines {
            let Line { key, value } = serde_json::from_str(line).map_err(broken)?;
            if let Said::Change(change) = records::decode(&key, &value)? {
                state.apply(*change);
            }
        }
        Ok(Some((origin, state)))
    }

    /// Replaces the copy.
    pub(super) fn write(&self, origin: &Origin, state: &State) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let mut out = BufWriter::new(&mut file);
        serde_json::to_writer(&mut out, origin)?;
        for change in state.all() {
            let (key, value) = records::encode(&change);
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, &Line { key, value })?;
        }
        out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(&self.file).map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
mod tests {
    use heddle_contract::section::SchemaFormat;

    use super::*;
    use crate::registry::format::Entry;
    use crate::registry::state::{Change, Kept};

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let copy = TopicCopy::new(&folder.path().join("cluster"), "heddle.registry");
        assert!(copy.read().unwrap().is_none());
        let mut state = State::default();
        state.apply(Change::Schema(3, Some(Entry::new(SchemaFormat::Avro, "{\"type\":\n\"string\"}"))));
        state.apply(Change::Version("a-value".to_owned(), 1, Some(Kept { id: 3, deleted: false })));
        let id = TopicId("x".to_owned());
        let origin = Origin::new(Some(&id), Offset(7));
        copy.write(&origin, &state).unwrap();
        let (found, read) = copy.read().unwrap().unwrap();
        assert_eq!((&found, read.all()), (&origin, state.all()));
        assert!(found.is_within(Some(&id), Offset(7)) && !found.is_within(Some(&id), Offset(6)));
        assert!(!found.is_within(Some(&TopicId("y".to_owned())), Offset(9)));
    }
}
