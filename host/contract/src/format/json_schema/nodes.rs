//! What values are, type by type.

use serde_json::Value;

use crate::format::name::Name;

/// A type, by the places of those within it.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Anything: JSON.
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
    /// One of some strings.
    Enum(Enum),
    /// An array.
    List(usize),
    /// An object with any names.
    Map(usize),
    /// A value that may be absent or null.
    Option {
        /// The type of the value.
        some: usize,
        /// Whether it may be null.
        is_nullable: bool,
    },
    /// An object with known names.
    Record(Record),
    /// An object of one of several types.
    Variant(Variant),
}

/// One of some strings.
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
    /// What may be in it.
    pub properties: Vec<Property>,
    /// The places of the properties, by name.
    pub by_name: Vec<usize>,
    /// Whether nothing else may be in it.
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
    /// Where it stands among the fields of the record. `None`: it always has the same value, which is no field.
    pub slot: Option<usize>,
    /// The only value that it has.
    pub constant: Option<Value>,
    /// Whether it must be there.
    pub is_required: bool,
    /// The JSON that stands for it where an older writer does not have it.
    pub default: Option<String>,
}

/// An object of one of several types.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The author's description.
    pub doc: Option<String>,
    /// The property that tells the types apart.
    pub discriminator: String,
    /// The value of that property and the type, for each.
    pub cases: Vec<(String, usize)>,
}

impl Record {
    /// The place of a property. `hint` is where it probably is.
    #[must_use]
    pub fn find(&self, name: &str, hint: usize) -> Option<usize> {
        if self.properties.get(hint).is_some_and(|property| property.name == name) {
            return Some(hint);
        }
        let found = self.by_name.binary_search_by(|place| self.properties[*place].name.as_str().cmp(name));
        found.ok().map(|place| self.by_name[place])
    }
}
