//! The prose in a file: its comments, its string literals, the names of its tests and its paragraphs of Markdown.

/// A piece of prose, on one line and without code spans.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prose {
    /// The line that it begins on, from 0.
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first paragraph of a doc comment.
    Summary,
    /// Any other paragraph.
    Paragraph,
    /// A string literal.
    Literal,
    /// The name of a test, as words.
    TestName,
}

/// Cuts code spans out of a text, because they quote identifiers and commands.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Cuts the names of values out of a format string: `{file:?}` becomes `{}`.
fn without_values(text: &str) -> String {
    let parts = text.split('{').enumerate();
    let parts = parts.map(|(n, part)| part.split_once('}').filter(|_| n > 0).map_or(part, |(_, rest)| rest));
    parts.collect::<Vec<_>>().join("{}")
}

/// Joins lines of prose to paragraphs. Blank lines end a paragraph, and code fences are left out.
#[derive(Default)]
struct Paragraphs {
    found: Vec<Prose>,
    lines: Vec<String>,
    begin: usize,
    first: Option<Kind>,
    fenced: bool,
}

impl Paragraphs {
    fn add(&mut self, line: usize, text: &str) {
        let is_fence = text.starts_with("```");
        self.fenced ^= is_fence;
        if is_fence || self.fenced || text.is_empty() {
            return self.end();
        }
        // Each row of a table and each item of a list stands alone.
        if ["|", "- ", "* ", "#"].iter().any(|mark| text.starts_with(mark)) {
            self.end();
        }
        if self.lines.is_empty() {
            self.begin = line;
        }
        self.lines.push(text.to_owned());
    }

    fn end(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let text = without_code(&self.lines.join(" "));
        self.found.push(Prose { line: self.begin, kind: self.first.take().unwrap_or(Kind::Paragraph), text });
        self.lines.clear();
    }
}

/// The paragraphs of a page of Markdown.
pub(super) fn of_markdown(text: &str) -> Vec<Prose> {
    let mut paragraphs = Paragraphs::default();
    text.lines().enumerate().for_each(|(line, text)| paragraphs.add(line, text.trim()));
    paragraphs.end();
    paragraphs.found
}

/// The comments and literals of a language whose comments begin with `mark`. A literal ends on its line.
pub(super) fn of_script(text: &str, mark: &str) -> Vec<Prose> {
    let mut found = vec![];
    for (line, text) in text.lines().enumerate() {
        let (code, comment) = text.split_once(mark).unwrap_or((text, ""));
        let literals = code.split(['"', '`']).skip(1).step_by(2).map(|text| (Kind::Literal, text));
        let proses = literals.chain([(Kind::Paragraph, comment)]).filter(|(_, text)| text.contains(' '));
        found.extend(proses.map(|(kind, text)| Prose { line, kind, text: without_code(text.trim()) }));
    }
    found
}

/// The comments, the literals and the names of tests in a file of Rust or WIT.
pub(super) fn of_rust(text: &str) -> Vec<Prose> {
    let (mut paragraphs, mut before) = (Paragraphs::default(), "");
    for (line, text) in text.lines().enumerate() {
        let text = text.trim_start();
        let mark = ["///", "//!", "//"].into_iter().find(|mark| text.starts_with(mark)).unwrap_or_default();
        if mark != before {
            paragraphs.end();
            paragraphs.fenced = false;
            paragraphs.first = (mark.len() == 3).then_some(Kind::Summary);
        }
        before = mark;
        if !mark.is_empty() {
            paragraphs.add(line, text[mark.len()..].trim());
        }
    }
    paragraphs.end();
    let mut found = paragraphs.found;
    found.extend(test_names(text));
    found.extend(literals(text));
    found
}

fn test_names(text: &str) -> Vec<Prose> {
    let (mut found, mut of_test) = (vec![], false);
    for (line, text) in text.lines().enumerate() {
        let text = text.trim();
        let name = text.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let (true, Some(name)) = (of_test, name) {
            found.push(Prose { line, kind: Kind::TestName, text: name.replace('_', " ") });
        }
        of_test = text == "#[test]" || (of_test && text.starts_with("#["));
    }
    found
}

/// The string literals that have more than one word.
fn literals(text: &str) -> Vec<Prose> {
    let (mut found, mut at) = (vec![], 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let rest = &text[at..];
        at += match bytes[at] {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'\'' => character(rest),
            b'r' if !is_word(bytes, at) && raw(rest).is_some() => {
                let (open, end) = raw(rest).unwrap();
                found.extend(literal(text, at, &rest[open..end]));
                end + open - 1
            }
            b'"' => {
                let end = quoted(rest);
                found.extend(literal(text, at, &rest[1..end]));
                end + 1
            }
            first if first.is_ascii() => 1,
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    found
}

/// Returns true if the byte at `at` continues a word.
fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// The length of a character literal, or 1 for the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(1, |end| end + 4),
        Some(_) => characters.next().filter(|(_, second)| *second == '\'').map_or(1, |(end, _)| end + 1),
        None => 1,
    }
}

/// The begin and the end of the text in a raw string.
fn raw(rest: &str) -> Option<(usize, usize)> {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = hashes + 2;
    if rest.as_bytes().get(open - 1) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some((open, open + rest[open..].find(&close)?))
}

/// The end of the text in a string with escapes.
fn quoted(rest: &str) -> usize {
    let mut escaped = true;
    let end = rest.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    end.unwrap_or(rest.len() - 1)
}

fn literal(text: &str, at: usize, literal: &str) -> Option<Prose> {
    let line = text[..at].matches('\n').count();
    let joined = literal.split("\\\n").map(str::trim_start).collect::<String>();
    joined.contains(' ').then(|| Prose { line, kind: Kind::Literal, text: without_values(&without_code(&joined)) })
}

#[test]
fn comments_and_literals_are_found() {
    let text = r##"
        //! The head.
        //!
        //! ```text
        //!  a picture
        //! ```
        //! More.
        /// A summary
        /// of two lines.
        fn f<'a>(c: char) -> &'a str {
            // A remark about `code`.
            if c == '"' || c == '\'' { "a \"quoted\" message of {file}, \
                continued" } else { r#"a "raw" one"# }
        }
        #[test]
        #[ignore]
        fn a_promise_is_kept() {}
    "##;
    let found = of_rust(text).into_iter().map(|prose| (prose.line, prose.kind, prose.text)).collect::<Vec<_>>();
    let expected = [
        (1, Kind::Summary, "The head."),
        (6, Kind::Paragraph, "More."),
        (7, Kind::Summary, "A summary of two lines."),
        (10, Kind::Paragraph, "A remark about `."),
        (16, Kind::TestName, "a promise is kept"),
        (11, Kind::Literal, "a \\\"quoted\\\" message of {}, continued"),
        (12, Kind::Literal, "a \"raw\" one"),
    ];
    assert_eq!(found, expected.map(|(line, kind, text)| (line, kind, text.to_owned())));
    let page = of_markdown("# A page\n\nOne\nparagraph.\n```sh\nrun it\n```\n- an item\n| a row |\n");
    assert_eq!(
        page.iter().map(|prose| &*prose.text).collect::<Vec<_>>(),
        ["# A page", "One paragraph.", "- an item", "| a row |"]
    );
    let script = of_script("fail(\"two words\")  # and why", "#");
    assert_eq!(script.iter().map(|prose| &*prose.text).collect::<Vec<_>>(), ["two words", "and why"]);
}
