//! A component's world as the bindings of a language are generated from it: its types, emitters, stores and handlers.
//! Read back from the WIT, so that no binding can say anything else.

use std::collections::BTreeMap;

use heddle_contract::manifest::Manifest;
use heddle_contract::wit::Names;
use wit_parser::{Function, InterfaceId, Resolve, SourceMap, Type, TypeDefKind, TypeId};

/// A type where it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Bool,
    S32,
    S64,
    F32,
    F64,
    String,
    Bytes,
    List(Box<Ty>),
    Tuple(Vec<Ty>),
    Option(Box<Ty>),
    /// One of the world's types, by its name in WIT.
    Named(String),
}

/// A type of the schemas.
#[derive(Debug)]
pub(super) struct Definition {
    /// Its name in WIT.
    pub(super) name: String,
    /// What its schema says of it.
    pub(super) doc: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Another name for a type.
    Alias(Ty),
    Enum(Vec<String>),
    /// Name, doc and type of each field.
    Record(Vec<(String, Option<String>, Ty)>),
    /// Name and type of each case.
    Variant(Vec<(String, Option<Ty>)>),
}

/// A topic that is consumed or emitted to.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) topic: String,
    /// The interface's name in WIT.
    pub(super) interface: String,
    pub(super) value: Ty,
    /// A handler has none unless its keys are typed by a schema.
    pub(super) key: Option<Ty>,
}

/// A store.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) name: String,
    /// The interface's name in WIT.
    pub(super) interface: String,
    pub(super) key: Ty,
    pub(super) value: Ty,
    /// Whether its keys have an order to scan by.
    pub(super) scan: bool,
}

/// All that a component's code can name.
#[derive(Debug)]
pub(super) struct World {
    /// In an order in which each is defined before it is used.
    pub(super) types: Vec<Definition>,
    pub(super) emits: Vec<Topic>,
    pub(super) stores: Vec<Store>,
    pub(super) consumes: Vec<Topic>,
}

impl World {
    /// The world of `manifest`, whose WIT these files are, with these names.
    ///
    /// # Errors
    /// If they are no WIT, or of another component.
    pub(super) fn read(manifest: &Manifest, files: &BTreeMap<String, String>, names: &Names) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let (mut runtime, mut own) = (SourceMap::default(), SourceMap::default());
        for (path, text) in files {
            let package = if path.starts_with("deps/") { &mut runtime } else { &mut own };
            package.push_str(path, text.as_str());
        }
        let mut package = None;
        for sources in [runtime, own] {
            let group = sources.parse().map_err(|(_, e)| e.to_string())?;
            package = Some(resolve.push_group(group).map_err(|e| format!("{e:?}"))?);
        }
        let interfaces = package.map(|id| resolve.packages[id].interfaces.clone()).unwrap_or_default();
        let reader = Reader { resolve: &resolve };
        let find = |name: String| {
            interfaces.get(&name).map(|id| (name.clone(), *id)).ok_or(format!("there is no interface {name}"))
        };
        let types = interfaces.get("contracts").map(|id| reader.definitions(*id)).transpose()?.unwrap_or_default();
        let emits = manifest.emits.keys().map(|topic| {
            let (interface, id) = find(names.emit_interface(topic))?;
            let (value, key) = reader.pair(id, "send-with")?;
            let key = if let Ty::Option(key) = key { *key } else { key };
            Ok(Topic { topic: topic.clone(), interface, value, key: Some(key) })
        });
        let stores = manifest.stores.keys().map(|name| {
            let (interface, id) = find(names.store_interface(name))?;
            let (key, value) = reader.pair(id, "put")?;
            let scan = resolve.interfaces[id].functions.contains_key("scan");
            Ok(Store { name: name.clone(), interface, key, value, scan })
        });
        let consumes = manifest.consumes.keys().map(|topic| {
            let (interface, id) = find(names.on_interface(topic))?;
            let mut parameters = reader.parameters(id, "handle")?.into_iter();
            let value = parameters.next().ok_or("handle takes a value")?;
            let key = parameters.next().map(|key| if let Ty::Option(key) = key { *key } else { key });
            Ok(Topic { topic: topic.clone(), interface, value, key })
        });
        Ok(Self {
            types,
            emits: emits.collect::<Result<_, String>>()?,
            stores: stores.collect::<Result<_, String>>()?,
            consumes: consumes.collect::<Result<_, String>>()?,
        })
    }

    pub(super) fn definition(&self, name: &str) -> Option<&Definition> {
        self.types.iter().find(|definition| definition.name == name)
    }

    /// What a type is called, if it is another name for one.
    pub(super) fn original<'w>(&'w self, ty: &'w Ty) -> &'w Ty {
        let Ty::Named(name) = ty else { return ty };
        match self.definition(name).map(|definition| &definition.kind) {
            Some(Kind::Alias(of)) => self.original(of),
            _ => ty,
        }
    }

    /// Whether values of a type have a list or a text somewhere in them: languages pass these by reference.
    pub(super) fn has_list(&self, ty: &Ty) -> bool {
        match ty {
            Ty::Bool | Ty::S32 | Ty::S64 | Ty::F32 | Ty::F64 => false,
            Ty::String | Ty::Bytes | Ty::List(_) => true,
            Ty::Tuple(types) => types.iter().any(|ty| self.has_list(ty)),
            Ty::Option(some) => self.has_list(some),
            Ty::Named(name) => match self.definition(name).map(|definition| &definition.kind) {
                Some(Kind::Alias(of)) => self.has_list(of),
                Some(Kind::Record(fields)) => fields.iter().any(|(_, _, ty)| self.has_list(ty)),
                Some(Kind::Variant(cases)) => {
                    cases.iter().filter_map(|(_, ty)| ty.as_ref()).any(|ty| self.has_list(ty))
                }
                Some(Kind::Enum(_)) | None => false,
            },
        }
    }
}

struct Reader<'a> {
    resolve: &'a Resolve,
}

impl Reader<'_> {
    fn parameters(&self, interface: InterfaceId, function: &str) -> Result<Vec<Ty>, String> {
        let function: &Function = self.resolve.interfaces[interface]
            .functions
            .get(function)
            .ok_or_else(|| format!("there is no function {function}"))?;
        // Headers are the SDK's own; the types before them are the schemas'.
        let own = function.params.iter().filter(|parameter| parameter.name != "headers");
        own.map(|parameter| self.ty(&parameter.ty)).collect()
    }

    fn pair(&self, interface: InterfaceId, function: &str) -> Result<(Ty, Ty), String> {
        let [first, second] = <[Ty; 2]>::try_from(self.parameters(interface, function)?)
            .map_err(|types| format!("{function} has {} parameters", types.len()))?;
        Ok((first, second))
    }

    fn definitions(&self, interface: InterfaceId) -> Result<Vec<Definition>, String> {
        self.resolve.interfaces[interface].types.iter().map(|(name, id)| self.definition(name, *id)).collect()
    }

    fn definition(&self, name: &str, id: TypeId) -> Result<Definition, String> {
        let def = &self.resolve.types[id];
        let doc = |docs: &wit_parser::Docs| docs.contents.as_deref().map(str::trim).map(str::to_owned);
        let kind = match &def.kind {
            TypeDefKind::Type(ty) => Kind::Alias(self.ty(ty)?),
            TypeDefKind::Enum(e) => Kind::Enum(e.cases.iter().map(|case| case.name.clone()).collect()),
            TypeDefKind::Record(record) => {
                let field = |field: &wit_parser::Field| Ok((field.name.clone(), doc(&field.docs), self.ty(&field.ty)?));
                Kind::Record(record.fields.iter().map(field).collect::<Result<_, String>>()?)
            }
            TypeDefKind::Variant(variant) => {
                let case = |case: &wit_parser::Case| {
                    Ok((case.name.clone(), case.ty.as_ref().map(|ty| self.ty(ty)).transpose()?))
                };
                Kind::Variant(variant.cases.iter().map(case).collect::<Result<_, String>>()?)
            }
            other => return Err(format!("the type {name} is a {}", other.as_str())),
        };
        Ok(Definition { name: name.to_owned(), doc: doc(&def.docs), kind })
    }

    fn ty(&self, ty: &Type) -> Result<Ty, String> {
        Ok(match ty {
            Type::Bool => Ty::Bool,
            Type::S32 => Ty::S32,
            Type::S64 => Ty::S64,
            Type::F32 => Ty::F32,
            Type::F64 => Ty::F64,
            Type::String => Ty::String,
            Type::Id(id) => return self.by_id(*id),
            other => return Err(format!("there is no binding for {other:?}")),
        })
    }

    fn by_id(&self, id: TypeId) -> Result<Ty, String> {
        let def = &self.resolve.types[id];
        Ok(match (&def.kind, &def.name) {
            (TypeDefKind::List(Type::U8), _) => Ty::Bytes,
            (TypeDefKind::List(item), _) => Ty::List(Box::new(self.ty(item)?)),
            (TypeDefKind::Option(some), _) => Ty::Option(Box::new(self.ty(some)?)),
            (TypeDefKind::Tuple(tuple), _) => {
                Ty::Tuple(tuple.types.iter().map(|ty| self.ty(ty)).collect::<Result<_, _>>()?)
            }
            // Another interface's name for a type of `contracts`, or an alias there.
            (TypeDefKind::Type(Type::Id(original)), _) => self.by_id(*original)?,
            (_, Some(name)) => Ty::Named(name.clone()),
            (other, None) => return Err(format!("there is no binding for a {}", other.as_str())),
        })
    }
}

/// `order-id` as `orderId`.
pub(super) fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    first + &words.map(upper_first).collect::<String>()
}

/// `order-id` as `OrderId`.
pub(super) fn pascal(name: &str) -> String {
    name.split('-').map(upper_first).collect()
}

/// `order-id` as `order_id`.
pub(super) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn upper_first(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
