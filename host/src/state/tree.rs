//! The names of trees, and the watermark that every tree of a task holds.

use std::fmt::Write as _;

use bytes::Bytes;
use heddle_core::event::{Offset, Partition, Timestamp, Topic};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{StateError, StateStore, TREE_NAME_BYTES_MAX, Watermark};

/// The key of the watermark. No other key of a tree begins with its first byte.
pub(super) const WATERMARK: &[u8] = b"\0watermark";
/// The version of the layout of trees.
const LAYOUT: u32 = 1;
/// The characters, beside non-ASCII ones, that a part of a tree's name must not contain.
const ODD: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b' ').add(b'\\');

/// The name of the tree that holds the copy of one partition of a changelog: `<component>/<changelog>/<partition>`.
#[must_use]
pub fn tree_name(component: &str, changelog: &str, partition: Partition) -> String {
    let [component, changelog] = [component, changelog].map(|part| utf8_percent_encode(part, ODD));
    let name = format!("{component}/{changelog}/{partition}");
    if name.len() <= TREE_NAME_BYTES_MAX {
        return name;
    }
    // The name is ASCII here, so it can be cut anywhere.
    let mut short = name[..TREE_NAME_BYTES_MAX - 80].to_owned();
    short.push('~');
    for byte in Sha256::digest(&name) {
        let _ = write!(short, "{byte:02x}");
    }
    let _ = write!(short, "/{partition}");
    short
}

/// The watermark in its stored form.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredWatermark {
    layout: u32,
    topic_id: Option<String>,
    /// The tree holds everything that the changelog has below this offset.
    pub(super) offset: i64,
    /// The time of the write, in milliseconds since 1970.
    #[serde(default)]
    written: i64,
    /// The tree already holds some of what the changelog has from `offset` up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) early: Option<i64>,
}

impl StoredWatermark {
    /// Describes a tree that holds exactly what lies below the watermark, written at `now`.
    pub(super) fn of(watermark: &Watermark, now: Timestamp) -> Self {
        let Watermark { topic_id, offset } = watermark.clone();
        Self { layout: LAYOUT, topic_id, offset: offset.0, written: now.0, early: None }
    }

    pub(super) fn encode(&self) -> Bytes {
        // Numbers and strings always serialize to JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// The state of a tree when it is opened.
pub(super) struct Found {
    pub(super) watermark: Watermark,
    /// The time at which the watermark was written.
    pub(super) written: Timestamp,
    /// The end of the tree's content: the watermark, or an offset beyond it if a host was killed while it wrote.
    pub(super) end: Offset,
}

/// The watermark of a tree, if it has one of this layout.
pub(super) fn read_watermark(tree: &dyn StateStore) -> Result<Option<StoredWatermark>, StateError> {
    let stored = tree.get(WATERMARK)?;
    let known = stored.and_then(|stored| serde_json::from_slice::<StoredWatermark>(&stored).ok());
    Ok(known.filter(|stored| stored.layout == LAYOUT))
}

/// Reads the state of a tree. A tree without a watermark, or with one of another layout, is emptied, because its
/// content is not known.
pub(super) fn open_watermark(tree: &dyn StateStore, changelog: &Topic) -> Result<Option<Found>, StateError> {
    if let Some(StoredWatermark { topic_id, offset, written, early, .. }) = read_watermark(tree)? {
        let end = Offset(early.map_or(offset, |early| early.max(offset)));
        let watermark = Watermark { topic_id, offset: Offset(offset) };
        return Ok(Some(Found { watermark, written: Timestamp(written), end }));
    }
    if tree.get(WATERMARK)?.is_some() {
        tracing::warn!(%changelog, "discarding a local copy of another version");
    }
    wipe(tree)?;
    Ok(None)
}

/// Empties a tree. If this is interrupted, the next [`open_watermark`] does it again.
pub(super) fn wipe(tree: &dyn StateStore) -> Result<(), StateError> {
    tree.apply(vec![(Bytes::from_static(WATERMARK), None)])?;
    tree.clear()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn odd_names_stay_apart() {
        let long = "x".repeat(249);
        let names = [
            ("a", "b/c", 0),
            ("a/b", "c", 0),
            ("a%2Fb", "c", 0),
            ("ä", "c", 0),
            ("", "", 0),
            ("a", &long, 0),
            (&long, &long, 0),
            (&long, &long, 1),
            (&long, &long[1..], 10),
            (&long[1..], &long, 10),
        ];
        let names =
            names.map(|(component, changelog, partition)| tree_name(component, changelog, Partition(partition)));
        assert!(names.iter().all(|name| name.len() <= TREE_NAME_BYTES_MAX && name.is_ascii()), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(tree_name("shop.stock", "shop.stock.levels", Partition(3)), "shop.stock/shop.stock.levels/3");
    }
}
