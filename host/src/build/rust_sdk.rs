//! The copy of the Rust SDK that `heddle build` writes beside a component, for machines without a checkout of Heddle or
//! a release of the SDK. Its files are those of this repository, without their workspace sections.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Table;

use super::rust_fakes;
use super::world::World;

/// The path of this copy in a component's Cargo.toml, if the component uses it.
pub(super) const PATH: &str = "heddle/sdk/rust";

const MANIFESTS: [(&str, &str); 2] = [
    ("sdk/rust/Cargo.toml", include_str!("../../../sdk/rust/Cargo.toml")),
    ("sdk/rust/macros/Cargo.toml", include_str!("../../../sdk/rust/macros/Cargo.toml")),
];
const SOURCES: [(&str, &str); 6] = [
    ("sdk/rust/src/lib.rs", include_str!("../../../sdk/rust/src/lib.rs")),
    ("sdk/rust/src/context.rs", include_str!("../../../sdk/rust/src/context.rs")),
    ("sdk/rust/src/log.rs", include_str!("../../../sdk/rust/src/log.rs")),
    ("sdk/rust/src/random.rs", include_str!("../../../sdk/rust/src/random.rs")),
    ("sdk/rust/src/testing.rs", include_str!("../../../sdk/rust/src/testing.rs")),
    ("sdk/rust/macros/src/lib.rs", include_str!("../../../sdk/rust/macros/src/lib.rs")),
];

/// The files of the folder `heddle`, by name: the fakes for tests, and the SDK if the component's Cargo.toml names this
/// copy.
pub(super) fn files(folder: &Path, world: &World) -> BTreeMap<String, String> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let mut files = if manifest.contains(PATH) { all() } else { BTreeMap::new() };
    files.insert("fakes.rs".to_owned(), rust_fakes::generate(world));
    files
}

fn all() -> BTreeMap<String, String> {
    let wit = heddle_contract::wit::RUNTIME.map(|(name, text)| (format!("wit/{name}"), text.to_owned()));
    let sources = SOURCES.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let manifests = MANIFESTS.map(|(name, text)| (name.to_owned(), dependency(text)));
    wit.into_iter().chain(sources).chain(manifests).collect()
}

/// Converts the manifest into that of a dependency within a component's folder, which must be a member of the
/// component's workspace and not the root of another.
fn dependency(manifest: &str) -> String {
    let mut manifest = manifest.parse::<Table>().unwrap_or_default();
    for of_a_workspace in ["workspace", "lints"] {
        manifest.remove(of_a_workspace);
    }
    manifest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_needs_no_workspace() {
        let all = all();
        let manifests = MANIFESTS.map(|(name, _)| all[name].as_str()).join("\n");
        assert!(!manifests.contains("workspace"), "{manifests}");
        assert!(manifests.contains("path = \"macros\"") && manifests.contains("wit-bindgen = \""), "{manifests}");
        assert!(all.contains_key("wit/types.wit"));
    }
}
