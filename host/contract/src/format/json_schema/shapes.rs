//! The shapes of a schema's types. A type that contains itself is JSON at that place.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::{Node, Record, Variant};
use crate::format::shape::{self, Builder, Case, Field, Json, Shape, ShapeId, Shapes, Symbol};

/// The shapes of `nodes`, with `root` as the shape of the whole value. Returns true with them if any type was cut.
pub(super) fn of(nodes: &[Node], root: usize) -> (Shapes, bool) {
    let groups = groups(nodes, root);
    let mut shaper = Shaper { nodes, groups, shapes: Builder::default(), known: BTreeMap::new(), has_cuts: false };
    let root = shaper.shape(root, None);
    (shaper.shapes.finish(root), shaper.has_cuts)
}

/// The nodes that a node contains.
fn inner(node: &Node) -> Vec<usize> {
    match node {
        Node::List(inner) | Node::Map(inner) | Node::Option { some: inner, .. } => vec![*inner],
        Node::Record(record) => {
            record.properties.iter().filter(|property| property.slot.is_some()).map(|property| property.node).collect()
        }
        Node::Variant(variant) => variant.cases.iter().map(|(_, node)| *node).collect(),
        _ => vec![],
    }
}

/// The nodes that contain themselves without a record in between, so that no name can refer to them.
pub(super) fn endless(nodes: &[Node]) -> Vec<usize> {
    let reaches_itself = |start: usize| {
        let (mut seen, mut todo) = (BTreeSet::new(), inner(&nodes[start]));
        while let Some(at) = todo.pop() {
            if at == start {
                return true;
            }
            if !matches!(nodes[at], Node::Record(_)) && seen.insert(at) {
                todo.extend(inner(&nodes[at]));
            }
        }
        false
    };
    (0..nodes.len()).filter(|at| !matches!(nodes[*at], Node::Record(_)) && reaches_itself(*at)).collect()
}

/// Groups the nodes that contain each other: those with the same number do. `None` for nodes that do not contain
/// themselves.
fn groups(nodes: &[Node], root: usize) -> Vec<Option<usize>> {
    let mut search = Search {
        nodes,
        order: vec![None; nodes.len()],
        lowest: vec![0; nodes.len()],
        stack: vec![],
        on_stack: vec![false; nodes.len()],
        next: 0,
        groups: vec![None; nodes.len()],
    };
    search.visit(root);
    search.groups
}

/// Tarjan's search for strongly connected components.
struct Search<'a> {
    nodes: &'a [Node],
    order: Vec<Option<usize>>,
    lowest: Vec<usize>,
    stack: Vec<usize>,
    on_stack: Vec<bool>,
    next: usize,
    groups: Vec<Option<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, at: usize) {
        let order = self.next;
        self.next += 1;
        self.order[at] = Some(order);
        self.lowest[at] = order;
        self.stack.push(at);
        self.on_stack[at] = true;
        let inner = inner(&self.nodes[at]);
        for next in &inner {
            match self.order[*next] {
                None => {
                    self.visit(*next);
                    self.lowest[at] = self.lowest[at].min(self.lowest[*next]);
                }
                Some(seen) if self.on_stack[*next] => self.lowest[at] = self.lowest[at].min(seen),
                Some(_) => {}
            }
        }
        if self.lowest[at] != order {
            return;
        }
        let first = self.stack.iter().rposition(|other| *other == at).unwrap_or_default();
        let group = self.stack.split_off(first);
        let contains_itself = group.len() > 1 || inner.contains(&at);
        for member in group {
            self.on_stack[member] = false;
            self.groups[member] = contains_itself.then_some(at);
        }
    }
}

struct Shaper<'a> {
    nodes: &'a [Node],
    groups: Vec<Option<usize>>,
    shapes: Builder,
    known: BTreeMap<usize, ShapeId>,
    has_cuts: bool,
}

impl Shaper<'_> {
    /// The shape of a node within the record `owner`.
    fn shape(&mut self, at: usize, owner: Option<usize>) -> ShapeId {
        let Node::Record(record) = &self.nodes[at] else { return self.plain(at, owner) };
        if owner.is_some_and(|owner| self.groups[at].is_some() && self.groups[at] == self.groups[owner]) {
            self.has_cuts = true;
            let doc = format!("JSON of `{}`.", record.name);
            let of = Some(self.plain(at, owner));
            return self.shapes.push(Shape::Json(Json { doc, of }), at);
        }
        self.plain(at, owner)
    }

    /// The shape of a node, even if it contains the place that refers to it.
    fn plain(&mut self, at: usize, owner: Option<usize>) -> ShapeId {
        if let Some(known) = self.known.get(&at) {
            return *known;
        }
        let place = self.shapes.reserve(at);
        // A list of a record that contains the list is cut at a different place in each record.
        if matches!(self.nodes[at], Node::Record(_)) || self.groups[at].is_none() {
            self.known.insert(at, place);
        }
        let shape = self.type_of(at, owner);
        self.shapes.fill(place, shape);
        place
    }

    fn type_of(&mut self, at: usize, owner: Option<usize>) -> Shape {
        match &self.nodes[at] {
            Node::Any => Shape::Json(Json { doc: "JSON.".to_owned(), of: None }),
            Node::Null => Shape::Null,
            Node::Bool => Shape::Bool,
            Node::Integer => Shape::S64(None),
            Node::Number => Shape::F64,
            Node::String => Shape::String,
            Node::Enum(e) => {
                let symbol = |name: &String| Symbol { name: name.clone(), label: String::new() };
                let symbols = e.symbols.iter().map(symbol).collect();
                Shape::Enum(shape::Enum { name: e.name.clone(), doc: e.doc.clone(), symbols, unrecognized: None })
            }
            Node::List(item) => Shape::List(self.shape(*item, owner)),
            Node::Map(value) => {
                let key = self.shapes.push(Shape::String, at);
                Shape::Map { key, value: self.shape(*value, owner) }
            }
            Node::Option { some, .. } => Shape::Option(self.shape(*some, owner)),
            Node::Record(record) => self.record(record, at),
            Node::Variant(variant) => self.variant(variant, owner),
        }
    }

    fn record(&mut self, record: &Record, at: usize) -> Shape {
        let fields = record.properties.iter().filter(|property| property.slot.is_some());
        let fields = fields.map(|property| Field {
            name: property.name.clone(),
            label: String::new(),
            aliases: vec![],
            doc: property.doc.clone(),
            ty: self.shape(property.node, Some(at)),
        });
        let fields = fields.collect();
        Shape::Record(shape::Record { name: record.name.clone(), doc: record.doc.clone(), fields })
    }

    fn variant(&mut self, variant: &Variant, owner: Option<usize>) -> Shape {
        let case = |(name, node): &(String, usize)| Case {
            name: name.clone(),
            label: String::new(),
            ty: Some(self.shape(*node, owner)),
        };
        let cases = variant.cases.iter().map(case).collect::<Vec<_>>();
        let told = format!("One of {} types, distinguished by `{}`.", cases.len(), variant.discriminator);
        let doc = variant.doc.iter().cloned().chain([told]).collect::<Vec<_>>().join("\n");
        Shape::Variant(shape::Variant { doc, cases })
    }
}
