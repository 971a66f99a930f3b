//! The types of a schema: the types of its values, as far as a closed subset of JSON Schema can express them.
//! Everything else is JSON.
//!
//! ```text
//!  schema ──Types::of──> nodes, one for each schema within it ──shapes──> what a component sees
//!                        has_rules: the schema says more than the types, so `jsonschema` validates values, too
//! ```
//!
//! The origin of a shape is the index of its [`Node`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::flatten::flattened;
use super::keywords::{self, Draft, Object, accepts_all, constant, is_beyond_types, narrows, required, types_beside};
use super::names::{Place, Taken};
use super::nodes::{Enum, Node, Property, Record, Variant};
use super::shapes;
use crate::format::shape::Shapes;

/// The maximum nesting of types, which bounds the stack.
const DEPTH_MAX: usize = 100;

/// The types of a schema.
#[derive(Clone, Debug)]
pub struct Types {
    /// The types of values. Each schema within the schema occurs once.
    pub nodes: Vec<Node>,
    /// Their shapes, without labels.
    pub shapes: Shapes,
    /// True if the schema has rules that the types do not express.
    pub has_rules: bool,
    /// True if `1.0` is not an integer.
    pub has_plain_integers: bool,
    root: usize,
}

impl Types {
    /// The types of a schema that includes everything to which it refers.
    #[must_use]
    pub fn of(schema: &Value) -> Self {
        let (draft, flattened) = (Draft::of(schema), flattened(schema));
        let (nodes, known, taken) = (vec![], BTreeMap::new(), Taken::default());
        // Where objects are merged, the types say less than the schemas.
        let has_rules = matches!(flattened, Cow::Owned(_));
        let mut builder = Builder { root: &flattened, draft, nodes, known, taken, has_rules };
        let root = builder.node(&flattened, &Place::root(), 0);
        let Builder { mut nodes, mut has_rules, .. } = builder;
        has_rules |= settle(&mut nodes);
        let (shapes, has_cuts) = shapes::of(&nodes, root);
        has_rules |= has_cuts;
        Self { nodes, shapes, has_rules, has_plain_integers: draft == Draft::Four, root }
    }

    /// The type of whole values.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.nodes[self.root]
    }
}

/// Replaces nodes by JSON that are not types, which is known when all nodes are. Returns true if there were any.
fn settle(nodes: &mut [Node]) -> bool {
    let mut has_more = false;
    for at in shapes::endless(nodes) {
        nodes[at] = Node::Any;
        has_more = true;
    }
    for at in 0..nodes.len() {
        let is_record = |node: &usize| matches!(nodes[*node], Node::Record(_));
        match &nodes[at] {
            Node::Variant(variant) if !variant.cases.iter().all(|(_, node)| is_record(node)) => {
                nodes[at] = Node::Any;
                has_more = true;
            }
            // An optional member whose type may be null.
            Node::Option { some, .. } => {
                if let Node::Option { some, .. } = nodes[*some] {
                    nodes[at] = Node::Option { some, is_nullable: true };
                }
            }
            _ => {}
        }
    }
    has_more
}

/// The result for a schema.
enum Found {
    /// A separate type.
    Node(Node),
    /// The same as another schema.
    Same(usize),
}

struct Builder<'a> {
    root: &'a Value,
    draft: Draft,
    nodes: Vec<Node>,
    /// The nodes of visited schemas, by the schemas' addresses in memory.
    known: BTreeMap<*const Value, usize>,
    taken: Taken,
    has_rules: bool,
}

impl<'a> Builder<'a> {
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The node of a schema at a place.
    fn node(&mut self, schema: &'a Value, place: &Place, depth: usize) -> usize {
        if let Some(known) = self.known.get(&std::ptr::from_ref(schema)) {
            return *known;
        }
        let depth = depth + 1;
        let target = schema.as_object().map_or(Some(None), |object| self.target(object, place));
        if let (Some(Some((target, place))), true) = (&target, depth <= DEPTH_MAX) {
            return self.node(target, place, depth);
        }
        let at = self.add(Node::Any);
        self.known.insert(schema, at);
        let found = if depth > DEPTH_MAX || target.is_none() { None } else { self.found(schema, place, depth) };
        match found {
            Some(Found::Node(node)) => self.nodes[at] = node,
            Some(Found::Same(other)) => {
                self.known.insert(schema, other);
                return other;
            }
            // JSON is validated as a whole, which detects duplicate members and rounded numbers.
            None => self.has_rules = true,
        }
        at
    }

    /// The type of a schema that is not a reference; `None` if no type can express it.
    fn found(&mut self, schema: &'a Value, place: &Place, depth: usize) -> Option<Found> {
        let object = schema.as_object()?;
        if is_beyond_types(object) || accepts_all(schema) {
            return None;
        }
        self.has_rules |= narrows(object);
        for key in ["allOf", "oneOf", "anyOf"] {
            if let Some(list) = object.get(key).and_then(Value::as_array) {
                return if types_beside(object, key) { None } else { self.combined(key, list, object, place, depth) };
            }
        }
        let node = match strings(object) {
            Some(symbols) => self.enumeration(schema, object, symbols, place)?,
            None => self.plain(schema, object, place, depth)?,
        };
        Some(Found::Node(node))
    }

    /// The type for the keyword `type`.
    fn plain(&mut self, schema: &'a Value, object: &'a Object, place: &Place, depth: usize) -> Option<Node> {
        // Constants and lists of other values narrow a type.
        self.has_rules |= object.contains_key("enum") || object.contains_key("const");
        let (types, is_nullable) = kinds(object)?;
        let node = match types.as_slice() {
            [] => return Some(Node::Null),
            ["string"] => Node::String,
            ["boolean"] => Node::Bool,
            ["integer"] => Node::Integer,
            ["number"] | ["integer", "number"] | ["number", "integer"] => Node::Number,
            ["array"] => match object.get("items")? {
                items @ Value::Object(_) => Node::List(self.node(items, &place.inner("item"), depth)),
                _ => return None,
            },
            ["object"] => self.object(schema, object, place, depth)?,
            _ => return None,
        };
        if !is_nullable {
            return Some(node);
        }
        let some = self.add(node);
        Some(Node::Option { some, is_nullable: true })
    }

    /// The schema to which this one refers, and its place. `None` if it has a reference that no type can express;
    /// `Some(None)` if it has no reference.
    #[allow(clippy::option_option)] // The outer one ends the caller, the inner one is the answer.
    fn target(&mut self, object: &'a Object, place: &Place) -> Option<Option<(&'a Value, Place)>> {
        let Some(reference) = object.get("$ref") else { return Some(None) };
        let reference = reference.as_str()?;
        if self.draft == Draft::Later {
            if is_beyond_types(object) || types_beside(object, "") {
                return None;
            }
            self.has_rules |= narrows(object);
        }
        let target = super::follow(self.root, reference)?;
        let is_root = std::ptr::eq(target, self.root);
        Some(Some((target, if is_root { place.clone() } else { Place::definition(reference) })))
    }

    /// The type of `allOf`, `oneOf` and `anyOf`: of one schema, with null, or distinguished by a constant.
    fn combined(
        &mut self,
        key: &str,
        list: &'a [Value],
        object: &'a Object,
        place: &Place,
        depth: usize,
    ) -> Option<Found> {
        let (nulls, others) = list.iter().partition::<Vec<_>, _>(|schema| is_null(schema));
        if let (true, [only]) = (nulls.is_empty(), others.as_slice()) {
            return Some(Found::Same(self.node(only, place, depth)));
        }
        if key == "allOf" || nulls.len() > 1 {
            return None;
        }
        let some = match others.as_slice() {
            [] => return Some(Found::Node(Node::Null)),
            [only] => self.node(only, place, depth),
            _ => {
                let variant = self.variant(&others, object, place, depth)?;
                if nulls.is_empty() {
                    return Some(Found::Node(variant));
                }
                self.add(variant)
            }
        };
        match self.nodes[some] {
            // Null would fit two of the schemas, which `oneOf` does not allow.
            Node::Option { is_nullable: true, .. } | Node::Null | Node::Any if key == "oneOf" => None,
            Node::Option { .. } | Node::Null => Some(Found::Same(some)),
            _ => Some(Found::Node(Node::Option { some, is_nullable: true })),
        }
    }

    fn variant(&mut self, list: &[&'a Value], object: &'a Object, place: &Place, depth: usize) -> Option<Node> {
        let branches = list.iter().map(|schema| self.branch(schema, place)).collect::<Option<Vec<_>>>()?;
        let told = |name: &str| {
            let values = branches.iter().map(|(schema, _)| discriminating(self.root, schema, name));
            let values = values.collect::<Option<Vec<_>>>()?;
            let are_distinct = (1..values.len()).all(|place| !values[..place].contains(&values[place]));
            are_distinct.then_some(values)
        };
        let said = object.get("discriminator").and_then(|it| it.get("propertyName")).and_then(Value::as_str);
        let (first, _) = branches.first()?;
        let names = first.get("properties")?.as_object()?.keys().map(String::as_str);
        let (discriminator, values) = said.into_iter().chain(names).find_map(|name| Some((name, told(name)?)))?;
        let (discriminator, mut cases) = (discriminator.to_owned(), vec![]);
        for ((schema, branch), value) in branches.iter().zip(values) {
            let place = branch.clone().unwrap_or_else(|| place.case(value));
            // It may turn out to be a record only when all nodes are known.
            let node = self.node(schema, &place, depth);
            cases.push((value.to_owned(), node));
        }
        let doc = object.get("description").and_then(Value::as_str).map(str::to_owned);
        Some(Node::Variant(Variant { doc, discriminator, cases }))
    }

    /// A branch of a variant after following references, and the place of its definition.
    fn branch(&mut self, schema: &'a Value, place: &Place) -> Option<(&'a Value, Option<Place>)> {
        let (mut schema, mut named) = (schema, None);
        for _ in 0..DEPTH_MAX {
            match self.target(schema.as_object()?, place)? {
                Some((target, place)) => (schema, named) = (target, Some(place)),
                None => return Some((schema, named)),
            }
        }
        None
    }

    fn enumeration(
        &mut self,
        schema: &'a Value,
        object: &Object,
        (symbols, has_null): (Vec<String>, bool),
        place: &Place,
    ) -> Option<Node> {
        let (types, may_be_null) = match object.get("type") {
            None => (vec!["string"], true),
            Some(_) => kinds(object)?,
        };
        if symbols.is_empty() && has_null {
            return Some(Node::Null).filter(|_| may_be_null);
        }
        if types != ["string"] {
            return None;
        }
        let doc = keywords::text(schema, "description").map(str::to_owned);
        let node = Node::Enum(Enum { name: self.taken.name(schema, place), doc, symbols });
        if !(has_null && may_be_null) {
            return Some(node);
        }
        let some = self.add(node);
        Some(Node::Option { some, is_nullable: true })
    }

    fn object(&mut self, schema: &'a Value, object: &'a Object, place: &Place, depth: usize) -> Option<Node> {
        let properties = object.get("properties").and_then(Value::as_object).filter(|members| !members.is_empty());
        let required = required(object);
        let others = object.get("additionalProperties");
        let is_closed = others == Some(&Value::Bool(false));
        let Some(members) = properties else {
            return match others {
                _ if !required.is_empty() => None,
                Some(Value::Bool(false)) => Some(Node::Record(self.record(schema, place, vec![]))),
                Some(values) if !accepts_all(values) => {
                    Some(Node::Map(self.node(values, &place.inner("value"), depth)))
                }
                _ => None,
            };
        };
        if !(is_closed || others.is_none_or(accepts_all)) || required.iter().any(|name| !members.contains_key(*name)) {
            return None;
        }
        let mut record = self.record(schema, place, vec![]);
        let mut slots = 0;
        for (name, member) in members {
            let is_required = required.contains(&name.as_str());
            let place = Place::member(&record.name, name);
            let constant = constant(self.behind(member)).filter(|_| is_required).cloned();
            let mut node = if constant.is_some() { 0 } else { self.node(member, &place, depth) };
            if !is_required {
                node = match self.nodes[node] {
                    Node::Option { .. } => node,
                    _ => self.add(Node::Option { some: node, is_nullable: false }),
                };
            }
            let slot = constant.is_none().then_some(slots);
            slots += usize::from(slot.is_some());
            record.properties.push(Property {
                name: name.clone(),
                doc: self.described(member),
                node,
                slot,
                constant,
                is_required,
                default: member.get("default").map(Value::to_string),
            });
        }
        record.is_closed = is_closed;
        record.by_name = (0..record.properties.len()).collect();
        record.by_name.sort_by(|a, b| record.properties[*a].name.cmp(&record.properties[*b].name));
        Some(Node::Record(record))
    }

    fn record(&mut self, schema: &Value, place: &Place, properties: Vec<Property>) -> Record {
        let doc = keywords::text(schema, "description").map(str::to_owned);
        Record { name: self.taken.name(schema, place), doc, properties, by_name: vec![], is_closed: true }
    }

    /// The schema after following references.
    fn behind(&self, schema: &'a Value) -> &'a Value {
        let mut at = schema;
        for _ in 0..DEPTH_MAX {
            let next = at.get("$ref").and_then(Value::as_str).and_then(|reference| super::follow(self.root, reference));
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    /// The documentation of a member: its description, and the format of its text.
    fn described(&self, member: &'a Value) -> Option<String> {
        let behind = self.behind(member);
        let said = keywords::text(member, "description").map(str::to_owned);
        let format = keywords::text(behind, "format").map(|format| format!("Format: {format}."));
        let lines = said.into_iter().chain(format).collect::<Vec<_>>();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// The value of the property that distinguishes the schema from others: a constant string that must be present.
fn discriminating<'a>(root: &'a Value, schema: &'a Value, name: &str) -> Option<&'a str> {
    let object = schema.as_object()?;
    let member = object.get("properties")?.get(name).filter(|_| required(object).contains(&name))?;
    let member = member.get("$ref").and_then(Value::as_str).map_or(Some(member), |to| super::follow(root, to))?;
    constant(member)?.as_str()
}

/// Returns true if the schema accepts nothing but null.
fn is_null(schema: &Value) -> bool {
    schema.get("type") == Some(&Value::from("null"))
        || schema.get("const") == Some(&Value::Null)
        || schema.get("enum").and_then(Value::as_array).is_some_and(|list| list.as_slice() == [Value::Null])
}

/// The strings that a schema lists, and true if it lists null. `None` if it lists nothing, or something else.
fn strings(object: &Object) -> Option<(Vec<String>, bool)> {
    let single;
    let list = match (object.get("const"), object.get("enum")) {
        (Some(value), None) => {
            single = vec![value.clone()];
            &single
        }
        (None, Some(Value::Array(list))) => list,
        _ => return None,
    };
    let mut symbols = vec![];
    for value in list.iter().filter(|value| !value.is_null()) {
        let symbol = value.as_str()?.to_owned();
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    Some((symbols, list.contains(&Value::Null)))
}

/// The types that a schema names beside null, and true if it names null. `None` if it names none.
fn kinds(object: &Object) -> Option<(Vec<&str>, bool)> {
    let all = match object.get("type") {
        Some(Value::String(ty)) => vec![ty.as_str()],
        Some(Value::Array(list)) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?,
        // A schema that lists properties describes objects.
        None if object.contains_key("properties") => vec!["object"],
        _ => return None,
    };
    let others = all.iter().filter(|ty| **ty != "null").copied().collect();
    Some((others, all.contains(&"null")))
}
