//! Records that the log refuses, before they are sent or when they arrive.
//!
//! The delivery that leads to such a record fails, its neighbours come out, and every dead letter is written in some
//! form. One host and one broker serve all cases.

mod cases;
mod kafka;

use heddle_contract::section;

use crate::support::app::App;
use crate::support::build;
use crate::support::guests::copy_contracts;

/// The component whose records are refused, and its dead-letter topic.
pub(crate) const NAME: &str = "ward.patient";
pub(crate) const LETTERS: &str = "ward.patient.dlq";
/// A component whose dead-letter topic accepts almost nothing.
pub(crate) const MUTE: &str = "ward.mute";
pub(crate) const MUTE_LETTERS: &str = "ward.mute.dlq";

/// The maximum sizes of a dead letter and of an emit, in bytes.
pub(crate) const LETTER_BYTES_MAX: usize = 8_000;
pub(crate) const EMIT_BYTES_MAX: usize = 1_000_000;

/// Limits that leave room for records that only the log refuses.
const LIMITS: &str = r#"deadline = "20s"
memory = "256MiB"
output = "64MiB"
record = "16KiB"
store-value = "32MiB""#;

/// Adds the component to an app under this name.
pub(crate) fn install(app: &App, name: &str) {
    let patient = build::component("guests", "patient");
    let mut contract = section::extract(&patient).unwrap();
    let manifest = &contract.component.manifest;
    let (rest, _) = manifest.split_once("[limits]\n").unwrap();
    contract.component.manifest = format!(
        "{}[limits]\n{LIMITS}\n[failure]\nattempts = 1\n",
        rest.replace("name = \"patient\"", &format!("name = \"{name}\""))
    );
    contract.component.name = name.to_owned();
    std::fs::write(app.folder.join(format!("{name}.wasm")), section::embed(&patient, &contract).unwrap()).unwrap();
}

/// An app with this component alone. `out` are the options of the topic that it emits to.
pub(crate) fn ward(mut app: App, out: &str) -> App {
    app.folder = app.data.path().join("app");
    copy_contracts(&app.folder);
    let manifest = format!(
        r#"[app]
name = "ward"
components = ["*.wasm"]

[topics.in]
partitions = 2
options = {{ "message.timestamp.after.max.ms" = "9223372036854775807" }}

[topics.out]
partitions = 2
options = {{ {out} }}

[topics."{LETTERS}"]
options = {{ "max.message.bytes" = "{LETTER_BYTES_MAX}" }}

[topics."{MUTE_LETTERS}"]
options = {{ "max.message.bytes" = "200" }}
"#
    );
    std::fs::write(app.folder.join("heddle.toml"), manifest).unwrap();
    install(&app, "patient");
    app
}
