//! Topics that change under a running host, on a real broker: added partitions, recreated topics, slow handlers.

mod grown;
mod recreated;
mod slow;

use crate::failures::clinic;
use crate::support::app::App;
use crate::support::build;
use heddle_contract::section;
use heddle_fixtures::kafka::Kafka;

/// A component without state, beside or instead of the one with state.
pub(crate) const STATELESS: &str = "clinic.scripted";

/// An app with `patient`, which keeps state. Its Kafka clients have these options.
pub(crate) fn with_state(broker: &Kafka, partitions: u32, options: &str) -> App {
    let app = clinic(App::kafka(broker), partitions, "attempts = 1\nretry = [\"200ms\"]");
    let file = app.folder.join("heddle.toml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    let log = format!("{manifest}[log]\nbootstrap = \"{}\"\noptions = {{ {options} }}\n", broker.bootstrap());
    std::fs::write(file, log).unwrap();
    app
}

/// Adds `scripted`, which keeps no state, with these settings at the end of its manifest.
pub(crate) fn add_stateless(app: &App, deadline: &str, failure: &str) {
    let wasm = build::component("guests", "scripted");
    let mut contract = section::extract(&wasm).unwrap();
    let manifest = contract.component.manifest.replace("deadline = \"100ms\"", &format!("deadline = \"{deadline}\""));
    assert!(manifest.contains(deadline), "{manifest}");
    contract.component.manifest = format!("{manifest}\n[failure]\n{failure}\n");
    std::fs::write(app.folder.join("scripted.wasm"), section::embed(&wasm, &contract).unwrap()).unwrap();
}

/// An app with `scripted` alone.
pub(crate) fn stateless(broker: &Kafka, partitions: u32, options: &str, deadline: &str, failure: &str) -> App {
    let app = with_state(broker, partitions, options);
    std::fs::remove_file(app.folder.join("patient.wasm")).unwrap();
    add_stateless(&app, deadline, failure);
    app
}
