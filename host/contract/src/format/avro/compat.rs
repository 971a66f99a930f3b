//! Checks that one Avro schema reads what another wrote.
//!
//! The verdicts are those of Apache Avro's `SchemaCompatibility` for Java, on which registries and their users rely,
//! even where the specification leaves something open. A test compares the verdicts over generated pairs. As in Java:
//!
//! - Names are compared without their namespace, or by an alias of the reader. Fields are found by name or alias.
//! - A writer's union needs a reader for each branch. A reader's union accepts what any of its branches accepts.
//! - Logical types do not count. [`resolve`](super::resolve) is stricter about decimals: the scale must not change.
//! - A pair of types that is already being compared further up is compatible unless the comparison fails.

use std::collections::BTreeMap;

use super::{Enum, Field, Fixed, Name, Node, NodeId, Record, Schema};
use crate::compat::Problem;

/// The maximum number of problems that are reported.
const PROBLEMS_MAX: usize = 20;
/// The maximum depth of references among types, which bounds the stack.
const DEPTH_MAX: usize = 500;

/// Returns the places where `reader` does not accept what `writer` writes, with the reasons. Empty if it accepts
/// everything.
#[must_use]
pub fn problems(reader: &Schema, writer: &Schema) -> Vec<Problem> {
    let mut checker = Checker { reader, writer, known: BTreeMap::new(), path: vec![], depth: 0 };
    checker.pair(reader.root(), writer.root())
}

struct Checker<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    /// Pairs that are absent were not compared yet.
    known: BTreeMap<(NodeId, NodeId), Known>,
    path: Vec<String>,
    depth: usize,
}

#[derive(Clone)]
enum Known {
    UnderWay,
    /// One problem is enough, because all of them were reported when they were found.
    Done(Option<Problem>),
}

/// The encoding of a type in Avro's terms, without logical types.
enum Kind<'a> {
    Plain(&'static str),
    Fixed(&'a Fixed),
    Enum(&'a Enum),
    Array(NodeId),
    Map(NodeId),
    Union(&'a [NodeId]),
    Record(&'a Record),
}

fn kind(node: &Node) -> Kind<'_> {
    match node {
        Node::Null => Kind::Plain("null"),
        Node::Boolean => Kind::Plain("boolean"),
        Node::Int(_) => Kind::Plain("int"),
        Node::Long(_) => Kind::Plain("long"),
        Node::Float => Kind::Plain("float"),
        Node::Double => Kind::Plain("double"),
        Node::String { .. } => Kind::Plain("string"),
        Node::Bytes => Kind::Plain("bytes"),
        Node::Decimal(decimal) => decimal.fixed.as_ref().map_or(Kind::Plain("bytes"), Kind::Fixed),
        Node::Fixed(fixed) => Kind::Fixed(fixed),
        Node::Enum(e) => Kind::Enum(e),
        Node::Array(item) => Kind::Array(*item),
        Node::Map(value) => Kind::Map(*value),
        Node::Union(branches) => Kind::Union(branches),
        Node::Record(record) => Kind::Record(record),
    }
}

/// The plain types that a reader's plain type accepts.
fn accepted(reader: &str) -> &'static [&'static str] {
    match reader {
        "null" => &["null"],
        "boolean" => &["boolean"],
        "int" => &["int"],
        "long" => &["int", "long"],
        "float" => &["int", "long", "float"],
        "double" => &["int", "long", "float", "double"],
        "string" | "bytes" => &["string", "bytes"],
        _ => &[],
    }
}

impl<'a> Checker<'a> {
    fn pair(&mut self, reader: NodeId, writer: NodeId) -> Vec<Problem> {
        match self.known.get(&(reader, writer)) {
            Some(Known::UnderWay) => return vec![],
            Some(Known::Done(problem)) => return problem.iter().cloned().collect(),
            None => {}
        }
        if self.depth >= DEPTH_MAX {
            return self.problem(format!("types refer to each other more than {DEPTH_MAX} deep"));
        }
        self.known.insert((reader, writer), Known::UnderWay);
        self.depth += 1;
        let mut problems = self.compare(reader, writer);
        self.depth -= 1;
        problems.truncate(PROBLEMS_MAX);
        self.known.insert((reader, writer), Known::Done(problems.first().cloned()));
        problems
    }

    fn compare(&mut self, reader: NodeId, writer: NodeId) -> Vec<Problem> {
        match (kind(self.reader.node(reader)), kind(self.writer.node(writer))) {
            (_, Kind::Union(branches)) => self.writers_branches(reader, branches),
            (Kind::Union(branches), _) => self.readers_branches(branches, writer),
            (Kind::Plain(ours), Kind::Plain(theirs)) if accepted(ours).contains(&theirs) => vec![],
            (Kind::Array(ours), Kind::Array(theirs)) => self.within("[]", |this| this.pair(ours, theirs)),
            (Kind::Map(ours), Kind::Map(theirs)) => self.within("{}", |this| this.pair(ours, theirs)),
            (Kind::Fixed(ours), Kind::Fixed(theirs)) => {
                let mut problems = self.names(&ours.name, &ours.aliases, &theirs.name);
                if ours.size != theirs.size {
                    let what = format!(
                        "the writer's {theirs} has {} bytes; the reader's {ours} takes {}",
                        theirs.size,
                        ours.size,
                        theirs = theirs.name,
                        ours = ours.name
                    );
                    problems.extend(self.problem(what));
                }
                problems
            }
            (Kind::Enum(ours), Kind::Enum(theirs)) => self.enums(ours, theirs),
            (Kind::Record(ours), Kind::Record(theirs)) => self.records(ours, theirs),
            (ours, _) => {
                let takes = match ours {
                    Kind::Plain(ours) => accepted(ours).join(" or "),
                    _ => self.reader_word(reader),
                };
                let (theirs, ours) = (self.writer_word(writer), self.reader_word(reader));
                self.problem(format!("the writer has {theirs} where the reader has {ours}; it takes {takes}"))
            }
        }
    }

    fn writers_branches(&mut self, reader: NodeId, branches: &[NodeId]) -> Vec<Problem> {
        branches.iter().flat_map(|branch| self.pair(reader, *branch)).collect()
    }

    /// Any branch may accept the value. If none does, reports the problem of the intended branch, if there is one.
    fn readers_branches(&mut self, branches: &[NodeId], writer: NodeId) -> Vec<Problem> {
        let mut meant = None;
        for branch in branches.iter().filter(|branch| may_take(self.reader.node(**branch), self.writer.node(writer))) {
            let problems = self.pair(*branch, writer);
            if problems.is_empty() {
                return vec![];
            }
            meant = Some(problems);
        }
        meant.unwrap_or_else(|| {
            let takes = branches.iter().map(|branch| self.reader_word(*branch)).collect::<Vec<_>>().join(", ");
            let theirs = self.writer_word(writer);
            self.problem(format!("the writer has {theirs}; the reader's union takes {takes}"))
        })
    }

    fn names(&self, ours: &Name, aliases: &[String], theirs: &Name) -> Vec<Problem> {
        if same_name(ours, aliases, theirs) {
            return vec![];
        }
        self.problem(format!(
            "the writer's type is {theirs}; the reader takes {ours}, or {theirs} if it names it as an alias"
        ))
    }

    fn enums(&mut self, ours: &Enum, theirs: &Enum) -> Vec<Problem> {
        let mut problems = self.names(&ours.name, &ours.aliases, &theirs.name);
        let unknown =
            theirs.symbols.iter().filter(|symbol| !ours.symbols.contains(symbol)).cloned().collect::<Vec<_>>();
        if !unknown.is_empty() && ours.default.is_none() {
            problems.extend(self.problem(format!(
                "the writer's {} has the symbols {}; the reader takes {}, or any with a default symbol",
                theirs.name,
                unknown.join(", "),
                ours.symbols.join(", ")
            )));
        }
        problems
    }

    fn records(&mut self, ours: &'a Record, theirs: &'a Record) -> Vec<Problem> {
        let mut problems = self.names(&ours.name, &ours.aliases, &theirs.name);
        for field in &ours.fields {
            let found = self.within(&field.name, |this| match candidates(field, theirs).as_slice() {
                [] if field.default.is_some() => vec![],
                [] => this.problem(format!(
                    "the writer's {} has no such field; the reader takes that only with a `default` for it",
                    theirs.name
                )),
                [one] => this.pair(field.ty, one.ty),
                several => this.problem(format!(
                    "the reader's name and aliases stand for several fields of the writer: {}; it takes one",
                    several.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
                )),
            });
            problems.extend(found);
        }
        problems
    }

    fn reader_word(&self, id: NodeId) -> String {
        word(self.reader, id)
    }

    fn writer_word(&self, id: NodeId) -> String {
        word(self.writer, id)
    }

    fn problem(&self, what: String) -> Vec<Problem> {
        vec![Problem { path: show_path(&self.path), what }]
    }

    fn within(&mut self, step: &str, then: impl FnOnce(&mut Self) -> Vec<Problem>) -> Vec<Problem> {
        self.path.push(step.to_owned());
        let problems = then(self);
        self.path.pop();
        problems
    }
}

/// Returns true if a branch of a reader's union may accept the value. This is a cheap test, so that unions of thousands
/// of named types are compared quickly.
pub(crate) fn may_take(reader: &Node, writer: &Node) -> bool {
    match (kind(reader), kind(writer)) {
        (Kind::Plain(ours), Kind::Plain(theirs)) => accepted(ours).contains(&theirs),
        (Kind::Array(_), Kind::Array(_)) | (Kind::Map(_), Kind::Map(_)) => true,
        (Kind::Record(ours), Kind::Record(theirs)) => same_name(&ours.name, &ours.aliases, &theirs.name),
        (Kind::Enum(ours), Kind::Enum(theirs)) => same_name(&ours.name, &ours.aliases, &theirs.name),
        (Kind::Fixed(ours), Kind::Fixed(theirs)) => same_name(&ours.name, &ours.aliases, &theirs.name),
        _ => false,
    }
}

/// The name of a type in messages: `long`, `the record shop.Order`.
fn word(schema: &Schema, id: NodeId) -> String {
    let name = schema.describe(id);
    match kind(schema.node(id)) {
        Kind::Fixed(_) => format!("the fixed {name}"),
        Kind::Enum(_) => format!("the enum {name}"),
        Kind::Record(_) => format!("the record {name}"),
        _ => name,
    }
}

/// The writer's fields that match a reader's field by name or alias.
fn candidates<'a>(field: &Field, writer: &'a Record) -> Vec<&'a Field> {
    let named = |name: &String| writer.fields.iter().find(|other| other.name == *name);
    std::iter::once(&field.name).chain(&field.aliases).filter_map(named).collect()
}

fn same_name(reader: &Name, aliases: &[String], writer: &Name) -> bool {
    reader.short() == writer.short() || aliases.iter().any(|alias| alias == writer.full())
}

fn show_path(path: &[String]) -> String {
    if path.is_empty() { ".".to_owned() } else { path.join(".").replace(".[", "[").replace(".{", "{") }
}
