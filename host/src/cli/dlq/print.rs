//! Prints letters on the terminal.

use std::borrow::Cow;

use anyhow::Result;
use serde_json::Value;

use crate::cli::Raw;
use crate::dlq::{Entry, Group, Mark, Reduced, Shown};
use crate::output;
use crate::printable::line;

/// Prints one letter a line, in columns, followed by its outcome.
pub(super) fn entries(entries: &[Entry], json: bool, Raw { raw }: Raw) -> Result<()> {
    let places = entries.iter().map(|entry| entry.place.to_string()).collect::<Vec<_>>();
    let place = places.iter().map(String::len).max().unwrap_or(0);
    let kind = entries.iter().map(|entry| entry.kind.len()).max().unwrap_or(0);
    for (entry, at) in entries.iter().zip(&places) {
        if json {
            output::print(format_args!("{}", serde_json::to_string(entry)?), raw);
            continue;
        }
        let did = entry.did.map(|did| format!("  ({did})")).unwrap_or_default();
        let time = &entry.last_failure;
        let [kind_of, reason] = [&entry.kind, &entry.reason].map(|text| value(text, raw));
        output::print(format_args!("{at:<place$}  {time}  {kind_of:<kind$}  {reason}{did}"), raw);
    }
    Ok(())
}

/// Prints counts, the largest first.
pub(super) fn groups(groups: &[Group], json: bool, Raw { raw }: Raw) -> Result<()> {
    let count = groups.iter().map(|group| group.count.to_string().len()).max().unwrap_or(0);
    let kind = groups.iter().map(|group| group.kind.len()).max().unwrap_or(0);
    for group in groups {
        if json {
            output::print(format_args!("{}", serde_json::to_string(group)?), raw);
        } else {
            let [kind_of, reason] = [&group.kind, &group.reason].map(|text| value(text, raw));
            output::print(format_args!("{:>count$}  {kind_of:<kind$}  {reason}", group.count), raw);
        }
    }
    Ok(())
}

/// Prints one letter in full.
pub(super) fn shown(shown: &Shown, mark: Option<&Mark>, json: bool, Raw { raw }: Raw) -> Result<()> {
    if json {
        output::print(format_args!("{}", serde_json::to_string(shown)?), raw);
        return Ok(());
    }
    let Entry { place, kind, reason, origin, attempts, replays, last_failure, first_failure, schema_id, .. } =
        &shown.entry;
    let told = |name: &str, text: &str| output::print(format_args!("{name:<13}  {}", value(text, raw)), raw);
    told("place", &place.to_string());
    told("kind", kind);
    told("reason", reason);
    told("from", &format!("{}/{}@{}", origin.topic, origin.partition, origin.offset));
    told("component", &shown.component);
    shown.digest.iter().for_each(|digest| told("digest", digest));
    attempts.iter().for_each(|attempts| told("attempts", &attempts.to_string()));
    first_failure.iter().for_each(|first| told("first failure", first));
    told("last failure", last_failure);
    told("replays", &replays.to_string());
    mark.iter().for_each(|mark| told(&mark.did.to_string(), &mark.at));
    schema_id.iter().for_each(|id| told("schema", &id.to_string()));
    if let Some(Reduced { why, key_bytes, key_sha256, value_bytes, value_sha256, headers }) = &shown.reduced {
        told("reduced", why);
        let part = |bytes: &Option<u64>, digest: &Option<String>| match (bytes, digest) {
            (Some(bytes), Some(digest)) => format!("{bytes} bytes, sha256 {digest}"),
            _ => "null".to_owned(),
        };
        told("whole key", &part(key_bytes, key_sha256));
        told("whole value", &part(value_bytes, value_sha256));
        headers.iter().for_each(|count| told("its headers", &count.to_string()));
    }
    told("key", &plainly(&shown.key));
    for (name, value) in &shown.headers {
        told("header", &format!("{name}: {}", plainly(value)));
    }
    for logged in &shown.log {
        let of = |name: &str| logged.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        told("log", &format!("{}: {}", of("level"), of("message")));
    }
    match &shown.hex {
        Some(hex) => told("bytes", hex),
        None => output::print(format_args!("{}", serde_json::to_string_pretty(&shown.value)?), raw),
    }
    Ok(())
}

/// A text without quotes, or any other value as JSON.
fn plainly(json: &Value) -> Cow<'_, str> {
    json.as_str().map_or_else(|| json.to_string().into(), Cow::Borrowed)
}

/// Foreign text, escaped to fit into a line unless `raw`.
fn value(text: &str, raw: bool) -> Cow<'_, str> {
    if raw { text.into() } else { line(text) }
}
