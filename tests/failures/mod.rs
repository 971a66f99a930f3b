//! Failing records as users see them: retried in place and later, kept in order, dead-lettered, or held back by a
//! circuit breaker.

mod breaker;
pub(crate) mod host;
mod neighbours;
mod orders;
mod poison;
mod retries;

use crate::support::build;
use std::sync::OnceLock;

use crate::support::app::App;
use crate::support::guests::copy_contracts;
use heddle_contract::section;

pub(crate) const NAME: &str = "clinic.patient";
pub(crate) const LETTERS: &str = "clinic.patient.dlq";

/// The default failure policy in the manifest of the component.
pub(crate) const FAILURE: &str = r#"attempts = 2
backoff = "10ms"
retry = ["200ms", "1s"]"#;

/// The file of the component, built once.
fn patient() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| build::component("guests", "patient"))
}

/// Installs a component under `name`, with this `[failure]` section.
pub(crate) fn install(app: &App, name: &str, failure: &str) {
    let mut contract = section::extract(patient()).unwrap();
    let manifest = &contract.component.manifest;
    let (rest, own) = manifest.split_once("[failure]\n").unwrap();
    assert_eq!(own.trim(), FAILURE, "what tests take for granted");
    contract.component.manifest =
        format!("{}[failure]\n{failure}\n", rest.replace("name = \"patient\"", &format!("name = \"{name}\"")));
    contract.component.name = name.to_owned();
    let file = app.folder.join(format!("{name}.wasm"));
    std::fs::write(file, section::embed(patient(), &contract).unwrap()).unwrap();
}

/// An app with this component alone.
pub(crate) fn clinic(mut app: App, partitions: u32, failure: &str) -> App {
    app.folder = app.data.path().join("app");
    copy_contracts(&app.folder);
    let manifest = format!(
        "[app]\nname = \"clinic\"\ncomponents = [\"*.wasm\"]\n[topics.in]\npartitions = {partitions}\n\
         options = {{ \"max.message.bytes\" = \"1048576\" }}\n[topics.out]\npartitions = {partitions}\n"
    );
    std::fs::write(app.folder.join("heddle.toml"), manifest).unwrap();
    install(&app, "patient", failure);
    app
}
