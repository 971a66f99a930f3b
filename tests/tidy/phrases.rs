//! Phrases that plain English does without. The findings name what to write.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex_lite::Regex;

use super::prose::{Kind, Prose, of_markdown, of_rust, of_script};
use super::{all_sources, assert_none, place, root, sources};

/// A part of the phrase that is quick to find, the phrase, the exceptions, and the words to write instead.
type Rule = (&'static str, &'static str, &'static str, &'static str);

/// Phrases that no text may have.
const BANNED: [Rule; 14] = [
    (
        " no ",
        r"\b(is|are|was|were|be|isn't) no [a-z`{]+",
        r"\b[Tt]here (is|are|was|were|will be|can be|must be|may be) no\b|\b(is|are|was|were) no (longer|more)\b",
        "is not a, is not valid",
    ),
    (" aside", r"\b[Ss]et(s|ting)? aside\b", "", "dead-letter"),
    (" still", r"\b[Ss]t(and|ands|anding|ood) still\b", "", "is paused, is blocked, stopped"),
    (" over", r"\b(go|goes|going|gone|went) over\b", "", "switch version"),
    (" along", r"\b([Tt]ak(e|es|ing|en)|took) along\b", "", "take with it, or name the effect"),
    (" back", r"\b([Tt]ak(e|es|ing|en)|took) back\b", "", "roll back"),
    ("hear", r"\bhears? (so|of)\b", "", "is notified of"),
    ("told", r"\btold\b", "", "reported, written, configured"),
    ("tell", r"\b(tells?|telling)\b", "", "report, show, distinguish"),
    ("hoever", r"\b[Ww]hoever\b", "", "name the client, the user or the process"),
    (" own", r"\bof (its|their|one's) own([.,;:)]|$)", "", "own, separate"),
    (" anew", r"\b([Mm]ak(e|es|ing)|made|[Cc]reat(e|es|ed|ing))( \w+)? anew\b", "", "recreate"),
    (" before", r"\bthe version before\b", "", "the previous version"),
    (" now", r"\bdemands? \w+ now\b", "", "set to"),
];

/// Phrases that no first line of a doc comment may have.
const BANNED_SUMMARIES: [Rule; 1] = [(
    "",
    r"^(What|How|Whether|Who|Whom|Whose|Where|Why|Which)\b",
    "",
    "a noun phrase or a verb in the third person (`Returns true if …`)",
)];

/// Phrases that no name of a test may have.
const BANNED_TEST_NAMES: [Rule; 1] =
    [("", r"^(what|how|whether|who|whom|whose|where|why|which|whatever) ", "", "the subject of the promise")];

/// A rule, compiled.
struct Ban {
    part: &'static str,
    phrase: Regex,
    allowed: Option<Regex>,
    instead: &'static str,
    /// The only kind of prose that it applies to, if it is not for all.
    kind: Option<Kind>,
}

static BANS: LazyLock<Vec<Ban>> = LazyLock::new(|| {
    let ban = |(part, phrase, allowed, instead): &Rule, kind| Ban {
        part,
        phrase: Regex::new(phrase).unwrap(),
        allowed: (!allowed.is_empty()).then(|| Regex::new(allowed).unwrap()),
        instead,
        kind,
    };
    let summaries = BANNED_SUMMARIES.iter().map(|rule| ban(rule, Some(Kind::Summary)));
    let names = BANNED_TEST_NAMES.iter().map(|rule| ban(rule, Some(Kind::TestName)));
    BANNED.iter().map(|rule| ban(rule, None)).chain(summaries).chain(names).collect()
});

/// The findings in some prose: the phrase and what to write instead.
fn findings(prose: &Prose) -> Vec<String> {
    let bans = BANS.iter().filter(|ban| ban.kind.is_none_or(|kind| prose.kind == kind));
    let bans = bans.filter(|ban| prose.text.contains(ban.part));
    let found = bans.filter_map(|Ban { phrase, allowed, instead, .. }| {
        let text = Cow::Borrowed(&*prose.text);
        let text = allowed.as_ref().map_or(text, |allowed| allowed.replace_all(&prose.text, "…"));
        let found = phrase.find(&text)?.as_str();
        Some(format!("`{found}`: write {instead}"))
    });
    found.collect()
}

/// The files of a folder with one of these endings.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            // `heddle` and `wit` beside a component are generated.
            let is_generated = ["heddle", "wit"].contains(&&*name) && folder != "sdk/python";
            if !is_generated && !["target", "node_modules", ".heddle", "__pycache__"].contains(&&*name) {
                found.extend(files(&format!("{folder}/{name}"), endings));
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

/// The prose in a file.
fn prose(path: &Path) -> Vec<Prose> {
    let text = fs::read_to_string(path).unwrap();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("rs" | "wit") => of_rust(&text),
        Some("md") => of_markdown(&text),
        Some("py" | "sh") => of_script(&text, "#"),
        _ => of_script(&text, "//"),
    }
}

#[test]
fn texts_have_no_banned_phrases() {
    let mut paths = all_sources();
    paths.extend(sources(&root().join("wit")));
    paths.extend(files("wit", &[".wit"]));
    for folder in ["docs", "examples", "sdk", "guests", "bench", "scripts"] {
        paths.extend(files(folder, &[".md", ".py", ".sh", ".go", ".js", ".mjs", ".ts"]));
    }
    paths.extend(["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root().join(page)));
    // This file has the phrases themselves.
    paths.retain(|path| !path.ends_with("tidy/phrases.rs"));
    let mut found = vec![];
    for path in paths {
        for prose in prose(&path) {
            found.extend(findings(&prose).into_iter().map(|what| format!("{}: {what}", place(&path, prose.line))));
        }
    }
    found.sort();
    assert_none(&found);
}

#[test]
fn a_banned_phrase_is_found_in_every_kind_of_text() {
    let found = |text: &str| of_rust(text).iter().flat_map(findings).collect::<Vec<_>>().join("\n");
    assert_eq!(found("/// What it holds.\nstruct A;"), format!("`What`: write {}", BANNED_SUMMARIES[0].3));
    assert_eq!(found("// A record was set\n// aside.\n"), "`set aside`: write dead-letter");
    assert_eq!(found("fail(\"the file is no \\\n    component\")"), "`is no component`: write is not a, is not valid");
    let name = found("#[test]\nfn what_is_told_is_not_clear() {}");
    assert_eq!(name, format!("`told`: write {}\n`what `: write {}", BANNED[7].3, BANNED_TEST_NAMES[0].3));
    for (text, phrase) in [
        ("the partition stands still", "stands still"),
        ("a worker goes over to it", "goes over"),
        ("it takes along the rest", "takes along"),
        ("the client hears so", "hears so"),
        ("the task is told", "told"),
        ("it has a thread of its own.", "of its own."),
        ("created anew", "created anew"),
    ] {
        let found = found(&format!("fail(\"{text}\");\n// {text}\n"));
        assert_eq!(found.matches(&format!("`{phrase}`: write")).count(), 2, "{text}: {found}");
    }
    for text in [
        "/// The partition of its own number. There are no others, and it is no longer read.",
        "// What follows is not a summary; `told` is code.",
        "/// ```text\n/// what is told\n/// ```",
        "let told = tell();",
    ] {
        assert_eq!(found(text), "", "{text}");
    }
}
