//! Parses schemas that people wrote: JSON with comments and a byte order mark, as Avro's parser for Java accepts it.

use serde_json::Value;

/// Parses JSON that may begin with a byte order mark and have comments, `// …` and `/* … */`.
///
/// # Errors
/// If it is not JSON. Lines and columns are those of the original text.
pub fn json(text: &str) -> Result<Value, serde_json::Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Hardly any schema has comments, so they are removed only if the text is not JSON.
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_comments(text)))
}

/// Replaces comments with blanks.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => string_length(rest),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            _ => c.len_utf8(),
        };
        let (part, behind) = rest.split_at(length);
        if part.starts_with("//") || part.starts_with("/*") {
            out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(part);
        }
        rest = behind;
    }
    out
}

/// The length of the string at the start of `text`, including both quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::json;

    #[test]
    fn comments_and_a_byte_order_mark_are_accepted() {
        let text =
            "\u{feff}/* a licence */ {\n \"a\": \"//\\\" /* no comment */\", // a comment\n \"b\": [1, /* \" */ 2]}";
        assert_eq!(json(text).unwrap(), json!({"a": "//\" /* no comment */", "b": [1, 2]}));
        for wrong in ["/* no end", "{ / }", "\"no end", "/", "{} // ok\n x"] {
            json(wrong).unwrap_err();
        }
        let error = json("{ // one\n  x }").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 3));
    }
}
