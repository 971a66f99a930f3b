//! Converts the JSON of a schema to its types, by the Avro 1.12 specification ("Schema Declaration", "Names",
//! "Aliases").

mod named;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::library::{Definition, Meant};
use super::{Decimal, Enum, Fixed, Library, Name, Node, NodeId, Record, Schema, default, logical};

/// The maximum nesting of types, which bounds the stack of every traversal.
const DEPTH_MAX: usize = 200;

/// The reason why a file is not a schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// There is no such file.
    #[error("there is no schema file `{file}`")]
    NoFile {
        /// The requested file.
        file: String,
    },
    /// No file defines a type of this name.
    #[error("no schema file defines the type `{name}`; there are: {known}")]
    NoType {
        /// The requested name.
        name: String,
        /// The full names of the existing types.
        known: String,
    },
    /// A name without its namespace matches several types.
    #[error("`{name}` could be any of {candidates}; write the full name")]
    Ambiguous {
        /// The requested name.
        name: String,
        /// The full names of the matching types.
        candidates: String,
    },
    /// The text is not JSON.
    #[error("{file}:{line}:{column} is not JSON: {what}")]
    NotJson {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The JSON parser's message.
        what: String,
    },
    /// Two files define the same name differently, and one schema needs both definitions.
    #[error(
        "{file} defines `{name}`, which {other} defines differently; one schema needs both, so keep one definition and refer to it by name"
    )]
    DefinedTwice {
        /// The file that was read last.
        file: String,
        /// The type's full name.
        name: String,
        /// The file that was read first.
        other: String,
    },
    /// The JSON is not a schema.
    #[error("{file}, at `{path}`: {what}")]
    Wrong {
        /// The file.
        file: String,
        /// The place in it: `Order.items[].price`.
        path: String,
        /// The fault, and the remedy.
        what: String,
    },
}

/// Parses one schema that refers to no other file. Messages name it `file`.
///
/// # Errors
/// If the text is not an Avro schema.
pub fn parse(file: &str, text: &str) -> Result<Schema, SchemaError> {
    let mut library = Library::default();
    library.add(file, text)?;
    library.schema(file)
}

/// As [`parse`], for the schema of a writer. Any name is accepted, and a default that does not fit its type is dropped,
/// because only readers use defaults.
///
/// # Errors
/// As for [`parse`].
pub fn parse_writer(file: &str, text: &str) -> Result<Schema, SchemaError> {
    let mut library = Library::default();
    library.add(file, text)?;
    library.schema_of_writer(file)
}

impl Name {
    /// Resolves `name`. `namespace` is its own attribute, and `enclosing` is the namespace around it.
    pub(crate) fn resolve(name: &str, namespace: Option<&str>, enclosing: &str) -> Self {
        if name.contains('.') {
            return Self::new(name.trim_start_matches('.'));
        }
        match namespace.unwrap_or(enclosing) {
            "" => Self::new(name),
            namespace => Self::new(format!("{namespace}.{name}")),
        }
    }
}

/// Removes a default that does not fit from the fields with its type.
fn leave_out(schema: &mut Schema, ty: NodeId, value: &Value) {
    for node in &mut schema.nodes {
        let Node::Record(record) = node else { continue };
        for field in record.fields.iter_mut().filter(|field| field.ty == ty) {
            field.default.take_if(|default| default == value);
        }
    }
}

/// The state of the parser for one schema.
pub(super) struct Parser<'a> {
    file: &'a str,
    library: &'a Library,
    nodes: Vec<Node>,
    names: BTreeMap<String, NodeId>,
    /// The definitions from other files, and those of types that were used before their definition.
    pulled: BTreeMap<String, &'a Definition>,
    /// The file in which each known name is defined.
    sources: BTreeMap<String, &'a str>,
    path: Vec<String>,
    depth: usize,
    /// Defaults are checked at the end, when every type is complete.
    defaults: Vec<(String, NodeId, Value)>,
    /// True for the schema of a writer: defaults that do not fit are dropped.
    is_writer: bool,
}

type Parsed = Result<(NodeId, Value), SchemaError>;

impl<'a> Parser<'a> {
    pub(super) fn new(file: &'a str, library: &'a Library) -> Self {
        Self {
            file,
            library,
            nodes: vec![],
            names: BTreeMap::new(),
            pulled: BTreeMap::new(),
            sources: BTreeMap::new(),
            path: vec![],
            depth: 0,
            defaults: vec![],
            is_writer: false,
        }
    }

    pub(super) fn of_writer(self) -> Self {
        Self { is_writer: true, ..self }
    }

    pub(super) fn finish(mut self, json: &Value) -> Result<Schema, SchemaError> {
        let (root, json) = self.ty(json, "")?;
        let mut schema = Schema { nodes: std::mem::take(&mut self.nodes), root, json: json.to_string() };
        for (path, ty, value) in std::mem::take(&mut self.defaults) {
            if let Err(what) = default::encode(&schema, ty, &value, &mut Vec::new()) {
                if self.is_writer {
                    leave_out(&mut schema, ty, &value);
                    continue;
                }
                let what = format!("the default {value} does not fit the type {}: {what}", schema.describe(ty));
                return Err(SchemaError::Wrong { file: self.file.to_owned(), path, what });
            }
        }
        Ok(schema)
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, SchemaError> {
        let path = if self.path.is_empty() { "the schema's top".to_owned() } else { self.path.join(".") };
        Err(SchemaError::Wrong { file: self.file.to_owned(), path: path.replace(".[]", "[]"), what: what.into() })
    }

    fn push(&mut self, node: Node) -> Result<NodeId, SchemaError> {
        let Ok(id) = u32::try_from(self.nodes.len()) else { return self.wrong("more types than 2^32") };
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    fn ty(&mut self, json: &Value, namespace: &str) -> Parsed {
        if self.depth >= DEPTH_MAX {
            return self.wrong(format!("types are nested more than {DEPTH_MAX} deep"));
        }
        self.depth += 1;
        let parsed = match json {
            Value::String(name) => self.named_or_primitive(name, &Map::new(), namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            other => self.wrong(format!("{other} is not a type; write a type's name, an object or a list of types")),
        };
        self.depth -= 1;
        parsed
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        match object.get("type") {
            None => self.wrong("an object without `type`"),
            Some(Value::String(ty)) => match ty.as_str() {
                "record" | "error" | "enum" | "fixed" if self.was_pulled(object, namespace)? => {
                    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
                    let name = Name::resolve(name, object.get("namespace").and_then(Value::as_str), namespace);
                    self.reference(name.full(), "")
                }
                "record" | "error" => self.record(object, namespace),
                "enum" => self.enumeration(object, namespace),
                "fixed" => self.fixed(object, namespace),
                "array" => self.collection(object, "items", namespace),
                "map" => self.collection(object, "values", namespace),
                name => self.named_or_primitive(name, object, namespace),
            },
            Some(nested) => self.ty(nested, namespace),
        }
    }

    fn named_or_primitive(&mut self, name: &str, attributes: &Map<String, Value>, namespace: &str) -> Parsed {
        let logical_name = attributes.get("logicalType").and_then(Value::as_str);
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int(logical::of_int(logical_name)),
            "long" => Node::Long(logical::of_long(logical_name)),
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => match logical_name.filter(|name| *name == "decimal").map(|_| logical::decimal(attributes, None))
            {
                Some(Ok((precision, scale))) => Node::Decimal(Decimal { precision, scale, fixed: None }),
                _ => Node::Bytes,
            },
            "string" => Node::String { uuid: logical_name == Some("uuid") },
            _ => return self.reference(name, namespace),
        };
        let json = if attributes.is_empty() { json!(name) } else { Value::Object(attributes.clone()) };
        Ok((self.push(node)?, json))
    }

    /// Returns true if this is the definition of a type that was used earlier, and so is known already.
    fn was_pulled(&self, object: &Map<String, Value>, namespace: &str) -> Result<bool, SchemaError> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let Some(name) = text("name").map(|name| Name::resolve(name, text("namespace"), namespace)) else {
            return Ok(false);
        };
        match self.pulled.get(name.full()) {
            // The schema is being pulled, so this is the definition itself.
            Some(_) if !self.names.contains_key(name.full()) => Ok(false),
            Some(pulled) if pulled.json.as_object() == Some(object) => Ok(true),
            Some(pulled) if pulled.file != self.file => Err(self.defined_twice(name.full(), &pulled.file)),
            _ => Ok(false),
        }
    }

    fn defined_twice(&self, name: &str, other: &str) -> SchemaError {
        SchemaError::DefinedTwice { file: self.file.to_owned(), name: name.to_owned(), other: other.to_owned() }
    }

    /// Resolves a named type: a known one, one of another file, or one that is defined further down.
    fn reference(&mut self, name: &str, namespace: &str) -> Parsed {
        let near = Name::resolve(name, None, namespace);
        let library = self.library;
        for full in [near.full(), name] {
            if let Some(id) = self.names.get(full) {
                let source = self.sources.get(full).copied().unwrap_or(self.file);
                // Within a file that was referred to, the name may have another meaning.
                if let (Meant::One(meant), Meant::One(known)) =
                    (library.definition(full, self.file), library.definition(full, source))
                    && !meant.agrees(known)
                {
                    return Err(self.defined_twice(full, source));
                }
                return Ok((*id, json!(full)));
            }
        }
        for full in [near.full(), name] {
            match library.definition(full, self.file) {
                Meant::Nothing => {}
                Meant::One(definition) => return self.pull(full, definition),
                Meant::Several(all) => {
                    let files = all.iter().map(|definition| definition.file.as_str()).collect::<Vec<_>>().join(", ");
                    return self.wrong(format!(
                        "`{full}` could be any of several definitions, in {files}; define it in a file that is not named after a topic"
                    ));
                }
            }
        }
        self.wrong(format!("there is no type `{name}`; it is not a type of Avro, and no file of the folder defines it"))
    }

    /// Parses a definition at its own place.
    fn pull(&mut self, full: &str, definition: &'a Definition) -> Parsed {
        self.pulled.insert(full.to_owned(), definition);
        let here = std::mem::replace(&mut self.file, &definition.file);
        let (id, mut json) = self.ty(&definition.json, &definition.namespace)?;
        self.file = here;
        if let Some(object) = json.as_object_mut() {
            let name = Name::resolve(full, None, "");
            object.insert("name".to_owned(), json!(name.short()));
            object.insert("namespace".to_owned(), json!(name.namespace()));
        }
        Ok((id, json))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Parsed {
        let (mut ids, mut jsons, mut kinds) = (vec![], vec![], vec![]);
        for branch in branches {
            if branch.is_array() {
                return self.wrong("a union directly within a union; put all branches into one list");
            }
            let (id, json) = self.ty(branch, namespace)?;
            let kind = branch_name(&self.nodes[id.index()]);
            if kinds.contains(&kind) {
                return self.wrong(format!("the union has two branches `{kind}`"));
            }
            kinds.push(kind);
            ids.push(id);
            jsons.push(json);
        }
        Ok((self.push(Node::Union(ids))?, Value::Array(jsons)))
    }

    fn collection(&mut self, object: &Map<String, Value>, key: &str, namespace: &str) -> Parsed {
        let Some(inner) = object.get(key) else {
            return self.wrong(format!("{} without `{key}`", object["type"]));
        };
        self.path.push("[]".to_owned());
        let (ty, json) = self.ty(inner, namespace)?;
        self.path.pop();
        let mut out = object.clone();
        out.insert(key.to_owned(), json);
        let node = if key == "items" { Node::Array(ty) } else { Node::Map(ty) };
        Ok((self.push(node)?, Value::Object(out)))
    }

    /// Returns true if a type, field or symbol may have this name. Writers may use any name that another registry has
    /// accepted.
    fn may_name(&self, name: &str) -> bool {
        is_name(name) || (self.is_writer && !name.is_empty())
    }

    fn strings(&self, object: &Map<String, Value>, key: &str) -> Result<Vec<String>, SchemaError> {
        let Some(value) = object.get(key) else { return Ok(vec![]) };
        let strings = value
            .as_array()
            .and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        strings.map_or_else(|| self.wrong(format!("`{key}` is not a list of strings")), Ok)
    }
}

fn doc(object: &Map<String, Value>) -> Option<String> {
    object.get("doc").and_then(Value::as_str).map(str::to_owned)
}

/// Returns true if Avro for Java accepts the name: letters and digits of all scripts. Before 1.12, it did not check
/// namespaces, so they may have any text.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_alphabetic()) && name.chars().all(|c| c == '_' || c.is_alphanumeric())
}

/// The name of a union's branch in JSON: the kind of an unnamed type, the full name of a named one.
pub(super) fn branch_name(node: &Node) -> String {
    let name = match node {
        Node::Union(_) => "union",
        Node::Null => "null",
        Node::Boolean => "boolean",
        Node::Int(_) => "int",
        Node::Long(_) => "long",
        Node::Float => "float",
        Node::Double => "double",
        Node::Bytes | Node::Decimal(Decimal { fixed: None, .. }) => "bytes",
        Node::String { .. } => "string",
        Node::Array(_) => "array",
        Node::Map(_) => "map",
        Node::Fixed(Fixed { name, .. })
        | Node::Decimal(Decimal { fixed: Some(Fixed { name, .. }), .. })
        | Node::Enum(Enum { name, .. })
        | Node::Record(Record { name, .. }) => name.full(),
    };
    name.to_owned()
}
