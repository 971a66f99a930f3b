//! The names of all items in a component's WIT.
//!
//! ```text
//!  World + [rename] + names.lock ──allot──> Names ──┬── all names: the generated WIT, the next names.lock
//!                                                   └── for_host: names that are not plain, in the component's
//! contract
//! ```
//!
//! Each item has a key. The key does not depend on any other item:
//!
//! | key | item |
//! |---|---|
//! | `topic:orders.created`, `store:stock`, `table:products` | the interfaces of a topic, a store or a table |
//! | `orders.created-value/shop.Order` | a named type, in the schema of a subject |
//! | `orders.created-value/shop.Order:lines` | a field of it, or a symbol |
//! | `orders.created-value/shop.Order:lines[]\|` | a union there: `[]` in an array, `{}` in a map |
//! | `orders.created-value/shop.Order:lines[]\|shop.Line` | a branch of the union |
//!
//! Two items cannot have the same name, and no schema shows which of them came first. So the assigned names are
//! recorded (`names.lock`), and an item keeps its name.

mod allot;
mod definition;
mod scope;
mod things;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::kebab;
use super::{WitError, World};
use crate::format::shape::Shapes;

/// The first lines of a `names.lock`.
const LOCK_HEAD: &str = "# Names that `heddle build` gave, so that they stay when schemas change. Commit this file.\n\
                         # To choose another name, use [rename] in component.toml.\n";

/// The names of a component's WIT, by the keys of the named items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Assigns a name to everything in `world`: the one in `renames`, otherwise the one in `before`, otherwise the
    /// plain name if that is free.
    ///
    /// # Errors
    /// If a rename does not match anything, or its name is taken.
    pub fn allot(world: &World<'_>, renames: &BTreeMap<String, String>, before: &Self) -> Result<Self, WitError> {
        allot::allot(world, renames, before)
    }

    /// The names of a schema outside of any component.
    pub(super) fn of_schema(shapes: &Shapes) -> Self {
        allot::of_schema(shapes)
    }

    /// The names that a host needs, because they are not plain: those of interfaces, fields, symbols and branches.
    #[must_use]
    pub fn for_host(&self) -> Self {
        let is_other = |(key, name): &(&String, &String)| plain(key).is_some_and(|plain| plain != **name);
        Self(self.0.iter().filter(is_other).map(|(key, name)| (key.clone(), name.clone())).collect())
    }

    /// Returns true if there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a `names.lock`.
    #[must_use]
    pub fn lock(&self) -> String {
        format!("{LOCK_HEAD}{}", toml::to_string(&self.0).unwrap_or_default())
    }

    /// Reads the text of a `names.lock`.
    ///
    /// # Errors
    /// If it is not valid.
    pub fn of_lock(text: &str) -> Result<Self, String> {
        toml::from_str(text).map(Self).map_err(|error| error.message().to_owned())
    }

    /// The keys and the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, name)| (key.as_str(), name.as_str()))
    }

    /// The interface through which a component emits to `topic`: `emit-orders-created`.
    #[must_use]
    pub fn emit_interface(&self, topic: &str) -> String {
        format!("emit-{}", self.of(&topic_key(topic)))
    }

    /// The interface of a component's handler for `topic`: `on-orders-created`.
    #[must_use]
    pub fn on_interface(&self, topic: &str) -> String {
        format!("on-{}", self.of(&topic_key(topic)))
    }

    /// The interface of a component's store: `store-stock`.
    #[must_use]
    pub fn store_interface(&self, name: &str) -> String {
        format!("store-{}", self.of(&store_key(name)))
    }

    /// The interface of a component's table: `table-products`.
    #[must_use]
    pub fn table_interface(&self, name: &str) -> String {
        format!("table-{}", self.of(&table_key(name)))
    }

    /// The name of an item, or its plain name if none was assigned.
    pub(super) fn of(&self, key: &str) -> String {
        self.0.get(key).cloned().or_else(|| plain(key)).unwrap_or_else(|| kebab(key))
    }
}

/// The plain name of an item, derived from its key. `None` for types, because their names may include their namespaces.
fn plain(key: &str) -> Option<String> {
    if let Some(name) = key.strip_prefix("topic:") {
        return Some(kebab(name));
    }
    let Some((subject, local)) = key.split_once('/') else {
        return key.strip_prefix("store:").or_else(|| key.strip_prefix("table:")).map(kebab);
    };
    let _ = subject;
    match local.rsplit_once(['|', ':']) {
        Some((_, member)) if !member.is_empty() => Some(plain_member(member)),
        _ => None,
    }
}

/// The plain name of a field, a symbol or a branch. A type among the branches loses its namespace.
fn plain_member(member: &str) -> String {
    kebab(member.rsplit('.').next().unwrap_or(member))
}

fn topic_key(topic: &str) -> String {
    format!("topic:{topic}")
}

fn store_key(name: &str) -> String {
    format!("store:{name}")
}

fn table_key(name: &str) -> String {
    format!("table:{name}")
}

/// The key of a named type.
pub(super) fn type_key(subject: &str, full: &str) -> String {
    format!("{subject}/{full}")
}

/// The key of a field or symbol of a type.
pub(super) fn member_key(owner: &str, member: &str) -> String {
    format!("{owner}:{member}")
}

/// The key of the union at a place. Followed by a branch's name, it is the key of the branch.
pub(super) fn union_key(place: &str) -> String {
    format!("{place}|")
}

/// The place of a subject's whole value.
pub(super) fn root_place(subject: &str) -> String {
    format!("{subject}/")
}

/// The place of the items of an array at `place`.
pub(super) fn item_place(place: &str) -> String {
    format!("{place}[]")
}

/// The place of the values of a map at `place`.
pub(super) fn value_place(place: &str) -> String {
    format!("{place}{{}}")
}
