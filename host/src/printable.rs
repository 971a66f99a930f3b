//! Makes text safe for terminals and logs. Text from a record, a guest, a broker or a registry cannot move the cursor,
//! set colours, change the writing direction, or begin a line.
//!
//! Escapes are those of JSON (`\u001b`, `\n`), so JSON stays the same JSON.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes text that may have several lines: own messages, source code, JSON over several lines.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_unsafe(c) && !matches!(c, '\n' | '\t'))
}

/// Escapes a value within a line: a key, a header, a reason, a line of a guest's log.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        match c {
            c if !is_escaped(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of them are below U+10000, so four digits suffice.
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

/// Returns true for control characters (C0, DEL, C1), Unicode's line and paragraph separators, and marks that change
/// the writing direction.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Text with many dangerous characters.
    fn any_text() -> impl Strategy<Value = String> {
        let dangerous = prop_oneof![
            prop::char::range('\0', '\u{9f}'),
            prop::char::range('\u{2000}', '\u{206f}'),
            Just('\u{61c}'),
            Just('\\'),
            Just('"'),
            any::<char>(),
        ];
        prop::collection::vec(dangerous, 0..40).prop_map(|chars| chars.into_iter().collect())
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any_text().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any_text(), inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(given in any_text()) {
            prop_assert!(!line(&given).contains(is_unsafe));
            prop_assert!(!text(&given).replace(['\n', '\t'], "").contains(is_unsafe));
            prop_assert_eq!(line(&given).lines().count(), usize::from(!given.is_empty()));
        }

        #[test]
        fn safe_text_is_unchanged_and_escaped_once(given in any_text()) {
            let once = line(&given).into_owned();
            prop_assert!(matches!(line(&once), Cow::Borrowed(same) if same == once));
            let safe = given.replace(is_unsafe, "");
            prop_assert!(matches!(line(&safe), Cow::Borrowed(same) if same == safe));
            prop_assert!(matches!(text(&safe), Cow::Borrowed(same) if same == safe));
        }

        #[test]
        fn json_says_the_same(given in any_json()) {
            for written in [given.to_string(), serde_json::to_string_pretty(&given).unwrap()] {
                prop_assert_eq!(serde_json::from_str::<Value>(&text(&written)).unwrap(), given.clone());
            }
        }
    }

    #[test]
    fn every_kind_of_mark_is_escaped() {
        let marks = "\u{0}\u{7}\u{1b}[2J\r\n\t\u{7f}\u{85}\u{9b}31m\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        insta::assert_snapshot!(line(marks), @r"\u0000\u0007\u001b[2J\r\n\t\u007f\u0085\u009b31m\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069");
        assert_eq!(line("Grüße, 👩‍🚀 \u{200d} שלום"), "Grüße, 👩‍🚀 \u{200d} שלום");
        assert_eq!(text("a\n\tb\r"), "a\n\tb\\r");
    }
}
