//! The macro of `heddle-sdk`. It only checks that the output of `heddle build` exists, which `macro_rules` cannot do.
//! The rest is `heddle_sdk::__component`.

use std::path::Path;

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Makes this crate a component whose handlers the given type implements. See the crate's example.
///
/// Use it once, in `lib.rs`. Needs the folders `wit` and `heddle` that `heddle build` writes beside `Cargo.toml`.
#[proc_macro]
pub fn component(name: TokenStream) -> TokenStream {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    if let Some(what) = missing(Path::new(&folder)) {
        return format!("::core::compile_error!({what:?});").parse().unwrap_or_default();
    }
    let mut expanded: TokenStream = "::heddle_sdk::__component!".parse().unwrap_or_default();
    expanded.extend([TokenTree::Group(Group::new(Delimiter::Brace, name))]);
    expanded
}

/// The files that `heddle build` writes and `component!` needs.
const FILES: [&str; 2] = ["wit/component.wit", "heddle/fakes.rs"];

/// The error message if the types of the component in `folder` do not exist yet.
fn missing(folder: &Path) -> Option<String> {
    let file = FILES.map(|file| folder.join(file)).into_iter().find(|file| !file.exists())?;
    Some(format!(
        "the types of this component are not there yet: {} is missing\nrun `heddle build` in the app's folder (`heddle build --wit-only` \
         writes the types and compiles nothing)",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn a_missing_wit_folder_says_what_to_run() {
        let folder = std::env::temp_dir().join(format!("heddle-sdk-macros-{}", std::process::id()));
        for file in super::FILES {
            assert!(missing(&folder).unwrap().contains("run `heddle build`"));
            std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
            std::fs::write(folder.join(file), "").unwrap();
        }
        assert_eq!(missing(&folder), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
