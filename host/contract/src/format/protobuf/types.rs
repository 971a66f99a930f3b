//! The types of a message: the shapes that a component sees, and the layout for reading and writing its bytes. One walk
//! makes both, so that they cannot disagree.
//!
//! A record's shape has a slot for each field of its message, and one for each `oneof`. The origin of a record's shape
//! is the index of its [`Message`], that of an enum's shape the index of its [`Enum`], and that of a JSON text's shape
//! the index of the descriptor.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, Kind as ProtoKind, MessageDescriptor, OneofDescriptor, Syntax,
};

use super::docs::Docs;
use super::known::wrapped;
use super::wire::Wire;
use crate::compat::Problem;
use crate::format::name::Name;
use crate::format::shape::{self, Builder, Case, Json, Record, Shape, ShapeId, Shapes, Symbol, Variant};

/// The maximum depth of references among messages, which bounds the stack.
const DEPTH_MAX: usize = 200;
/// The case of an open enum for numbers without a symbol.
const UNRECOGNIZED: &str = "*unrecognized";

/// The types of a schema's message.
pub struct Types {
    /// Their shapes, without labels.
    pub shapes: Shapes,
    /// The messages.
    pub messages: Vec<Message>,
    /// The enums.
    pub enums: Vec<Enum>,
    /// The messages that are JSON texts for a component.
    pub texts: Vec<MessageDescriptor>,
    /// The places of the messages that whole values are.
    pub roots: Vec<usize>,
    /// A construct that cannot type a component.
    pub refused: Vec<Problem>,
}

/// The layout of a message.
#[derive(Debug)]
pub struct Message {
    /// Its full name.
    pub name: String,
    /// The shape of its record.
    pub shape: ShapeId,
    /// The slots of its record, in order.
    pub slots: Vec<Slot>,
    /// Its fields, by number.
    pub fields: Vec<Field>,
}

/// A field of a message's record.
#[derive(Debug)]
pub struct Slot {
    /// Its content if the message has none of its fields.
    pub absent: Absent,
    /// The shape of the variant, for a `oneof`.
    pub variant: Option<ShapeId>,
}

/// The content of a slot if the message has none of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nothing: the slot is an option.
    Nothing,
    /// An empty list or map.
    Empty,
    /// The zero of its type.
    Zero,
    /// The message is not valid without the field of this name.
    Required(String),
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The index of its slot in the record.
    pub slot: usize,
    /// The index of its case, for a field of a `oneof`.
    pub case: Option<usize>,
    /// Its cardinality.
    pub label: Label,
    /// The type of its values. For a map, it is the type of the values of its entries.
    pub kind: Kind,
}

/// The cardinality of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Exactly once. Its zero is not written.
    Implicit,
    /// At most once.
    Explicit,
    /// Exactly once.
    Required,
    /// Any number of times.
    Repeated {
        /// True if all values are packed into one field.
        packed: bool,
    },
    /// Any number of entries, whose keys are of this type.
    Map(Scalar),
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, a text or bytes.
    Scalar(Scalar),
    /// The enum at this index.
    Enum(usize),
    /// The message at this index.
    Message(usize),
    /// A message that is a JSON text for the component, by the index of its descriptor.
    Text(usize),
    /// A message around one value, such as `google.protobuf.Int64Value`.
    Wrapper(Scalar),
}

/// A number, a text or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their names are Protobuf's.
pub enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

/// An enum.
#[derive(Debug)]
pub struct Enum {
    /// Its shape.
    pub shape: ShapeId,
    /// The number of each symbol of the shape.
    pub numbers: Vec<i32>,
    /// The indexes of the symbols, by number.
    pub places: BTreeMap<i32, usize>,
    /// True if numbers without a symbol are kept.
    pub open: bool,
    /// The number of an absent value.
    pub default: i32,
}

impl Message {
    /// Finds the field with this number. Fields mostly come in order, so `next` is tried first.
    #[must_use]
    pub fn find(&self, number: u32, next: usize) -> Option<usize> {
        if self.fields.get(next).is_some_and(|field| field.number == number) {
            return Some(next);
        }
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

impl Kind {
    /// The encoding of its values.
    #[must_use]
    pub fn wire(self) -> Wire {
        match self {
            Self::Scalar(scalar) => scalar.wire(),
            Self::Enum(_) => Wire::Varint,
            Self::Message(_) | Self::Text(_) | Self::Wrapper(_) => Wire::Delimited,
        }
    }
}

impl Scalar {
    fn of(kind: &ProtoKind) -> Option<Self> {
        Some(match kind {
            ProtoKind::Double => Self::Double,
            ProtoKind::Float => Self::Float,
            ProtoKind::Int32 => Self::Int32,
            ProtoKind::Int64 => Self::Int64,
            ProtoKind::Uint32 => Self::Uint32,
            ProtoKind::Uint64 => Self::Uint64,
            ProtoKind::Sint32 => Self::Sint32,
            ProtoKind::Sint64 => Self::Sint64,
            ProtoKind::Fixed32 => Self::Fixed32,
            ProtoKind::Fixed64 => Self::Fixed64,
            ProtoKind::Sfixed32 => Self::Sfixed32,
            ProtoKind::Sfixed64 => Self::Sfixed64,
            ProtoKind::Bool => Self::Bool,
            ProtoKind::String => Self::String,
            ProtoKind::Bytes => Self::Bytes,
            ProtoKind::Message(_) | ProtoKind::Enum(_) => return None,
        })
    }

    fn shape(self) -> Shape {
        match self {
            Self::Double => Shape::F64,
            Self::Float => Shape::F32,
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => Shape::S32(None),
            Self::Int64 | Self::Sint64 | Self::Sfixed64 => Shape::S64(None),
            Self::Uint32 | Self::Fixed32 => Shape::U32,
            Self::Uint64 | Self::Fixed64 => Shape::U64,
            Self::Bool => Shape::Bool,
            Self::String => Shape::String,
            Self::Bytes => Shape::Bytes,
        }
    }

    /// Its encoding.
    #[must_use]
    pub fn wire(self) -> Wire {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => Wire::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => Wire::Fixed32,
            Self::String | Self::Bytes => Wire::Delimited,
            _ => Wire::Varint,
        }
    }

    /// Returns true if several values may be packed into one field.
    #[must_use]
    pub fn is_packable(self) -> bool {
        !matches!(self, Self::String | Self::Bytes)
    }
}

impl Types {
    /// The types of values that are of one of `messages`.
    pub(super) fn of(messages: &[MessageDescriptor]) -> Self {
        let mut walk = Walk::default();
        let roots = messages.iter().map(|root| walk.message(root, root.name())).collect::<Vec<_>>();
        let shape_of = |walk: &Walk, place: usize| walk.messages[place].as_ref().map(|message| message.shape);
        let shape = match roots.as_slice() {
            [] => {
                walk.refuse(".", "the file has no message");
                None
            }
            [only] => shape_of(&walk, *only),
            several => {
                let cases = several.iter().zip(messages).map(|(place, message)| Case {
                    name: message.full_name().to_owned(),
                    label: String::new(),
                    ty: shape_of(&walk, *place),
                });
                let cases = cases.collect::<Vec<_>>();
                let doc = format!("One of {} messages.", cases.len());
                Some(walk.shapes.push(Shape::Variant(Variant { doc, cases }), 0))
            }
        };
        let shape = shape.unwrap_or_else(|| walk.shapes.push(Shape::Null, 0));
        Self {
            shapes: walk.shapes.finish(shape),
            messages: walk.messages.into_iter().flatten().collect(),
            enums: walk.enums,
            texts: walk.texts,
            roots,
            refused: walk.refused,
        }
    }
}

#[derive(Default)]
struct Walk {
    shapes: Builder,
    /// The layouts of messages. A message that is in progress has none yet.
    messages: Vec<Option<Message>>,
    known_messages: BTreeMap<String, (usize, ShapeId)>,
    enums: Vec<Enum>,
    known_enums: BTreeMap<String, usize>,
    texts: Vec<MessageDescriptor>,
    docs: Docs,
    refused: Vec<Problem>,
    depth: usize,
}

impl Walk {
    fn refuse(&mut self, path: &str, what: &str) {
        self.refused.push(Problem { path: path.to_owned(), what: what.to_owned() });
    }

    /// The index of a message's layout.
    fn message(&mut self, message: &MessageDescriptor, path: &str) -> usize {
        if let Some((place, _)) = self.known_messages.get(message.full_name()) {
            return *place;
        }
        let place = self.messages.len();
        self.messages.push(None);
        let shape = self.shapes.reserve(place);
        self.known_messages.insert(message.full_name().to_owned(), (place, shape));
        if message.extension_ranges().len() > 0 {
            self.refuse(path, "the message has extensions, which no type can name; remove the `extensions` ranges");
        }
        let mut made = Message { name: message.full_name().to_owned(), shape, slots: vec![], fields: vec![] };
        let mut record = vec![];
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.refuse(path, &format!("messages refer to each other more than {DEPTH_MAX} deep"));
        }
        let fields = if self.depth > DEPTH_MAX { vec![] } else { message.fields().collect::<Vec<_>>() };
        for field in fields {
            match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                None => self.field(message, &field, path, &mut made, &mut record),
                Some(oneof) if oneof.fields().next().is_some_and(|first| first.number() == field.number()) => {
                    self.oneof(message, &oneof, path, &mut made, &mut record);
                }
                // The slot is created with the first field of its oneof.
                Some(_) => {}
            }
        }
        self.depth -= 1;
        made.fields.sort_by_key(|field| field.number);
        let (name, doc) = (Name::new(message.full_name()), self.docs.of(&message.parent_file(), message.path()));
        self.shapes.fill(shape, Shape::Record(Record { name, doc, fields: record }));
        self.messages[place] = Some(made);
        place
    }

    fn field(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        path: &str,
        made: &mut Message,
        record: &mut Vec<shape::Field>,
    ) {
        let path = format!("{path}.{}", field.name());
        let (value, key) = match field.kind() {
            ProtoKind::Message(entry) if field.is_map() => {
                (entry.map_entry_value_field(), Scalar::of(&entry.map_entry_key_field().kind()))
            }
            _ => (field.clone(), None),
        };
        let (kind, ty) = self.kind(message, &value, &path);
        let (label, absent, ty) = match key {
            Some(key) => {
                let key_shape = self.shapes.push(key.shape(), 0);
                let map = self.shapes.push(Shape::Map { key: key_shape, value: ty }, 0);
                (Label::Map(key), Absent::Empty, map)
            }
            None if field.is_list() => {
                let list = self.shapes.push(Shape::List(ty), 0);
                (Label::Repeated { packed: field.is_packed() }, Absent::Empty, list)
            }
            None if field.cardinality() == Cardinality::Required => {
                (Label::Required, Absent::Required(field.name().to_owned()), ty)
            }
            None if field.supports_presence() => {
                let option = self.shapes.push(Shape::Option(ty), 0);
                (Label::Explicit, Absent::Nothing, option)
            }
            None => (Label::Implicit, Absent::Zero, ty),
        };
        let (number, name, slot) = (field.number(), field.name().to_owned(), made.slots.len());
        made.fields.push(Field { number, name: name.clone(), slot, case: None, label, kind });
        made.slots.push(Slot { absent, variant: None });
        let doc = self.docs.of(&field.parent_file(), field.path());
        record.push(shape::Field { name, label: String::new(), aliases: vec![], doc, ty });
    }

    fn oneof(
        &mut self,
        message: &MessageDescriptor,
        oneof: &OneofDescriptor,
        path: &str,
        made: &mut Message,
        record: &mut Vec<shape::Field>,
    ) {
        let (slot, mut cases) = (made.slots.len(), vec![]);
        for (place, field) in oneof.fields().enumerate() {
            let (kind, ty) = self.kind(message, &field, &format!("{path}.{}", field.name()));
            let (number, name) = (field.number(), field.name().to_owned());
            made.fields.push(Field {
                number,
                name: name.clone(),
                slot,
                case: Some(place),
                label: Label::Explicit,
                kind,
            });
            cases.push(Case { name, label: String::new(), ty: Some(ty) });
        }
        let doc = format!("One of {} fields.", cases.len());
        let variant = self.shapes.push(Shape::Variant(Variant { doc, cases }), 0);
        let ty = self.shapes.push(Shape::Option(variant), 0);
        made.slots.push(Slot { absent: Absent::Nothing, variant: Some(variant) });
        let doc = self.docs.of(&oneof.parent_file(), oneof.path());
        record.push(shape::Field { name: oneof.name().to_owned(), label: String::new(), aliases: vec![], doc, ty });
    }

    /// The type of a field of `owner`, and its shape.
    fn kind(&mut self, owner: &MessageDescriptor, field: &FieldDescriptor, path: &str) -> (Kind, ShapeId) {
        if field.is_group() {
            self.refuse(path, "it is a group; use a message");
        }
        match field.kind() {
            ProtoKind::Enum(e) => {
                let place = self.enumeration(&e);
                (Kind::Enum(place), self.enums[place].shape)
            }
            ProtoKind::Message(message) => self.message_kind(owner, &message, path),
            plain => {
                // All other kinds are scalars.
                let scalar = Scalar::of(&plain).unwrap_or(Scalar::Bytes);
                (Kind::Scalar(scalar), self.shapes.push(scalar.shape(), 0))
            }
        }
    }

    fn message_kind(&mut self, owner: &MessageDescriptor, message: &MessageDescriptor, path: &str) -> (Kind, ShapeId) {
        match message.full_name() {
            "google.protobuf.Any" => {
                self.refuse(path, "it is a google.protobuf.Any, which no type can name; use a `oneof` of messages");
            }
            "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => {
                return self.text(message, "JSON.".to_owned(), None);
            }
            _ => {}
        }
        if let Some(scalar) = wrapped(message) {
            return (Kind::Wrapper(scalar), self.shapes.push(scalar.shape(), 0));
        }
        let place = self.message(message, path);
        let of = self.known_messages.get(message.full_name()).map(|(_, shape)| *shape);
        if contains(message, owner) {
            return self.text(message, format!("Protobuf JSON of `{}`.", message.full_name()), of);
        }
        (Kind::Message(place), of.unwrap_or_else(|| self.shapes.push(Shape::Null, 0)))
    }

    fn text(&mut self, message: &MessageDescriptor, doc: String, of: Option<ShapeId>) -> (Kind, ShapeId) {
        let place = self.texts.len();
        self.texts.push(message.clone());
        (Kind::Text(place), self.shapes.push(Shape::Json(Json { doc, of }), place))
    }

    /// The index of an enum. If a number has several names, the first one is used.
    fn enumeration(&mut self, e: &EnumDescriptor) -> usize {
        if let Some(place) = self.known_enums.get(e.full_name()) {
            return *place;
        }
        let (place, open) = (self.enums.len(), e.parent_file().syntax() == Syntax::Proto3);
        let (mut symbols, mut numbers, mut places) = (vec![], vec![], BTreeMap::new());
        let symbol = |name: &str| Symbol { name: name.to_owned(), label: String::new() };
        // In the file's order, because `values` sorts by number.
        for value in &e.enum_descriptor_proto().value {
            if let std::collections::btree_map::Entry::Vacant(vacant) = places.entry(value.number()) {
                vacant.insert(symbols.len());
                symbols.push(symbol(value.name()));
                numbers.push(value.number());
            }
        }
        let (name, doc) = (Name::new(e.full_name()), self.docs.of(&e.parent_file(), e.path()));
        let unrecognized = open.then(|| symbol(UNRECOGNIZED));
        let shape = self.shapes.push(Shape::Enum(shape::Enum { name, doc, symbols, unrecognized }), place);
        let default = e.default_value().number();
        self.enums.push(Enum { shape, numbers, places, open, default });
        self.known_enums.insert(e.full_name().to_owned(), place);
        place
    }
}

/// Returns true if a value of `outer` can contain one of `inner`: every reference among such messages is cut.
fn contains(outer: &MessageDescriptor, inner: &MessageDescriptor) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![outer.clone()]);
    while let Some(message) = todo.pop() {
        if message == *inner {
            return true;
        }
        if !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        todo.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
    }
    false
}
