//! Replaying a letter with a value that a person changed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::dlq::{Letter, Place, Queue, Selection, decoded, encode};
use crate::guest::Schemas;

/// Opens the letter that is meant in an editor and sends what was saved.
pub(super) fn replay(queue: &Queue, selection: &Selection, schemas: &dyn Schemas, component: &str) -> Result<Place> {
    let meant = queue.meant(selection)?;
    let [entry] = meant.as_slice() else {
        bail!(
            "--edit takes one letter, and {} are meant\n  where: the component `{component}`\n  what to do: name it: `heddle dlq replay {component} {} --edit`",
            meant.len(),
            meant[0].place
        );
    };
    let (letter, _) = queue.letter(entry.place)?;
    let value = decoded(&letter, schemas).map_err(|why| {
        anyhow!(
            "the value cannot be edited: {why}\n  where: the dead letter {}\n  what to do: `heddle dlq show {component} {}` shows its bytes; produce a value of your own and discard this one",
            entry.place,
            entry.place
        )
    })?;
    let bytes = edited(&letter, &serde_json::to_string_pretty(&value)?, schemas)?;
    // Taken only now: an editor may be open for long.
    queue.take()?.replay_as(&letter, bytes.into())?;
    Ok(entry.place)
}

/// What a person makes of the value, by its schema.
fn edited(letter: &Letter, text: &str, schemas: &dyn Schemas) -> Result<Vec<u8>> {
    let file = File::new(letter.place, text)?;
    let text = file.edit()?;
    let value = serde_json::from_str(&text).map_err(|e| e.to_string());
    value.and_then(|value| encode(letter, &value, schemas)).map_err(|why| {
        anyhow!(
            "the edited value does not fit its schema, nothing was sent: {why}\n  where: the dead letter {}\n  what to do: edit it again; values are written as `heddle dlq show` prints them",
            letter.place
        )
    })
}

/// A file that is there while it is edited.
struct File(PathBuf);

impl File {
    fn new(place: Place, text: &str) -> Result<Self> {
        let name = format!("heddle-{}-{}-{}.json", std::process::id(), place.partition, place.offset);
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let mut file = options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let file_there = Self(path);
        std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes())?;
        Ok(file_there)
    }

    /// Opens the person's editor, and returns what the file holds after it.
    fn edit(&self) -> Result<String> {
        let chosen =
            ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let Some(editor) = chosen else {
            bail!(
                "there is no editor to open the value in\n  where: neither VISUAL nor EDITOR is set\n  what to do: set EDITOR, for example to vi"
            );
        };
        // An editor may come with options, as git takes it.
        let opened = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.0).status()?;
        if !opened.success() {
            bail!(
                "the editor ended with {opened}, nothing was sent\n  where: {editor}\n  what to do: save the value and leave the editor in order, or set EDITOR to another one"
            );
        }
        std::fs::read_to_string(&self.0).with_context(|| format!("cannot read {}", self.0.display()))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
