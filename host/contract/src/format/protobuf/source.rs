//! Parses the text of files.

use std::collections::{BTreeMap, BTreeSet};

use protox::file::File;

/// The maximum nesting of brackets in a file.
const NESTING_MAX: usize = 100;
/// The message for the path of an import that is not valid.
const IMPORT: &str = "an import is a path from the folder of the schemas, with `/` and without `.`, `..` and `\\`";

/// Parses a file. protox parses the values of options by unbounded recursion, and a stack overflow would end the
/// process.
pub(super) fn source(name: &str, text: &str) -> Result<File, protox::Error> {
    if nesting(text) > NESTING_MAX {
        return Err(protox::Error::new(format!("brackets are nested more than {NESTING_MAX} deep")));
    }
    File::from_source(name, text).map_err(|error| explained(error, text))
}

/// Checks how many files import each other in a row, in the order in which protox opens them. It does so by recursion.
pub(super) fn check_chain(name: &str, files: &BTreeMap<String, String>, max: usize) -> Result<(), protox::Error> {
    let imports = |name: &str| match files.get(name) {
        Some(text) => source(name, text).map(|file| file.file_descriptor_proto().dependency.clone().into_iter()),
        None => Ok(vec![].into_iter()),
    };
    let (mut opened, mut chain) = (BTreeSet::from([name.to_owned()]), vec![imports(name)?]);
    while let Some(left) = chain.last_mut() {
        match left.next() {
            None => drop(chain.pop()),
            Some(import) if opened.insert(import.clone()) => chain.push(imports(&import)?),
            Some(_) => {}
        }
        if chain.len() > max {
            return Err(protox::Error::new(format!("more than {max} files import each other in a row")));
        }
    }
    Ok(())
}

/// protox has the same message for the path of an import that is not valid as for the name of a group.
fn explained(error: protox::Error, text: &str) -> protox::Error {
    let told = format!("{error:?}");
    let Some(place) = told.strip_suffix(": invalid group name") else { return error };
    let mut numbers = place.rsplit(':').map(str::parse::<usize>);
    let (Some(Ok(column)), Some(Ok(line))) = (numbers.next(), numbers.next()) else { return error };
    let begins = text.lines().nth(line.wrapping_sub(1)).and_then(|line| line.chars().nth(column.wrapping_sub(1)));
    match begins {
        Some('"' | '\'') => protox::Error::new(format!("{place}: {IMPORT}")),
        _ => error,
    }
}

/// The maximum nesting of brackets, except those in texts and comments.
fn nesting(text: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (b'/', Some(b'/')) => while rest.next().is_some_and(|byte| byte != b'\n') {},
            (b'/', Some(b'*')) => {
                rest.next();
                let mut last = 0;
                while let Some(byte) = rest.next()
                    && (last, byte) != (b'*', b'/')
                {
                    last = byte;
                }
            }
            (b'#', _) => while rest.next().is_some_and(|byte| byte != b'\n') {},
            (quote @ (b'"' | b'\''), _) => {
                // A text ends with its line at the latest.
                while let Some(byte) = rest.next()
                    && byte != quote
                    && byte != b'\n'
                {
                    if byte == b'\\' {
                        rest.next();
                    }
                }
            }
            (b'{' | b'[' | b'(' | b'<', _) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (b'}' | b']' | b')' | b'>', _) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::nesting;
    use crate::format::protobuf::{identity, imports, parse};

    #[test]
    fn options_that_are_nested_without_end_are_refused() {
        let deep = |levels: usize| {
            let (open, close) = ("a:{".repeat(levels), "}".repeat(levels));
            let declared = "message A {optional A a = 1;} extend google.protobuf.FileOptions {optional A x = 50000;}";
            format!(
                "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\"; {declared} option (x) = {{{open}{close}}};"
            )
        };
        parse(&deep(5), &[]).unwrap();
        for result in [parse(&deep(30_000), &[]).map(drop), imports(&deep(30_000)).map(drop)] {
            assert!(result.unwrap_err().contains("brackets are nested"));
        }
        assert_eq!(identity(&deep(30_000)), deep(30_000));
    }

    #[test]
    fn the_path_of_an_import_that_leads_elsewhere_is_explained() {
        for import in ["/etc/passwd", "../x.proto", "a/../../x.proto", "./x.proto", "a//x.proto", ""] {
            let text = format!("syntax = \"proto3\";\nimport \"{import}\";\nmessage M {{}}");
            for why in [parse(&text, &[]).map(drop).unwrap_err(), imports(&text).map(drop).unwrap_err()] {
                assert!(why.starts_with("the schema:2:8: an import is a path from the folder"), "{why}");
            }
        }
        let why = parse("syntax = \"proto2\"; message M { optional group x = 1 {} }", &[]).map(drop).unwrap_err();
        assert!(why.contains("invalid group name"), "{why}");
    }

    #[test]
    fn only_brackets_of_the_file_itself_count() {
        for (text, deepest) in [
            ("a{b{c}d{e}}", 2),
            ("// {{{\n{", 1),
            ("# {{{\n{", 1),
            ("/* {{{ **/{/*/{*/", 1),
            (r#"{"{{\"{{" '{{"{' {"#, 2),
            ("\"{\n{{", 2),
            ("}}}{", 1),
            ("/* {{{", 0),
        ] {
            assert_eq!(nesting(text), deepest, "{text}");
        }
    }
}
