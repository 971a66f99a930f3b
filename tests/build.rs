//! `heddle build`: the same source gives the same file in any folder. Components may also be built by the user's
//! command.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heddle_contract::section;

use crate::support::handmade;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn build(app: &Path, names: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heddle")).arg("build").args(names).arg("--app").arg(app).output().unwrap()
}

fn built(app: &Path, names: &[&str]) {
    let output = build(app, names);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Copies the files of a folder without build results.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            // Components in other languages are left out, because cargo requires a manifest in each.
            if path.join("component.toml").exists() && !path.join("Cargo.toml").exists() {
                continue;
            }
            if name != "target"
                && path.parent().is_some_and(|folder| !folder.join("component.toml").exists() || name == "src")
            {
                copy(&path, &to.join(name));
            }
        } else if path.extension().is_none_or(|extension| extension != "wasm") {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Copies the guests and the SDK into one workspace below `root`.
///
/// Cargo names a crate by its path within the workspace, or in a registry. A crate outside is named by its whole path,
/// and the compiler sorts functions by such names.
fn workspace(root: &Path) -> PathBuf {
    for folder in ["guests", "sdk", "wit"] {
        copy(&repository().join(folder), &root.join(folder));
    }
    let mut manifest: toml::Table = fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
    let settings = manifest["workspace"].as_table_mut().unwrap();
    let members = ["sdk/rust", "sdk/rust/macros", "guests/components/*"].map(toml::Value::from).to_vec();
    settings.insert("members".into(), members.into());
    settings.remove("exclude");
    // A workspace has only one root, which is here `root`.
    for name in ["sdk/rust/Cargo.toml", "sdk/rust/macros/Cargo.toml"] {
        let mut sdk: toml::Table = fs::read_to_string(root.join(name)).unwrap().parse().unwrap();
        sdk.remove("workspace");
        sdk.remove("lints");
        fs::write(root.join(name), sdk.to_string()).unwrap();
    }
    fs::write(root.join("Cargo.toml"), manifest.to_string()).unwrap();
    fs::rename(root.join("guests/Cargo.lock"), root.join("Cargo.lock")).unwrap();
    fs::remove_file(root.join("guests/Cargo.toml")).unwrap();
    root.join("guests")
}

#[test]
fn the_same_source_builds_the_same_bytes_in_another_folder() {
    let place = tempfile::tempdir().unwrap();
    let apps = ["here", "at/another/place"].map(|folder| workspace(&place.path().join(folder)));
    let names = ["scripted", "wrong-import"];
    apps.iter().for_each(|app| built(app, &names));
    for name in names {
        let file = format!("components/{name}/{name}.wasm");
        let [here, there] = apps.each_ref().map(|app| fs::read(app.join(&file)).unwrap());
        assert!(here == there, "{file}: {} and {} bytes that differ", here.len(), there.len());
        let text = place.path().to_str().unwrap().as_bytes();
        assert!(!here.windows(text.len()).any(|window| window == text), "{file} names {}", place.path().display());
    }
}

/// An app with one component, `own-way`, that a command builds.
fn own_way(command: &str) -> tempfile::TempDir {
    let app = tempfile::tempdir().unwrap();
    let component = app.path().join("components/own-way");
    fs::create_dir_all(&component).unwrap();
    fs::write(app.path().join("heddle.toml"), "[app]\nname = \"apps\"\n").unwrap();
    let manifest = format!("[component]\nname = \"own-way\"\nbuild = '''{command}'''\n\n[consumes.in]\n");
    fs::write(component.join("component.toml"), manifest).unwrap();
    app
}

/// The body of a handler that succeeds.
const BODY: &str = "(param i32 i32) (result i32) (i32.const 0)";
/// An empty custom section of the name `m`.
const SECTION: [u8; 4] = [0, 2, 1, b'm'];

#[test]
fn a_build_command_produces_the_component() {
    // Cargo would choose this path for a crate of that name.
    let app = own_way("mkdir -p target/release && cp ../../handler.wasm target/release/own_way.wasm");
    let handler = handmade::parse(&handmade::text(handmade::HANDLER, BODY, "", ""));
    fs::write(app.path().join("handler.wasm"), &handler).unwrap();
    let left = app.path().join("components/own-way/target/heddle/own-way.wasm");
    built(app.path(), &[]);
    let first = fs::read(&left).unwrap();
    assert_eq!(section::extract(&first).unwrap().component.name, "own-way");

    // The result of the last build is newer than the file of a command with nothing to do. It must not be taken.
    let manifest = app.path().join("components/own-way/component.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let output = app.path().join("components/own-way/target/release/own_way.wasm");
    fs::write(&output, [handler.as_slice(), &SECTION].concat()).unwrap();
    let earlier = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(&output).unwrap().set_modified(earlier).unwrap();
    let build_line = text.lines().find(|line| line.starts_with("build")).unwrap();
    fs::write(&manifest, text.replace(build_line, "build = 'true'")).unwrap();
    built(app.path(), &[]);
    assert!(fs::read(&left).unwrap().windows(4).any(|window| window == SECTION));
}

#[test]
fn a_build_command_that_fails_or_produces_nothing_is_reported() {
    let told = |command| {
        let app = own_way(command);
        let output = build(app.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let nothing = told("true");
    assert!(nothing.contains("left no .wasm file") && nothing.contains("own-way.wasm"), "{nothing}");
    let failed = told("echo why; exit 3");
    assert!(failed.contains("why") && failed.contains("`echo why; exit 3` failed\n  at: "), "{failed}");
    let no_component = told("echo text > own-way.wasm");
    assert!(no_component.contains("own-way does not become a component"), "{no_component}");
}
