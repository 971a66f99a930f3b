//! The types of values.

use serde_json::Value;

use crate::format::name::Name;

/// A type. It refers to the types inside it by their indexes.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Any JSON.
    Any,
    /// `null`
    Null,
    /// A boolean.
    Bool,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// A string.
    String,
    /// One of several strings.
    Enum(Enum),
    /// An array.
    List(usize),
    /// An object with arbitrary names, with the index of its values' type.
    Map(usize),
    /// A value that may be absent or null.
    Option {
        /// The type of the value.
        some: usize,
        /// True if it may be null.
        is_nullable: bool,
    },
    /// An object with known names.
    Record(Record),
    /// An object of one of several types.
    Variant(Variant),
}

/// One of several strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Enum {
    /// Its name.
    pub name: Name,
    /// The author's description.
    pub doc: Option<String>,
    /// The strings.
    pub symbols: Vec<String>,
}

/// An object with known names.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// The author's description.
    pub doc: Option<String>,
    /// The members with known names.
    pub properties: Vec<Property>,
    /// The indexes of the properties, ordered by name.
    pub by_name: Vec<usize>,
    /// True if other members are forbidden.
    pub is_closed: bool,
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// The author's description.
    pub doc: Option<String>,
    /// Its type.
    pub node: usize,
    /// The index of its field in the record; `None` for a property that always has the same value, which has no field.
    pub slot: Option<usize>,
    /// The only value that it may have.
    pub constant: Option<Value>,
    /// True if it must be present.
    pub is_required: bool,
    /// The JSON that replaces it in values of an older writer that does not have it.
    pub default: Option<String>,
}

/// An object of one of several types.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The author's description.
    pub doc: Option<String>,
    /// The property that distinguishes the types.
    pub discriminator: String,
    /// The value of that property, and the type, for each case.
    pub cases: Vec<(String, usize)>,
}

impl Record {
    /// Finds a property by name. `hint` is its probable index.
    #[must_use]
    pub fn find(&self, name: &str, hint: usize) -> Option<usize> {
        if self.properties.get(hint).is_some_and(|property| property.name == name) {
            return Some(hint);
        }
        let found = self.by_name.binary_search_by(|place| self.properties[*place].name.as_str().cmp(name));
        found.ok().map(|place| self.by_name[place])
    }
}
