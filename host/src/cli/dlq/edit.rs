//! Replays a letter with an edited value.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use tempfile::NamedTempFile;

use crate::dlq::{Letter, Place, Queue, Selection, decoded, encode};
use crate::guest::Schemas;
use crate::printable;

/// Replays the selected letter with the value in the user's file, or as saved in an editor.
pub(super) fn replay(
    queue: &Queue,
    selection: &Selection,
    schemas: &dyn Schemas,
    component: &str,
    given: Option<&Path>,
) -> Result<Place> {
    let meant = queue.meant(selection)?;
    let [entry] = meant.as_slice() else {
        bail!(
            "--edit takes one letter, and {} are meant\n  where: the component `{component}`\n  what to do: name it: `heddle dlq replay {component} {} --edit`",
            meant.len(),
            meant[0].place
        );
    };
    let letter = queue.whole(queue.letter(entry.place)?.0)?;
    if let Some(path) = given {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        send(queue, &letter, &text, schemas)?;
        return Ok(entry.place);
    }
    let value = decoded(&letter, schemas).map_err(|why| {
        anyhow!(
            "the value cannot be edited: {why}\n  where: the dead letter {}\n  what to do: `heddle dlq show {component} {}` shows its bytes; produce a value of your own and discard this one",
            entry.place,
            entry.place
        )
    })?;
    let draft = Draft::new(entry.place, &serde_json::to_string_pretty(&value)?)?;
    let sent = draft.edit().and_then(|text| send(queue, &letter, &text, schemas));
    if sent.is_err() && draft.is_changed() {
        // An edited value that was not sent is never thrown away.
        let path = draft.file.into_temp_path().keep()?;
        eprintln!("kept the edited value in {}", path.display());
        eprintln!("to send it: heddle dlq replay {component} {} --value {}", entry.place, path.display());
    }
    sent.map(|()| entry.place)
}

/// Replays the letter with the value in `text`, encoded by the letter's schema.
fn send(queue: &Queue, letter: &Letter, text: &str, schemas: &dyn Schemas) -> Result<()> {
    let value = serde_json::from_str(text).map_err(|e| e.to_string());
    let bytes = value.and_then(|value| encode(letter, &value, schemas)).map_err(|why| {
        anyhow!(
            "the edited value does not fit its schema, nothing was sent: {why}\n  where: the dead letter {}\n  what to do: edit it again; values are written as `heddle dlq show` prints them",
            letter.place
        )
    })?;
    // The queue is taken this late because an editor may be open for long.
    Ok(queue.take()?.replay_as(letter, bytes)?)
}

/// A file for editing that only its owner can read.
struct Draft {
    file: NamedTempFile,
    text: String,
}

impl Draft {
    fn new(place: Place, text: &str) -> Result<Self> {
        let name = format!("heddle-{}-{}-", place.partition, place.offset);
        let file = tempfile::Builder::new().prefix(&name).suffix(".json").tempfile();
        let file = file.with_context(|| format!("cannot write to {}", std::env::temp_dir().display()))?;
        let text = format!("{}\n", printable::text(text));
        std::fs::write(file.path(), &text).with_context(|| format!("cannot write {}", file.path().display()))?;
        Ok(Self { file, text })
    }

    /// Returns true if the file no longer holds its first content. An unreadable file counts as changed if it exists.
    fn is_changed(&self) -> bool {
        std::fs::read(self.file.path()).map_or(self.file.path().exists(), |bytes| bytes != self.text.as_bytes())
    }

    /// Opens the user's editor, and returns the content of the file afterwards.
    fn edit(&self) -> Result<String> {
        let chosen =
            ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let Some(editor) = chosen else {
            bail!(
                "there is no editor to open the value in\n  where: neither VISUAL nor EDITOR is set\n  what to do: set EDITOR, for example to vi"
            );
        };
        // The editor's command may have options, as with git.
        let opened =
            Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(self.file.path()).status()?;
        if !opened.success() {
            bail!(
                "the editor ended with {opened}, nothing was sent\n  where: {editor}\n  what to do: save the value and leave the editor in order, or set EDITOR to another one"
            );
        }
        std::fs::read_to_string(self.file.path()).with_context(|| format!("cannot read {}", self.file.path().display()))
    }
}
