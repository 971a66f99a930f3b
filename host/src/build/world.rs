//! A component's world: its types, emitters, stores, tables and handlers. The bindings of a language are generated from
//! it. It is read back from the WIT, so that bindings cannot differ from the WIT.

use std::collections::BTreeMap;

use heddle_contract::manifest::Manifest;
use heddle_contract::wit::Names;
use wit_parser::{Function, InterfaceId, Resolve, SourceMap, Type, TypeDefKind, TypeId};

/// A type at its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Bool,
    S32,
    S64,
    U32,
    U64,
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
    /// The documentation in its schema.
    pub(super) doc: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// An alias of another type.
    Alias(Ty),
    Enum(Vec<String>),
    /// Name, doc and type of each field.
    Record(Vec<(String, Option<String>, Ty)>),
    /// Name and type of each case.
    Variant(Vec<(String, Option<Ty>)>),
}

/// A consumed or emitted topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) topic: String,
    /// The interface's name in WIT.
    pub(super) interface: String,
    pub(super) value: Ty,
    /// A handler has a key only if a schema types its keys.
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
    /// True if its keys have an order, so that they can be scanned.
    pub(super) scan: bool,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// The topic that it shows.
    pub(super) topic: String,
    /// The interface's name in WIT.
    pub(super) interface: String,
    pub(super) key: Ty,
    pub(super) value: Ty,
    /// True if its keys have an order, so that they can be scanned.
    pub(super) scan: bool,
}

/// Everything that a component's code can refer to.
#[derive(Debug)]
pub(super) struct World {
    /// Each type comes before its uses.
    pub(super) types: Vec<Definition>,
    pub(super) emits: Vec<Topic>,
    pub(super) stores: Vec<Store>,
    pub(super) tables: Vec<Table>,
    pub(super) consumes: Vec<Topic>,
}

impl World {
    /// Reads the world of `manifest` from its WIT files, with these names.
    ///
    /// # Errors
    /// If the files are not valid WIT, or belong to another component.
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
        let tables = manifest.tables.iter().map(|(name, table)| {
            let (interface, id) = find(names.table_interface(name))?;
            let (key, value) = reader.lookup(id)?;
            let scan = resolve.interfaces[id].functions.contains_key("scan");
            Ok(Table { name: name.clone(), topic: table.topic.clone(), interface, key, value, scan })
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
            tables: tables.collect::<Result<_, String>>()?,
            consumes: consumes.collect::<Result<_, String>>()?,
        })
    }

    /// The interfaces that the component imports, beside those of the runtime.
    pub(super) fn imports(&self) -> impl Iterator<Item = &String> {
        let emits = self.emits.iter().map(|topic| &topic.interface);
        let stores = self.stores.iter().map(|store| &store.interface);
        emits.chain(stores).chain(self.tables.iter().map(|table| &table.interface))
    }

    pub(super) fn definition(&self, name: &str) -> Option<&Definition> {
        self.types.iter().find(|definition| definition.name == name)
    }

    /// The type after resolving all aliases.
    pub(super) fn original<'w>(&'w self, ty: &'w Ty) -> &'w Ty {
        let Ty::Named(name) = ty else { return ty };
        match self.definition(name).map(|definition| &definition.kind) {
            Some(Kind::Alias(of)) => self.original(of),
            _ => ty,
        }
    }

    /// Returns true if values of the type contain a list or a text, because languages pass these by reference.
    pub(super) fn has_list(&self, ty: &Ty) -> bool {
        match ty {
            Ty::Bool | Ty::S32 | Ty::S64 | Ty::U32 | Ty::U64 | Ty::F32 | Ty::F64 => false,
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
        // The SDK handles headers. The parameters before them have the schemas' types.
        let own = function.params.iter().filter(|parameter| parameter.name != "headers");
        own.map(|parameter| self.ty(&parameter.ty)).collect()
    }

    fn pair(&self, interface: InterfaceId, function: &str) -> Result<(Ty, Ty), String> {
        let [first, second] = <[Ty; 2]>::try_from(self.parameters(interface, function)?)
            .map_err(|types| format!("{function} has {} parameters", types.len()))?;
        Ok((first, second))
    }

    /// Key and value of the function `get`.
    fn lookup(&self, interface: InterfaceId) -> Result<(Ty, Ty), String> {
        let [key] = <[Ty; 1]>::try_from(self.parameters(interface, "get")?)
            .map_err(|types| format!("get has {} parameters", types.len()))?;
        let result = self.resolve.interfaces[interface].functions.get("get").and_then(|get| get.result);
        match result.map(|ty| self.ty(&ty)).transpose()? {
            Some(Ty::Option(value)) => Ok((key, *value)),
            _ => Err("get returns an optional value".to_owned()),
        }
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
            Type::U32 => Ty::U32,
            Type::U64 => Ty::U64,
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
            // An interface's alias of a type in `contracts`, or an alias in `contracts` itself.
            (TypeDefKind::Type(Type::Id(original)), _) => self.by_id(*original)?,
            (_, Some(name)) => Ty::Named(name.clone()),
            (other, None) => return Err(format!("there is no binding for a {}", other.as_str())),
        })
    }
}

/// Converts `order-id` to `orderId`.
pub(super) fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    first + &words.map(upper_first).collect::<String>()
}

/// Converts `order-id` to `OrderId`.
pub(super) fn pascal(name: &str) -> String {
    name.split('-').map(upper_first).collect()
}

/// Converts `order-id` to `order_id`.
pub(super) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn upper_first(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
