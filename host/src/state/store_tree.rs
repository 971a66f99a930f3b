//! The tree of a store: its keys, and the write of a memtable into it.
//!
//! ```text
//!  memtable of 25,000 keys, sorted     stored watermark
//!  first part ──apply──> tree          all below 4,000; some of what is below 9,000
//!  next parts ──apply──> tree          the same
//!  last part  ──apply──> tree          all below 9,000
//! ```
//!
//! The write is split because an engine takes a batch as a whole: the batch is in memory a second time meanwhile, and
//! lookups wait for it. A host that is killed between two parts reads the changelog again from the watermark. Every key
//! that was written early then gets its value again.

use bytes::Bytes;
use heddle_core::event::Timestamp;

use super::layers::{Frozen, Memtable};
use super::tree::{StoredWatermark, WATERMARK, read_watermark};
use super::{Changes, StateError, StateStore};

/// The first byte of every key of a store, so that none equals the watermark's.
const DATA: u8 = 1;

/// The tree's key for a key of the store.
pub(super) fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// Writes a memtable in atomic batches of at most `at_once` keys. It writes in key order, because neighbours are on the
/// same page. The last batch brings the watermark. Returns about how many bytes it wrote.
pub(super) fn write_memtable(
    tree: &dyn StateStore,
    frozen: &Frozen<Memtable>,
    now: Timestamp,
    at_once: usize,
) -> Result<usize, StateError> {
    let mut writes = frozen.content.writes().iter().collect::<Vec<_>>();
    writes.sort_unstable_by_key(|(key, _)| *key);
    let mut begun = read_watermark(tree)?;
    let mut done = StoredWatermark::of(&frozen.watermark, now);
    // Keeps the mark of an earlier write that was interrupted at a later offset: it belongs to a restore that has not
    // reached that offset again.
    done.early = begun.as_ref().and_then(|begun| begun.early).filter(|early| *early > done.offset);
    if let Some(begun) = &mut begun {
        begun.early = begun.early.max(Some(done.offset));
    }
    let (mut written, mut rest) = (0, &writes[..]);
    loop {
        let (part, more) = rest.split_at(rest.len().min(at_once.max(1)));
        // A tree without a watermark gets one with the last part only. If it is opened before that, it is emptied.
        let watermark = if more.is_empty() { Some(done.encode()) } else { begun.take().map(|begun| begun.encode()) };
        let mut changes = Changes::with_capacity(part.len() + 1);
        changes.extend(watermark.map(|watermark| (Bytes::from_static(WATERMARK), Some(watermark))));
        changes.extend(part.iter().map(|(key, value)| (data_key(key).into(), (*value).clone())));
        written += changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
        tree.apply(changes)?;
        if more.is_empty() {
            return Ok(written);
        }
        rest = more;
    }
}
