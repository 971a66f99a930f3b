//! Replays a letter with an edited value.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use heddle_core::explain::Explained;
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
            Explained::new(format!("only one dead letter can be edited, and {} are selected", meant.len()))
                .at(format_args!("the component `{component}`"))
                .hint(format_args!("name one: `heddle dlq replay {component} {} --edit`", meant[0].place))
        );
    };
    let letter = queue.whole(queue.letter(entry.place)?.0)?;
    if let Some(path) = given {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        send(queue, &letter, &text, schemas)?;
        return Ok(entry.place);
    }
    let value = decoded(&letter, schemas).map_err(|why| {
        let hint = format!(
            "produce a value of your own and discard this letter; `heddle dlq show {component} {}` prints its bytes",
            entry.place
        );
        let what = format!("the value cannot be edited: {why}");
        anyhow::Error::from(Explained::new(what).at(format_args!("the dead letter {}", entry.place)).hint(hint))
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
        anyhow::Error::from(
            Explained::new(format!("the edited value does not match its schema, nothing was sent: {why}"))
                .at(format_args!("the dead letter {}", letter.place))
                .hint("edit it again, in the form that `heddle dlq show` prints"),
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
                Explained::new("there is no editor: neither VISUAL nor EDITOR is set")
                    .hint("set EDITOR, for example to vi")
            );
        };
        // The editor's command may have options, as with git.
        let opened =
            Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(self.file.path()).status()?;
        if !opened.success() {
            bail!(
                Explained::new(format!("the editor ended with {opened}, nothing was sent"))
                    .at(&editor)
                    .hint("save the value and leave the editor with exit code 0, or set another EDITOR")
            );
        }
        std::fs::read_to_string(self.file.path()).with_context(|| format!("cannot read {}", self.file.path().display()))
    }
}
