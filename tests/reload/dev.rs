//! `heddle dev`: saved changes run. Changes that cannot be built or do not fit are reported, and the previous version
//! continues.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{Orders, Platform, bookings, example};

/// Copies the example with its source into the platform's folder.
pub(crate) fn sources(platform: &Platform) {
    let folder = platform.folder.path();
    for part in ["contracts", "components"] {
        assert!(Command::new("cp").arg("-r").arg(example().join(part)).arg(folder).status().unwrap().success());
    }
    let settings = std::fs::read_to_string(folder.join("heddle.toml")).unwrap();
    std::fs::write(folder.join("heddle.toml"), settings.replace("ledger.wasm", "components/*")).unwrap();
    std::fs::remove_file(folder.join("ledger.wasm")).unwrap();
    let sdk = example().join("../../sdk/rust").canonicalize().unwrap();
    edit(&folder.join("components/ledger/Cargo.toml"), "../../../../sdk/rust", &sdk.display().to_string());
}

pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "there is no `{from}` in {}", file.display());
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_saved_change_runs_and_a_broken_one_is_reported() {
    let platform = Platform::embedded();
    sources(&platform);
    let host = Host::start_by(&platform, 0, "dev");
    let orders = Orders::new(&platform.registry());
    let book = |n: usize| platform.log().append(&[orders.order(n, true)]).unwrap();
    book(0);
    let source = platform.path("components/ledger/src/lib.rs");
    let first = platform.status(0)["digest"].clone();
    let runs_another = |than: &serde_json::Value| {
        let digest = platform.status(0)["digest"].clone();
        digest.is_string() && digest != *than
    };

    wait_until("the first order is booked", || bookings(&*platform.log()).len() == 1);
    let saved = Instant::now();
    edit(&source, "orders: orders + 1", "orders: orders + 100");
    wait_until("what was saved runs", || runs_another(&first));
    let took = saved.elapsed();
    book(20);
    wait_until("it books by what was saved", || bookings(&*platform.log()).len() == 2);
    assert_eq!(bookings(&*platform.log())[1].2, 101);
    let told = host.told();
    let line = told.lines().find(|line| line.contains("checked, running")).unwrap();
    // The last number in the line: the time from the built file until all workers run it.
    let own = line.rsplit_once('(').unwrap().1.trim_end_matches(" s)").parse::<f64>().unwrap();
    println!("saved to running {took:?}, of which checking, compiling and switching {own} s: {line}");
    assert!(own < 2.0, "{line}");

    let second = platform.status(0)["digest"].clone();
    edit(&source, "struct Ledger;", "struct Ledger; this is not Rust");
    wait_until("the error is reported", || host.told().contains("ledger: not changed"));
    assert!(host.told().contains("error: expected") || host.told().contains("expected one of"), "{}", host.told());
    book(40);
    wait_until("the previous version continues", || bookings(&*platform.log()).len() == 3);
    assert_eq!(platform.status(0)["digest"], second);
    edit(&source, "struct Ledger; this is not Rust", "struct Ledger;");
    wait_until("the correction is built", || host.told().contains("same as the running version"));

    // A contract that the state does not fit, and the way back.
    let said = |what: &str| host.told().matches(what).count();
    // A save may be noticed twice, so the broken source may have been built twice.
    let (refused, good) = (said("ledger: not changed"), said("same as the running version"));
    let account = platform.path("contracts/Account.avsc");
    let fitting = std::fs::read_to_string(&account).unwrap();
    edit(
        &account,
        r#"{ "name": "orders", "type": "long" }"#,
        r#"{ "name": "orders", "type": "long" }, { "name": "tier", "type": "int" }"#,
    );
    wait_until("the contract is refused", || said("ledger: not changed") > refused);
    std::fs::write(&account, fitting).unwrap();
    wait_until("the contract is good again", || said("same as the running version") > good);
    let refused = platform.refused(&["deploy", &platform.path("components/ledger").display().to_string()]);
    assert!(refused.contains("this host runs the sources of the app"), "{refused}");
    host.stop();
}

#[test]
fn an_unchanged_saved_file_is_not_built() {
    let platform = Platform::embedded();
    sources(&platform);
    let host = Host::start_by(&platform, 0, "dev");
    let source = platform.path("components/ledger/src/lib.rs");
    let before = host.told().matches("building ledger").count();
    let text = std::fs::read(&source).unwrap();
    std::fs::write(&source, &text).unwrap();
    edit(&source, "struct Ledger;", "struct Ledger; ");
    wait_until("the second one is built", || host.told().contains("same as the running version"));
    assert_eq!(host.told().matches("building ledger").count(), before + 1, "{}", host.told());
    host.stop();
}

/// A change that the watcher reports twice is built once, whether or not it builds. A file that an editor has emptied
/// counts as not yet written.
#[test]
fn a_saved_change_is_built_once_even_if_the_build_fails() {
    let platform = Platform::embedded();
    sources(&platform);
    let host = Host::start_by(&platform, 0, "dev");
    let source = platform.path("components/ledger/src/lib.rs");
    let said = |what: &str| host.told().matches(what).count();
    let before = said("building ledger");
    let good = std::fs::read_to_string(&source).unwrap();
    let broken = good.replace("struct Ledger;", "struct Ledger; this is not Rust");
    std::fs::write(&source, &broken).unwrap();
    wait_until("the error is reported", || said("ledger: not changed") == 1);
    for _ in 0..3 {
        std::fs::write(&source, &broken).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // Like an editor on a slow disk.
    std::fs::write(&source, "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    std::fs::write(&source, good + "\n").unwrap();
    wait_until("the correction is built", || said("same as the running version") == 1);
    assert_eq!((said("building ledger") - before, said("ledger: not changed")), (2, 1), "{}", host.told());
    host.stop();
}

/// Cargo cannot distinguish two checkouts of one app. The files of the older one are older than the last build.
#[test]
fn a_component_is_built_from_its_own_folder_whatever_was_built_before() {
    let (one, other) = (Platform::embedded(), Platform::embedded());
    sources(&one);
    sources(&other);
    edit(&other.path("components/ledger/src/lib.rs"), "orders: orders + 1", "orders: orders + 7");
    let built = |platform: &Platform| {
        platform.ok(&["build"]);
        std::fs::read(platform.path("components/ledger/ledger.wasm")).unwrap()
    };
    let (first, second) = (built(&one), built(&other));
    assert!(first != second, "the second app has the code of the first");
    assert!(built(&one) == first && built(&other) == second);
}
