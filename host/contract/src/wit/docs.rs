//! The documentation in schemas as comments. They end no comment and hide no code, whatever their text is.
//!
//! The WIT's comments become comments of every language, by tools that copy them unchanged. So this module removes
//! everything that would end a comment, or have a meaning in one, for all languages at once.

use std::fmt::Write as _;

/// The lines of a WIT comment.
pub(super) fn docs(indent: &str, doc: Option<&str>) -> String {
    let mut out = String::new();
    for line in doc.into_iter().flat_map(|doc| doc.split(is_line_break)).map(str::trim) {
        let _ = writeln!(out, "{}", format!("{indent}/// {}", harmless(line)).trim_end());
    }
    out
}

/// Makes a text safe for comments.
pub(super) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\t' => out.push(' '),
            // Python reads escapes in its comments, and some of them are errors.
            '\\' => out.push('/'),
            '"' if out.ends_with('"') || chars.peek().is_none() => out.push('\''),
            '/' if out.ends_with('*') => out.push_str(" /"),
            '*' if out.ends_with('/') => out.push_str(" *"),
            c if is_harmful(c) => {
                let _ = write!(out, "<U+{:04X}>", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns true for control characters, for characters that change the direction of text, and for those that WIT, Go or
/// Unicode advise against.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(
            c,
            '\u{149}' | '\u{673}' | '\u{f77}' | '\u{f79}' | '\u{17a3}' | '\u{17a4}' | '\u{17b4}' | '\u{17b5}'
        )
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::docs;

    #[test]
    fn comments_end_where_they_should() {
        let doc = "ends */ and /* begins\\ \"\"\" \"one\"\r\n  //go:embed x\u{202e}\u{feff}\u{0}\ta\u{2028}b\n\nlast\\";
        let expected = "  /// ends * / and / * begins/ \"'\" \"one'\n  ///\n  /// //go:embed x<U+202E><U+FEFF><U+0000> a\n  /// b\n  ///\n  /// last/\n";
        assert_eq!(docs("  ", Some(doc)), expected);
        assert_eq!(docs("", None), "");
    }
}
