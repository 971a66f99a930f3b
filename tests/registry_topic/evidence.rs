//! A registry that assigns its ids again is refused, before a component reads its state with the wrong schema.

use heddle::registry::Embedded;
use heddle::registry::Registry as _;

use super::schema;
use crate::support::app::{App, quickstart};

fn refused(app: &App, arguments: &[&str]) -> String {
    let output = app.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_registry_that_contradicts_the_changelogs_is_refused() {
    let app = App::embedded().platform();
    app.build();
    let orders = quickstart().join("data/orders.jsonl");
    app.ok(&["produce", "orders.created", "--key", "customerId", "--file", orders.to_str().unwrap()]);
    app.ok(&["run", "--until-idle"]);
    app.ok(&["check"]);
    let folder = app.data.path().join("registry");
    let kept = app.data.path().join("kept");
    std::fs::rename(&folder, &kept).unwrap();
    // Nothing is known, and the refused commands register nothing.
    for arguments in [&["check"][..], &["run", "--until-idle"], &["check"]] {
        let told = refused(&app, arguments);
        let expected =
            "the registry contradicts the changelog `order-platform.ledger.accounts`: its records have the schema id ";
        assert!(told.contains(expected) && told.contains("which the registry does not know"), "{told}");
    }
    // The ids now mean other schemas.
    std::fs::remove_dir_all(&folder).unwrap();
    let other = Embedded::open(&folder).unwrap();
    for number in 0..8 {
        other.register(&format!("other{number}-value"), &schema(&format!("Other{number}"))).unwrap();
    }
    drop(other);
    for arguments in [&["check"][..], &["run", "--until-idle"]] {
        let told = refused(&app, arguments);
        assert!(told.contains(r#", which is `{"type":"record","name":"Other"#), "{told}");
        assert!(told.contains("; the store `accounts` holds `{") && told.contains("\n  hint: "), "{told}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&kept, &folder).unwrap();
    app.ok(&["check"]);
    app.ok(&["run", "--until-idle"]);
}
