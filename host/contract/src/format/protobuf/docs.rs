//! The comments above the definitions of a file.

use std::collections::BTreeMap;

use prost_reflect::FileDescriptor;

/// The comments of files, by their definitions' paths.
#[derive(Debug, Default)]
pub(super) struct Docs(BTreeMap<String, BTreeMap<Vec<i32>, String>>);

impl Docs {
    /// The comment above the definition at `path` in `file`.
    pub(super) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> Option<String> {
        let comments = self.0.entry(file.name().to_owned()).or_insert_with(|| comments(file));
        comments.get(path).cloned()
    }
}

fn comments(file: &FileDescriptor) -> BTreeMap<Vec<i32>, String> {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let comment = |text: &String| text.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned();
    let commented = locations.filter_map(|location| {
        let text = location.leading_comments.as_ref().or(location.trailing_comments.as_ref()).map(comment)?;
        (!text.is_empty()).then(|| (location.path.clone(), text))
    });
    commented.collect()
}
