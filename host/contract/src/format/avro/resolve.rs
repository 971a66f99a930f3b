//! Schema resolution: compiles a plan for reading the values of one schema as values of another.
//!
//! ```text
//!  writer's schema ─┐
//!                   ├─ resolve ─> Plan { steps, mismatches }     follow the steps over the writer's bytes,
//!  reader's schema ─┘                                            get a value of the reader's type
//! ```
//!
//! It follows the Avro 1.12 specification, "Schema Resolution". The writer's union may have branches that the reader
//! does not accept, or an enum symbols that it does not know. The plan then fails only for such values. The mismatch is
//! listed, so that a check can refuse the schema beforehand.

use std::collections::BTreeMap;

use super::{Decimal, Fixed, Name, Node, NodeId, Record, Schema, compat, default};
pub use crate::format::plan::Mismatch;

/// The maximum depth of references among types, which bounds the stack.
const DEPTH_MAX: usize = 500;

/// The maximum number of pairs of types that are tried for a plan. A reader's union whose branches have the same short
/// name is tried branch by branch, as are the unions within each branch.
const TRIES_MAX: u32 = 200_000;

/// A step within its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId(u32);

/// The steps for reading a writer's value as a reader's.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
    root: StepId,
    mismatches: Vec<Mismatch>,
}

/// One step over the writer's bytes. Its result is a value of the reader's type at the same place.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Null, which takes no bytes.
    Null,
    /// A boolean.
    Boolean,
    /// An int.
    Int,
    /// A long.
    Long,
    /// An int as a long.
    IntAsLong,
    /// A float.
    Float(NumberIn),
    /// A double.
    Double(NumberIn),
    /// A string, or bytes that are UTF-8.
    String,
    /// Bytes, or those of a string.
    Bytes,
    /// This number of bytes.
    Fixed(usize),
    /// A decimal.
    Decimal(Decimal),
    /// The number of the writer's symbol is replaced by that of the reader's; `None` if the reader has no such symbol.
    Enum {
        /// The reader's number for each of the writer's.
        to: Vec<Option<usize>>,
        /// The writer's symbols, for messages.
        symbols: Vec<String>,
    },
    /// Blocks of items.
    Array(StepId),
    /// Blocks of a string and a value.
    Map(StepId),
    /// Fields in the writer's order.
    Record {
        /// The step for each of the writer's fields.
        reads: Vec<FieldStep>,
        /// The reader's fields that the writer does not have.
        defaults: Vec<FieldDefault>,
    },
    /// The number of the writer's branch decides the next step.
    Branch(Vec<StepId>),
    /// The value becomes this branch of the reader's union.
    IntoBranch {
        /// The branch's position.
        index: usize,
        /// The step that reads it.
        step: StepId,
    },
    /// A value that has no counterpart.
    Mismatch(String),
}

/// The writer's number type, if the reader has a float or a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberIn {
    /// An int.
    Int,
    /// A long.
    Long,
    /// A float.
    Float,
    /// A double.
    Double,
}

/// The step for one of the writer's fields.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldStep {
    /// It is the reader's field at this position.
    Read {
        /// The position in the reader's record.
        to: usize,
        /// The step that reads it.
        step: StepId,
    },
    /// The reader does not have the field. It is read with the writer's type and dropped.
    Skip(StepId),
}

/// A field of the reader that the writer does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDefault {
    /// The position in the reader's record.
    pub to: usize,
    /// Its default in Avro binary, by the reader's type.
    pub bytes: Vec<u8>,
    /// The step that reads it.
    pub step: StepId,
}

impl Plan {
    /// The first step.
    #[must_use]
    pub fn root(&self) -> StepId {
        self.root
    }

    /// The step of `id`.
    ///
    /// # Panics
    /// If `id` belongs to another plan and is out of bounds in this one.
    #[must_use]
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0 as usize]
    }

    /// The places where values of the writer have no counterpart. Empty if the reader can read everything that the
    /// writer writes.
    #[must_use]
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }
}

/// Compiles a plan for reading values of `writer` as values of `reader`.
#[must_use]
pub fn resolve(writer: &Schema, reader: &Schema) -> Plan {
    let mut resolver = Resolver {
        writer,
        reader,
        steps: vec![],
        known: BTreeMap::new(),
        mismatches: vec![],
        path: vec![],
        depth: 0,
        tries_left: TRIES_MAX,
    };
    let root = resolver.step((Side::Writer, writer.root()), reader.root());
    Plan { steps: resolver.steps, root, mismatches: resolver.mismatches }
}

/// The schema of the bytes that are read. Defaults are written with the reader's types, and skipped fields with the
/// writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Writer,
    Reader,
    /// Both sides are the writer's, for a field that is skipped.
    Skipped,
}

struct Resolver<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    steps: Vec<Step>,
    known: BTreeMap<(Side, NodeId, NodeId), StepId>,
    mismatches: Vec<Mismatch>,
    path: Vec<String>,
    depth: usize,
    tries_left: u32,
}

type From = (Side, NodeId);

impl<'a> Resolver<'a> {
    fn from(&self, (side, id): From) -> &'a Node {
        if side == Side::Reader { self.reader.node(id) } else { self.writer.node(id) }
    }

    fn to(&self, side: Side) -> &'a Schema {
        if side == Side::Skipped { self.writer } else { self.reader }
    }

    fn push(&mut self, step: Step) -> StepId {
        self.steps.push(step);
        // A plan has at most as many steps as there are pairs of types; 2^32 of them do not fit in memory.
        StepId((self.steps.len() - 1) as u32)
    }

    fn step(&mut self, from: From, to: NodeId) -> StepId {
        let key = (from.0, from.1, to);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        // The step is created first, so that recursive types find it.
        let id = self.push(Step::Null);
        self.known.insert(key, id);
        self.tries_left = self.tries_left.saturating_sub(1);
        if self.depth >= DEPTH_MAX || self.tries_left == 0 {
            let what = match self.tries_left {
                0 => format!("more than {TRIES_MAX} pairs of types match; give the branches of unions other names"),
                _ => format!("types refer to each other more than {DEPTH_MAX} deep"),
            };
            self.mismatch(what.clone());
            self.steps[id.0 as usize] = Step::Mismatch(what);
            return id;
        }
        self.depth += 1;
        let step = self.resolve(from, to);
        self.depth -= 1;
        self.steps[id.0 as usize] = step;
        id
    }

    fn resolve(&mut self, from: From, to: NodeId) -> Step {
        let target = self.to(from.0).node(to);
        match (self.from(from), target) {
            (Node::Union(branches), _) => {
                Step::Branch(branches.iter().map(|branch| self.step((from.0, *branch), to)).collect())
            }
            (_, Node::Union(branches)) => self.choose_branch(from, branches),
            (node, target) => self.same_kind(from.0, node, target, (from.1, to)),
        }
    }

    fn same_kind(&mut self, side: Side, from: &Node, to: &Node, ids: (NodeId, NodeId)) -> Step {
        match (from, to) {
            (Node::Null, Node::Null) => Step::Null,
            (Node::Boolean, Node::Boolean) => Step::Boolean,
            (Node::Int(_), Node::Int(_)) => Step::Int,
            (Node::Int(_), Node::Long(_)) => Step::IntAsLong,
            (Node::Long(_), Node::Long(_)) => Step::Long,
            (Node::Int(_), Node::Float) => Step::Float(NumberIn::Int),
            (Node::Long(_), Node::Float) => Step::Float(NumberIn::Long),
            (Node::Float, Node::Float) => Step::Float(NumberIn::Float),
            (Node::Int(_), Node::Double) => Step::Double(NumberIn::Int),
            (Node::Long(_), Node::Double) => Step::Double(NumberIn::Long),
            (Node::Float, Node::Double) => Step::Double(NumberIn::Float),
            (Node::Double, Node::Double) => Step::Double(NumberIn::Double),
            (Node::String { .. } | Node::Bytes, Node::String { .. }) => Step::String,
            (Node::String { .. } | Node::Bytes, Node::Bytes) => Step::Bytes,
            (Node::Decimal(Decimal { fixed: None, .. }), Node::Bytes) => Step::Bytes,
            (Node::Decimal(a), Node::Decimal(b)) if decimals_agree(a, b) => Step::Decimal(b.clone()),
            (Node::Bytes, Node::Decimal(b @ Decimal { fixed: None, .. })) => Step::Decimal(b.clone()),
            (Node::Fixed(a) | Node::Decimal(Decimal { fixed: Some(a), .. }), Node::Fixed(b)) if same_fixed(a, b) => {
                Step::Fixed(a.size)
            }
            (Node::Fixed(a), Node::Decimal(decimal @ Decimal { fixed: Some(b), .. })) if same_fixed(a, b) => {
                Step::Decimal(decimal.clone())
            }
            (Node::Enum(a), Node::Enum(b)) if same_name(&a.name, &b.name, &b.aliases) => {
                let place = |symbol: &String| b.symbols.iter().position(|other| other == symbol);
                let default = b.default.as_ref().and_then(place);
                let to = a.symbols.iter().map(|symbol| place(symbol).or(default)).collect::<Vec<_>>();
                let unknown = a.symbols.iter().zip(&to).filter(|(_, to)| to.is_none());
                let unknown = unknown.map(|(symbol, _)| symbol.as_str()).collect::<Vec<_>>();
                if !unknown.is_empty() {
                    self.mismatch(format!("{} has no symbol {} and no default", b.name, unknown.join(", ")));
                }
                Step::Enum { to, symbols: a.symbols.clone() }
            }
            (Node::Array(a), Node::Array(b)) => Step::Array(self.within("[]", |this| this.step((side, *a), *b))),
            (Node::Map(a), Node::Map(b)) => Step::Map(self.within("{}", |this| this.step((side, *a), *b))),
            (Node::Record(a), Node::Record(b)) if same_name(&a.name, &b.name, &b.aliases) => self.record(side, a, b),
            _ => {
                let source = if side == Side::Reader { self.reader } else { self.writer };
                let (wrote, reads) = (source.describe(ids.0), self.to(side).describe(ids.1));
                let what = format!("the writer's {wrote} cannot be read as {reads}");
                self.mismatch(what.clone());
                Step::Mismatch(what)
            }
        }
    }

    fn record(&mut self, side: Side, from: &Record, to: &Record) -> Step {
        let mut filled = vec![false; to.fields.len()];
        let mut reads = Vec::with_capacity(from.fields.len());
        for field in &from.fields {
            let named = to.fields.iter().position(|other| other.name == field.name);
            let aliased = || to.fields.iter().position(|other| other.aliases.contains(&field.name));
            reads.push(match named.or_else(aliased).filter(|place| !filled[*place]) {
                Some(place) => {
                    filled[place] = true;
                    let target = &to.fields[place];
                    let step = self.within(&target.name, |this| this.step((side, field.ty), target.ty));
                    FieldStep::Read { to: place, step }
                }
                None => {
                    let skipped = if side == Side::Reader { Side::Reader } else { Side::Skipped };
                    FieldStep::Skip(self.step((skipped, field.ty), field.ty))
                }
            });
        }
        let mut defaults = vec![];
        for (place, field) in to.fields.iter().enumerate().filter(|(place, _)| !filled[*place]) {
            let mut bytes = vec![];
            let fits = field.default.as_ref().map(|value| default::encode(self.to(side), field.ty, value, &mut bytes));
            if fits == Some(Ok(())) {
                let own = if side == Side::Skipped { Side::Skipped } else { Side::Reader };
                defaults.push(FieldDefault { to: place, bytes, step: self.step((own, field.ty), field.ty) });
            } else {
                let what = format!("the writer has no field `{}` and the reader no default for it", field.name);
                self.within(&field.name, |this| this.mismatch(what.clone()));
                return Step::Mismatch(what);
            }
        }
        Step::Record { reads, defaults }
    }

    /// Chooses the branch of the reader's union: the one of the same type, otherwise the first that accepts the value.
    /// A branch that accepts every value precedes one that accepts some.
    fn choose_branch(&mut self, from: From, branches: &'a [NodeId]) -> Step {
        let node = self.from(from);
        let schema = self.to(from.0);
        let exact = branches.iter().position(|branch| same_type(node, schema.node(*branch)));
        let near = || branches.iter().position(|branch| similar_type(node, schema.node(*branch)));
        let first = exact.or_else(near);
        let may_take = |index: &usize| compat::may_take(schema.node(branches[*index]), node);
        let rest = (0..branches.len()).filter(|index| Some(*index) != first).filter(may_take);
        let (mut some, mut first_trouble) = (None, None);
        for index in first.into_iter().chain(rest) {
            let (steps, mismatches, known) = (self.steps.len(), self.mismatches.len(), self.known.clone());
            let step = self.step(from, branches[index]);
            let takes_some = !matches!(self.steps[step.0 as usize], Step::Mismatch(_));
            if takes_some && self.mismatches.len() == mismatches {
                return Step::IntoBranch { index, step };
            }
            if takes_some && some.is_none() {
                some = Some(index);
            }
            // That branch does not accept every value, so its compiled steps are dropped.
            let trouble = self.mismatches.split_off(mismatches);
            first_trouble.get_or_insert(trouble);
            self.steps.truncate(steps);
            self.known = known;
        }
        if let Some(index) = some {
            return Step::IntoBranch { index, step: self.step(from, branches[index]) };
        }
        let source = if from.0 == Side::Reader { self.reader } else { self.writer };
        let what = format!("no branch of the reader's union takes the writer's {}", source.describe(from.1));
        match first_trouble.filter(|_| branches.len() == 1 || exact.is_some()) {
            Some(trouble) if !trouble.is_empty() => self.mismatches.extend(trouble),
            _ => self.mismatch(what.clone()),
        }
        Step::Mismatch(what)
    }

    fn mismatch(&mut self, what: String) {
        let path = if self.path.is_empty() {
            ".".to_owned()
        } else {
            self.path.join(".").replace(".[", "[").replace(".{", "{")
        };
        let mismatch = Mismatch { path, what };
        if !self.mismatches.contains(&mismatch) {
            self.mismatches.push(mismatch);
        }
    }

    fn within<T>(&mut self, step: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.to_owned());
        let result = then(self);
        self.path.pop();
        result
    }
}

fn decimals_agree(a: &Decimal, b: &Decimal) -> bool {
    let same_bytes = match (&a.fixed, &b.fixed) {
        (None, None) => true,
        (Some(a), Some(b)) => same_fixed(a, b),
        _ => false,
    };
    a.precision == b.precision && a.scale == b.scale && same_bytes
}

fn same_fixed(writer: &Fixed, reader: &Fixed) -> bool {
    writer.size == reader.size && same_name(&writer.name, &reader.name, &reader.aliases)
}

/// The specification compares names without their namespace. An alias of the reader counts, too.
fn same_name(writer: &Name, reader: &Name, aliases: &[String]) -> bool {
    writer.short() == reader.short() || aliases.iter().any(|alias| alias == writer.full())
}

/// Returns true if both are the same type, for the choice of a union's branch.
fn same_type(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Record(a), Node::Record(b)) => a.name == b.name,
        (Node::Enum(a), Node::Enum(b)) => a.name == b.name,
        (Node::Fixed(a), Node::Fixed(b)) => a.name == b.name,
        (Node::Decimal(a), Node::Decimal(b)) => decimals_agree(a, b),
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn similar_type(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Record(a), Node::Record(b)) => same_name(&a.name, &b.name, &b.aliases),
        (Node::Enum(a), Node::Enum(b)) => same_name(&a.name, &b.name, &b.aliases),
        _ => false,
    }
}
