//! Decisions on requests that change the registry: by the subject's mode and level, and by references between schemas.

use heddle_contract::compat::{Level, Violation};

use super::{Asked, Change, GLOBAL, Given, Kept, Mode, State};
use crate::registry::format::{self, Entry};
use crate::registry::refusal::Refusal;

/// An answer, and the changes that must be durable before it is sent.
type Decided<T> = Result<(T, Vec<Change>), Refusal>;

impl State {
    /// Registers a schema under a subject.
    ///
    /// # Errors
    /// If the subject's mode or level forbids it, or the schema is not valid.
    pub fn register(&self, subject: &str, entry: Entry, given: Given) -> Decided<(u32, u32)> {
        check_subject(subject)?;
        let mode = self.mode(subject);
        match mode {
            Mode::ReadOnly | Mode::ReadOnlyOverride => {
                return Err(Refusal::not_permitted(format!("Subject {subject} is in read-only mode")));
            }
            Mode::ReadWrite if given.id.is_some() => {
                return Err(Refusal::not_permitted(format!("Subject {subject} is not in import mode")));
            }
            _ => {}
        }
        let known = self.ids.get(&format::identity(&entry)).copied();
        let there = self.versions(subject, false);
        if let Some(found) =
            there.iter().rev().find(|found| Some(found.id) == known && given.version.is_none_or(|v| v == found.version))
        {
            return Ok(((found.id, found.version), vec![]));
        }
        if mode == Mode::Import {
            self.parse_kept(&entry)?;
        } else {
            let level = self.level(subject);
            let violations = self.violations(level, &entry, &there)?;
            if !violations.is_empty() {
                return Err(incompatible(subject, level, &violations));
            }
        }
        let id = self.id_for(known, given)?;
        let last =
            self.subjects.get(subject).and_then(|versions| versions.last_key_value()).map_or(0, |(last, _)| *last);
        let version = given.version.unwrap_or(last + 1);
        let mut changes = vec![];
        if known != Some(id) {
            changes.push(Change::LastId(id.max(self.last_id)));
            changes.push(Change::Schema(id, Some(entry)));
        }
        changes.push(Change::Version(subject.to_owned(), version, Some(Kept { id, deleted: false })));
        Ok(((id, version), changes))
    }

    fn id_for(&self, known: Option<u32>, given: Given) -> Result<u32, Refusal> {
        match (known, given.id) {
            (Some(known), Some(given)) if known != given => {
                Err(Refusal::new(42207, format!("The schema has the id {known}, not {given}")))
            }
            (None, Some(given)) if self.schemas.contains_key(&given) => {
                Err(Refusal::not_permitted(format!("The id {given} stands for another schema")))
            }
            (None, Some(given)) => Ok(given),
            (Some(known), _) => Ok(known),
            (None, None) => self.last_id.checked_add(1).ok_or_else(|| Refusal::store("there are no ids left")),
        }
    }

    /// Deletes a subject. Marks all its versions as deleted, or with `permanent` removes versions that are already
    /// marked.
    ///
    /// # Errors
    /// If the subject does not exist, is already deleted, is not marked yet, or is referenced.
    pub fn delete_subject(&self, subject: &str, permanent: bool) -> Decided<Vec<u32>> {
        self.may_delete(subject)?;
        let all = self.subjects.get(subject).ok_or_else(|| Refusal::no_subject(subject))?;
        let is_deleted = all.values().all(|kept| kept.deleted);
        match (is_deleted, permanent) {
            (true, false) => return Err(Refusal::soft_deleted(subject, None)),
            (false, true) => return Err(Refusal::not_soft_deleted(subject, None)),
            _ => {}
        }
        let gone = all.iter().filter(|(_, kept)| permanent || !kept.deleted).collect::<Vec<_>>();
        for (version, _) in &gone {
            self.unreferenced(subject, **version)?;
        }
        let versions = gone.iter().map(|(version, _)| **version).collect::<Vec<_>>();
        let mut changes =
            versions.iter().flat_map(|version| self.delete(subject, *version, permanent)).collect::<Vec<_>>();
        changes.extend(self.orphans(&changes));
        // A subject that is registered again starts with the defaults.
        changes.extend(self.own_level(subject).map(|_| Change::Level(subject.to_owned(), None)));
        changes.extend(self.own_mode(subject).map(|_| Change::Mode(subject.to_owned(), None)));
        Ok((versions, changes))
    }

    /// Deletes one version, like [`delete_subject`](Self::delete_subject).
    ///
    /// # Errors
    /// As for [`delete_subject`](Self::delete_subject).
    pub fn delete_version(&self, subject: &str, asked: Asked, permanent: bool) -> Decided<u32> {
        self.may_delete(subject)?;
        let found = self.version(subject, asked, matches!(asked, Asked::Number(_)))?;
        let version = found.version;
        let is_deleted = self.subjects[subject][&version].deleted;
        match (is_deleted, permanent) {
            (true, false) => return Err(Refusal::soft_deleted(subject, Some(version))),
            (false, true) => return Err(Refusal::not_soft_deleted(subject, Some(version))),
            _ => {}
        }
        self.unreferenced(subject, version)?;
        let mut changes = self.delete(subject, version, permanent);
        changes.extend(self.orphans(&changes));
        Ok((version, changes))
    }

    fn may_delete(&self, subject: &str) -> Result<(), Refusal> {
        match self.mode(subject) {
            Mode::ReadOnly | Mode::ReadOnlyOverride => {
                Err(Refusal::not_permitted(format!("Subject {subject} is in read-only mode")))
            }
            _ => Ok(()),
        }
    }

    fn unreferenced(&self, subject: &str, version: u32) -> Result<(), Refusal> {
        let referrers = self.referrers(subject, version);
        let alive = referrers.iter().any(|id| self.uses(*id, false).is_ok_and(|uses| !uses.is_empty()));
        if alive { Err(Refusal::referred_to(subject, version)) } else { Ok(()) }
    }

    fn delete(&self, subject: &str, version: u32, permanent: bool) -> Vec<Change> {
        let Some(kept) = self.subjects.get(subject).and_then(|versions| versions.get(&version)) else { return vec![] };
        let kept = (!permanent).then_some(Kept { deleted: true, ..*kept });
        vec![Change::Version(subject.to_owned(), version, kept)]
    }

    /// The schemas that no version uses any more once `changes` are applied.
    fn orphans(&self, changes: &[Change]) -> Vec<Change> {
        let going = |subject: &str, version: u32| {
            changes.iter().any(|change| matches!(change, Change::Version(s, v, None) if s == subject && *v == version))
        };
        let mut ids = vec![];
        for change in changes {
            if let Change::Version(subject, version, None) = change
                && let Some(kept) = self.subjects.get(subject).and_then(|versions| versions.get(version))
                && !ids.contains(&kept.id)
            {
                ids.push(kept.id);
            }
        }
        ids.retain(|id| {
            let uses = self.uses(*id, true).unwrap_or_default();
            uses.iter().all(|(subject, version)| going(subject, *version))
        });
        ids.into_iter().map(|id| Change::Schema(id, None)).collect()
    }

    /// Sets or removes a level. Returns the former level.
    #[must_use]
    pub fn set_level(&self, subject: &str, level: Option<Level>) -> (Option<Level>, Vec<Change>) {
        (self.own_level(subject), vec![Change::Level(subject.to_owned(), level)])
    }

    /// Sets or removes a mode. Returns the former mode. With `force`, import mode may begin even if there are schemas.
    ///
    /// # Errors
    /// If import mode would begin while there are schemas, without `force`.
    pub fn set_mode(&self, subject: &str, mode: Option<Mode>, force: bool) -> Decided<Option<Mode>> {
        let occupied = if subject == GLOBAL {
            self.subjects(false).next().is_some()
        } else {
            !self.versions(subject, false).is_empty()
        };
        if mode == Some(Mode::Import) && occupied && !force && self.mode(subject) != Mode::Import {
            return Err(Refusal::not_permitted("Cannot import since found existing subjects"));
        }
        Ok((self.own_mode(subject), vec![Change::Mode(subject.to_owned(), mode)]))
    }
}

fn check_subject(subject: &str) -> Result<(), Refusal> {
    let odd = subject.is_empty() || subject.len() > 1_000 || subject.chars().any(char::is_control);
    if odd { Err(Refusal::invalid_subject(subject)) } else { Ok(()) }
}

/// The refusal with code 409, which clients recognize.
fn incompatible(subject: &str, level: Level, violations: &[Violation]) -> Refusal {
    let details = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Refusal::new(
        409,
        format!(
            "Schema being registered is incompatible with an earlier schema for subject \"{subject}\" (compatibility level {level}): {details}"
        ),
    )
}
