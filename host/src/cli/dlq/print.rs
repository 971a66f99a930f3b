//! Letters on the terminal.

use std::io::Write as _;

use anyhow::Result;

use crate::dlq::{Entry, Group, Mark, Shown};

/// One letter a line, in columns; what became of it behind it.
pub(super) fn entries(entries: &[Entry], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let places = entries.iter().map(|entry| entry.place.to_string()).collect::<Vec<_>>();
    let place = places.iter().map(String::len).max().unwrap_or(0);
    let kind = entries.iter().map(|entry| entry.kind.len()).max().unwrap_or(0);
    for (entry, at) in entries.iter().zip(&places) {
        if json {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
            continue;
        }
        let did = entry.did.map(|did| format!("  ({did})")).unwrap_or_default();
        let (time, reason) = (&entry.last_failure, one_line(&entry.reason));
        writeln!(out, "{at:<place$}  {time}  {:<kind$}  {reason}{did}", entry.kind)?;
    }
    Ok(())
}

/// Counts, the largest first.
pub(super) fn groups(groups: &[Group], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let count = groups.iter().map(|group| group.count.to_string().len()).max().unwrap_or(0);
    let kind = groups.iter().map(|group| group.kind.len()).max().unwrap_or(0);
    for group in groups {
        if json {
            writeln!(out, "{}", serde_json::to_string(group)?)?;
        } else {
            writeln!(out, "{:>count$}  {:<kind$}  {}", group.count, group.kind, one_line(&group.reason))?;
        }
    }
    Ok(())
}

/// One letter with all that is known of it.
pub(super) fn shown(shown: &Shown, mark: Option<&Mark>, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(shown)?)?;
        return Ok(());
    }
    let Entry { place, kind, reason, origin, attempts, replays, last_failure, first_failure, schema_id, .. } =
        &shown.entry;
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<13}  {value}");
    line("place", &place.to_string())?;
    line("kind", kind)?;
    line("reason", reason)?;
    line("from", &format!("{}/{}@{}", origin.topic, origin.partition, origin.offset))?;
    line("component", &shown.component)?;
    shown.digest.iter().try_for_each(|digest| line("digest", digest))?;
    attempts.iter().try_for_each(|attempts| line("attempts", &attempts.to_string()))?;
    first_failure.iter().try_for_each(|first| line("first failure", first))?;
    line("last failure", last_failure)?;
    line("replays", &replays.to_string())?;
    mark.iter().try_for_each(|mark| line(&mark.did.to_string(), &mark.at))?;
    schema_id.iter().try_for_each(|id| line("schema", &id.to_string()))?;
    line("key", shown.key.as_deref().unwrap_or("null"))?;
    for (name, value) in &shown.headers {
        line("header", &format!("{name}: {}", value.as_deref().unwrap_or("null")))?;
    }
    for told in &shown.log {
        let of = |name: &str| told.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        line("log", &format!("{}: {}", of("level"), of("message")))?;
    }
    match &shown.hex {
        Some(hex) => line("bytes", hex)?,
        None => writeln!(out, "{}", serde_json::to_string_pretty(&shown.value)?)?,
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}
