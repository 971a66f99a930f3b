//! Parses named types: records, enums and fixed types.

use serde_json::{Map, Value, json};

use super::super::{Decimal, Enum, Field, Fixed, Name, Node, NodeId, Record, logical};
use super::{Parsed, Parser, SchemaError, doc};

/// The attributes of a definition, and the type that already has its name.
struct Defined {
    name: Name,
    aliases: Vec<String>,
    known: Option<NodeId>,
}

impl Parser<'_> {
    /// Reads the name and the aliases of a definition, and registers them under the id of the next node. Also returns
    /// the type that already has the name.
    fn define(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Defined, SchemaError> {
        let Some(name) = object.get("name").and_then(Value::as_str) else {
            return self.wrong(format!("{} without a `name`", object["type"]));
        };
        let name = Name::resolve(name, object.get("namespace").and_then(Value::as_str), namespace);
        if !self.may_name(name.short()) {
            return self.wrong(format!("`{name}` is not a name; names are letters, digits and `_`, not a digit first"));
        }
        let aliases = self.strings(object, "aliases")?;
        let full = |alias: &String| Name::resolve(alias, None, name.namespace()).full().to_owned();
        let aliases = aliases.iter().map(full).collect();
        let known = self.names.get(name.full()).copied();
        if known.is_none() {
            let next = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
            self.names.insert(name.full().to_owned(), next);
            self.sources.insert(name.full().to_owned(), self.file);
        }
        Ok(Defined { name, aliases, known })
    }

    /// Accepts a type that is defined twice if both definitions are equal, as in Java.
    fn again(&self, known: NodeId, name: &Name, is_same: bool) -> Parsed {
        if is_same {
            return Ok((known, json!(name.full())));
        }
        self.wrong(format!("`{name}` is defined twice, and differently; refer to it by its name the second time"))
    }

    /// Returns true if two types are the same. Named ones are the same if they have the same node.
    fn is_same(&self, a: NodeId, b: NodeId) -> bool {
        match (&self.nodes[a.index()], &self.nodes[b.index()]) {
            _ if a == b => true,
            (Node::Array(a), Node::Array(b)) | (Node::Map(a), Node::Map(b)) => self.is_same(*a, *b),
            (Node::Union(a), Node::Union(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.is_same(*a, *b))
            }
            (Node::Record(_) | Node::Enum(_) | Node::Fixed(_), _)
            | (Node::Decimal(Decimal { fixed: Some(_), .. }), _) => false,
            (a, b) => a == b,
        }
    }

    pub(super) fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        let Defined { name, aliases, known } = self.define(object, namespace)?;
        // The node is created before the fields are read, so that they can refer to it.
        let id = match known {
            Some(known) => known,
            None => {
                self.push(Node::Record(Record { name: name.clone(), aliases: vec![], doc: None, fields: vec![] }))?
            }
        };
        self.path.push(name.short().to_owned());
        let Some(list) = object.get("fields").and_then(Value::as_array) else {
            return self.wrong("a record without the list `fields`");
        };
        let (mut fields, mut jsons) = (Vec::<Field>::new(), vec![]);
        for json in list {
            let (field, json) = self.field(json, name.namespace())?;
            if fields.iter().any(|other| other.name == field.name) {
                return self.wrong(format!("two fields `{}`", field.name));
            }
            fields.push(field);
            jsons.push(json);
        }
        self.path.pop();
        if let (Some(known), Node::Record(first)) = (known, &self.nodes[id.index()]) {
            let is_same =
                |(a, b): (&Field, &Field)| a.name == b.name && a.default == b.default && self.is_same(a.ty, b.ty);
            let all = first.fields.len() == fields.len() && first.fields.iter().zip(&fields).all(is_same);
            return self.again(known, &name, all);
        }
        if known.is_some() {
            return self.again(id, &name, false);
        }
        let mut out = object.clone();
        out.insert("fields".to_owned(), Value::Array(jsons));
        self.nodes[id.index()] = Node::Record(Record { name, aliases, doc: doc(object), fields });
        Ok((id, Value::Object(out)))
    }

    fn field(&mut self, json: &Value, namespace: &str) -> Result<(Field, Value), SchemaError> {
        let Some(object) = json.as_object() else { return self.wrong(format!("{json} is not a field")) };
        let Some(name) = object.get("name").and_then(Value::as_str) else {
            return self.wrong("a field without a `name`");
        };
        self.path.push(name.to_owned());
        if !self.may_name(name) {
            return self.wrong("not a name for a field; names are letters, digits and `_`, not a digit first");
        }
        let Some(ty) = object.get("type") else { return self.wrong("a field without a `type`") };
        let (ty, ty_json) = self.ty(ty, namespace)?;
        let default = object.get("default").cloned();
        if let Some(default) = &default {
            self.defaults.push((self.path.join(".").replace(".[]", "[]"), ty, default.clone()));
        }
        let aliases = self.strings(object, "aliases")?;
        self.path.pop();
        let mut out = object.clone();
        out.insert("type".to_owned(), ty_json);
        Ok((Field { name: name.to_owned(), aliases, doc: doc(object), ty, default }, Value::Object(out)))
    }

    pub(super) fn enumeration(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        let Defined { name, aliases, known } = self.define(object, namespace)?;
        self.path.push(name.short().to_owned());
        let symbols = self.strings(object, "symbols")?;
        if !object.contains_key("symbols") {
            return self.wrong("an enum without `symbols`");
        }
        for (place, symbol) in symbols.iter().enumerate() {
            if !self.may_name(symbol) || symbols[..place].contains(symbol) {
                return self.wrong(format!("`{symbol}` is not a symbol, or occurs twice"));
            }
        }
        let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
        let default = default.filter(|default| !self.is_writer || symbols.contains(default));
        if default.as_ref().is_some_and(|default| !symbols.contains(default)) {
            return self.wrong("the default is not one of the symbols");
        }
        self.path.pop();
        if let Some(known) = known {
            let is_same = matches!(&self.nodes[known.index()], Node::Enum(first) if first.symbols == symbols && first.default == default);
            return self.again(known, &name, is_same);
        }
        let node = Node::Enum(Enum { name, aliases, doc: doc(object), symbols, default });
        Ok((self.push(node)?, Value::Object(object.clone())))
    }

    pub(super) fn fixed(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed {
        let Defined { name, aliases, known } = self.define(object, namespace)?;
        let Some(size) = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok()) else {
            return self.wrong(format!("the fixed `{name}` without a `size` in bytes"));
        };
        let fixed = Fixed { name: name.clone(), aliases, size };
        let node = match object.get("logicalType").and_then(Value::as_str) {
            Some("decimal") => match logical::decimal(object, Some(size as u64)) {
                Ok((precision, scale)) => Node::Decimal(Decimal { precision, scale, fixed: Some(fixed) }),
                Err(_) => Node::Fixed(fixed),
            },
            _ => Node::Fixed(fixed),
        };
        if let Some(known) = known {
            return self.again(known, &name, same_fixed(&self.nodes[known.index()], &node));
        }
        Ok((self.push(node)?, Value::Object(object.clone())))
    }
}

/// Returns true if two definitions of a fixed type are equal.
fn same_fixed(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Fixed(a), Node::Fixed(b)) => a.size == b.size,
        (Node::Decimal(a), Node::Decimal(b)) => {
            let size = |decimal: &Decimal| decimal.fixed.as_ref().map(|fixed| fixed.size);
            (a.precision, a.scale, size(a)) == (b.precision, b.scale, size(b))
        }
        _ => false,
    }
}
