//! The changes from one Avro schema to another, described for people.

use std::collections::BTreeSet;
use std::fmt;

use super::{Field, Node, NodeId, Schema};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `+` for an addition, `-` for a removal, `~` for a change.
    pub sign: char,
    /// The place: `items[].price`. The value itself is `.`.
    pub path: String,
    /// The item, or its old and new form.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}  {}", self.sign, self.path, self.what)
    }
}

/// Returns the changes in `new`. Changed documentation counts, the order of attributes does not.
#[must_use]
pub fn differences(old: &Schema, new: &Schema) -> Vec<Difference> {
    let mut walk = Walk { old, new, seen: BTreeSet::new(), path: vec![], found: vec![] };
    walk.pair(old.root(), new.root());
    walk.found
}

struct Walk<'a> {
    old: &'a Schema,
    new: &'a Schema,
    seen: BTreeSet<(NodeId, NodeId)>,
    path: Vec<String>,
    found: Vec<Difference>,
}

impl<'a> Walk<'a> {
    fn pair(&mut self, old: NodeId, new: NodeId) {
        if !self.seen.insert((old, new)) {
            return;
        }
        match (self.old.node(old), self.new.node(new)) {
            (Node::Array(a), Node::Array(b)) => self.within("[]", |walk| walk.pair(*a, *b)),
            (Node::Map(a), Node::Map(b)) => self.within("{}", |walk| walk.pair(*a, *b)),
            (Node::Union(a), Node::Union(b)) => self.unions(a, b),
            (Node::Enum(a), Node::Enum(b)) => {
                self.texts("name", a.name.full(), b.name.full());
                let gone = a.symbols.iter().filter(|symbol| !b.symbols.contains(symbol)).map(|s| ('-', s));
                let come = b.symbols.iter().filter(|symbol| !a.symbols.contains(symbol)).map(|s| ('+', s));
                for (sign, symbol) in gone.chain(come).collect::<Vec<_>>() {
                    self.tell(sign, format!("symbol {symbol}"));
                }
                self.options("default symbol", a.default.as_deref(), b.default.as_deref());
                self.options("doc", a.doc.as_deref(), b.doc.as_deref());
            }
            (Node::Fixed(a), Node::Fixed(b)) => {
                self.texts("name", a.name.full(), b.name.full());
                self.texts("size", &a.size.to_string(), &b.size.to_string());
            }
            (Node::Record(a), Node::Record(b)) => {
                self.texts("name", a.name.full(), b.name.full());
                self.options("doc", a.doc.as_deref(), b.doc.as_deref());
                self.fields(&a.fields, &b.fields);
            }
            (a, b) if a == b => {}
            _ => {
                let (was, is) = (shown(self.old, old), shown(self.new, new));
                self.tell('~', format!("type changed from {was} to {is}"));
            }
        }
    }

    fn fields(&mut self, old: &'a [Field], new: &'a [Field]) {
        let of =
            |field: &Field| old.iter().find(|other| other.name == field.name || field.aliases.contains(&other.name));
        for field in
            old.iter().filter(|field| new.iter().all(|other| of(other).is_none_or(|was| was.name != field.name)))
        {
            let ty = shown(self.old, field.ty);
            self.within(&field.name, |walk| walk.tell('-', ty));
        }
        for field in new {
            match of(field) {
                None => {
                    let default =
                        field.default.as_ref().map_or("no default".to_owned(), |value| format!("default {value}"));
                    let what = format!("{}, {default}", shown(self.new, field.ty));
                    self.within(&field.name, |walk| walk.tell('+', what));
                }
                Some(was) => self.within(&field.name, |walk| {
                    walk.texts("name", &was.name, &field.name);
                    let default = |field: &Field| field.default.as_ref().map(ToString::to_string);
                    walk.options("default", default(was).as_deref(), default(field).as_deref());
                    walk.options("doc", was.doc.as_deref(), field.doc.as_deref());
                    walk.pair(was.ty, field.ty);
                }),
            }
        }
    }

    fn unions(&mut self, old: &[NodeId], new: &[NodeId]) {
        let names =
            |schema: &Schema, branches: &[NodeId]| branches.iter().map(|b| schema.describe(*b)).collect::<Vec<_>>();
        let (was, is) = (names(self.old, old), names(self.new, new));
        for name in was.iter().filter(|name| !is.contains(name)) {
            self.tell('-', format!("branch {name}"));
        }
        for name in is.iter().filter(|name| !was.contains(name)) {
            self.tell('+', format!("branch {name}"));
        }
        for (place, name) in was.iter().enumerate() {
            if let Some(other) = is.iter().position(|other| other == name) {
                self.pair(old[place], new[other]);
            }
        }
    }

    fn texts(&mut self, what: &str, was: &str, is: &str) {
        if was != is {
            self.tell('~', format!("{what} changed from {was} to {is}"));
        }
    }

    fn options(&mut self, what: &str, was: Option<&str>, is: Option<&str>) {
        match (was, is) {
            (Some(was), Some(is)) => self.texts(what, was, is),
            (Some(was), None) => self.tell('-', format!("{what} {was}")),
            (None, Some(is)) => self.tell('+', format!("{what} {is}")),
            (None, None) => {}
        }
    }

    fn tell(&mut self, sign: char, what: String) {
        let path = if self.path.is_empty() {
            ".".to_owned()
        } else {
            self.path.join(".").replace(".[", "[").replace(".{", "{")
        };
        self.found.push(Difference { sign, path, what });
    }

    fn within(&mut self, step: &str, then: impl FnOnce(&mut Self)) {
        self.path.push(step.to_owned());
        then(self);
        self.path.pop();
    }
}

/// The name of a type. Lists and maps include the types of their items.
fn shown(schema: &Schema, id: NodeId) -> String {
    match schema.node(id) {
        Node::Array(item) => format!("array of {}", shown(schema, *item)),
        Node::Map(value) => format!("map of {}", shown(schema, *value)),
        Node::Decimal(decimal) => format!("decimal({}, {})", decimal.precision, decimal.scale),
        Node::Int(Some(logical)) => format!("int ({logical:?})"),
        Node::Long(Some(logical)) => format!("long ({logical:?})"),
        _ => schema.describe(id),
    }
}
