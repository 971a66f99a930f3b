//! A scope: items that must have different names.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Names;
use crate::wit::WitError;

/// The minimum number of hexadecimal digits that make a name unique.
const DIGITS_MIN: usize = 4;

/// The names in `[rename]`, and the ones that were used.
pub(super) struct Renames<'a> {
    all: BTreeMap<&'a str, (&'a str, bool)>,
}

impl<'a> Renames<'a> {
    pub(super) fn new(renames: &'a BTreeMap<String, String>) -> Self {
        Self { all: renames.iter().map(|(key, name)| (key.as_str(), (name.as_str(), false))).collect() }
    }

    /// The name for an item. A key with the subject takes precedence over one without.
    pub(super) fn of(&mut self, keys: &[String]) -> Option<&'a str> {
        let mut found = None;
        for key in keys.iter().flat_map(|key| [Some(key.as_str()), key.split_once('/').map(|(_, local)| local)]) {
            if let Some((name, used)) = key.and_then(|key| self.all.get_mut(key)) {
                *used = true;
                found = found.or(Some(*name));
            }
        }
        found
    }

    /// Refuses a rename that does not match any item.
    pub(super) fn finish(self) -> Result<(), WitError> {
        let unused = self.all.into_iter().find(|(_, (_, used))| !used);
        unused.map_or(Ok(()), |(key, _)| Err(WitError::RenamesNothing(key.to_owned())))
    }
}

/// An item that needs a name.
pub(super) struct Wish {
    /// Its keys in the result; at least one.
    pub(super) keys: Vec<String>,
    /// The possible names, the best first. One that is not valid in the scope is skipped.
    pub(super) candidates: Vec<String>,
    /// The name that the item already has.
    pub(super) given: Option<String>,
}

impl Wish {
    pub(super) fn new(keys: Vec<String>, candidates: Vec<String>) -> Self {
        Self { keys, candidates, given: None }
    }
}

/// Assigns a unique name to every wish. `free` returns true if a name may be assigned to an item at all.
pub(super) fn fulfil(
    wishes: &mut [Wish],
    renames: &mut Renames<'_>,
    before: &Names,
    free: impl Fn(usize, &str) -> bool,
) -> Result<(), WitError> {
    let mut taken = BTreeMap::<String, usize>::new();
    for place in 0..wishes.len() {
        let Some(name) = renames.of(&wishes[place].keys) else { continue };
        let (key, name) = (wishes[place].keys[0].clone(), name.to_owned());
        if !free(place, &name) {
            return Err(WitError::RenameTaken { key, name });
        }
        if let Some(other) = taken.insert(name.clone(), place) {
            return Err(WitError::RenamedAlike { first: wishes[other].keys[0].clone(), second: key, name });
        }
        wishes[place].given = Some(name);
    }
    for place in (0..wishes.len()).filter(|place| wishes[*place].given.is_none()).collect::<Vec<_>>() {
        let had = wishes[place].keys.iter().find_map(|key| before.0.get(key)).cloned();
        if let Some(name) = had.filter(|name| free(place, name) && !taken.contains_key(name)) {
            taken.insert(name.clone(), place);
            wishes[place].given = Some(name);
        }
    }
    for place in (0..wishes.len()).filter(|place| wishes[*place].given.is_none()).collect::<Vec<_>>() {
        let wish = &wishes[place];
        let last = wish.candidates.first().map_or("x", String::as_str);
        let told_apart = (DIGITS_MIN..=64).map(|digits| format!("{last}-{}", digest(&wish.keys[0], digits)));
        let mut candidates = wish.candidates.iter().cloned().chain(told_apart);
        let name = candidates.find(|name| free(place, name) && !taken.contains_key(name)).unwrap_or_default();
        taken.insert(name.clone(), place);
        wishes[place].given = Some(name);
    }
    Ok(())
}

/// The beginning of a digest, as a word of a name. It begins with a letter.
fn digest(text: &str, digits: usize) -> String {
    let all = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("x{}", &all[..digits.min(all.len())])
}
