//! The texts of an error for a person: the failure, its place, and the remedy.
//!
//! ```text
//!  Display      what failed, then the cause: one line
//!  place()      where: a file, a topic, an address
//!  remedy()     what helps: starts with a verb
//! ```
//!
//! Errors keep the three apart. The command line lays them out, and a log line has the last two as the fields `at` and
//! `hint`. If an error travels as text, as in an answer of the admin API, [`to_text`] writes it and [`from_text`] reads
//! it.

use std::error::Error;
use std::fmt;

/// The prefixes of the lines with the place and the remedy.
const AT: &str = "\n  at: ";
const HINT: &str = "\n  hint: ";

/// An error that may know its place and its remedy. Its `Display` is one line and contains neither.
pub trait Explain: Error {
    /// The place of the failure.
    fn place(&self) -> Option<String> {
        None
    }

    /// The remedy for a person. It starts with a verb.
    fn remedy(&self) -> Option<String> {
        None
    }

    /// The parts of this error: one element, unless the error is a list of findings.
    fn explained(&self) -> Vec<Explained> {
        vec![Explained::of(self)]
    }
}

/// An error in parts. It also serves as an error without a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The failure.
    pub what: String,
    /// The place.
    pub place: Option<String>,
    /// The remedy.
    pub remedy: Option<String>,
}

impl Explained {
    /// An error without a place and a remedy.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, remedy: None }
    }

    /// Takes the three texts of any error.
    #[must_use]
    pub fn of(error: &(impl Explain + ?Sized)) -> Self {
        Self { what: error.to_string(), place: error.place(), remedy: error.remedy() }
    }

    /// Sets the place.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self { place: Some(place.to_string()), ..self }
    }

    /// Sets the remedy, which starts with a verb.
    #[must_use]
    pub fn hint(self, remedy: impl fmt::Display) -> Self {
        Self { remedy: Some(remedy.to_string()), ..self }
    }

    /// Returns true if it has a place or a remedy.
    #[must_use]
    pub fn has_advice(&self) -> bool {
        self.place.is_some() || self.remedy.is_some()
    }

    /// Applies `change` to every text.
    #[must_use]
    pub fn map(self, change: impl Fn(&str) -> String) -> Self {
        let Self { what, place, remedy } = self;
        Self { what: change(&what), place: place.as_deref().map(&change), remedy: remedy.as_deref().map(&change) }
    }
}

impl From<String> for Explained {
    fn from(what: String) -> Self {
        Self::new(what)
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Explained {}

impl Explain for Explained {
    fn place(&self) -> Option<String> {
        self.place.clone()
    }

    fn remedy(&self) -> Option<String> {
        self.remedy.clone()
    }
}

/// Several findings that are one error. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(Vec<Explained>);

impl Findings {
    /// Joins findings to one error. Returns `None` if there are none.
    #[must_use]
    pub fn of(found: Vec<Explained>) -> Option<Self> {
        (!found.is_empty()).then_some(Self(found))
    }
}

impl From<Explained> for Findings {
    fn from(found: Explained) -> Self {
        Self(vec![found])
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, found) in self.0.iter().enumerate() {
            write!(f, "{}{found}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl Error for Findings {}

impl Explain for Findings {
    fn place(&self) -> Option<String> {
        self.0.iter().find_map(|found| found.place.clone())
    }

    fn remedy(&self) -> Option<String> {
        self.0.iter().find_map(|found| found.remedy.clone())
    }

    fn explained(&self) -> Vec<Explained> {
        self.0.clone()
    }
}

/// The error as text. Each finding is a line, followed by an `  at: ` line and a `  hint: ` line if it has a place and
/// a remedy.
#[must_use]
pub fn to_text(error: &dyn Explain) -> String {
    error.explained().into_iter().map(laid_out).collect::<Vec<_>>().join("\n")
}

fn laid_out(found: Explained) -> String {
    let Explained { what, place, remedy } = found.map(one_line);
    let line = |mark: &str, text: Option<String>| text.map(|text| format!("{mark}{text}")).unwrap_or_default();
    [what, line(AT, place), line(HINT, remedy)].concat()
}

/// Reads a text of [`to_text`]. Any other text is one finding.
#[must_use]
pub fn from_text(text: &str) -> Findings {
    let text = text.trim_end_matches('\n');
    if !text.contains(AT) && !text.contains(HINT) {
        return Explained::new(text).into();
    }
    let mut found = Vec::<Explained>::new();
    for line in text.split('\n') {
        let is = |mark: &str| line.strip_prefix(&mark[1..]).map(str::to_owned);
        let Some(last) = found.last_mut() else {
            found.push(Explained::new(line));
            continue;
        };
        if let Some(place) = is(AT) {
            last.place = Some(place);
        } else if let Some(remedy) = is(HINT) {
            last.remedy = Some(remedy);
        } else {
            found.push(Explained::new(line));
        }
    }
    Findings(found)
}

/// `text` with control characters and line separators written as escapes.
#[must_use]
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().flat_map(|c| if breaks(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_finding() -> impl Strategy<Value = Explained> {
        let text = || "[ -~äß]{0,12}";
        (text(), prop::option::of(text()), prop::option::of(text())).prop_map(|(what, place, remedy)| Explained {
            what: format!("failed{what}"),
            place,
            remedy,
        })
    }

    proptest! {
        #[test]
        fn text_says_the_same(mut found in prop::collection::vec(any_finding(), 1..4)) {
            // Without a mark, several findings look like a text of several lines.
            found[0].place = Some("here".to_owned());
            let findings = Findings(found);
            let text = to_text(&findings);
            prop_assert_eq!(&from_text(&format!("{text}\n")), &findings);
            prop_assert_eq!(from_text(&text), findings);
        }

        #[test]
        fn text_has_a_line_for_each_part(what in any::<String>(), place in any::<String>(), remedy in any::<String>()) {
            let text = to_text(&Explained::new(what).at(place).hint(remedy));
            prop_assert_eq!(text.split('\n').count(), 3);
            prop_assert_eq!(from_text(&text).explained().len(), 1);
        }
    }

    #[test]
    fn a_text_from_elsewhere_is_one_finding() {
        let text = "<html>\n<body>502</body>\n";
        assert_eq!(from_text(text), Explained::new("<html>\n<body>502</body>").into());
        assert_eq!(from_text("").explained(), [Explained::new("")]);
    }

    #[test]
    fn findings_are_one_line() {
        let found = Findings::of(vec![Explained::new("a").at("here"), Explained::new("b")]).unwrap();
        assert_eq!(found.to_string(), "a; b");
        assert_eq!(to_text(&found), "a\n  at: here\nb");
        assert_eq!(Findings::of(vec![]), None);
    }
}
