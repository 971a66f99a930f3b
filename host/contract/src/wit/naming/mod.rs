//! What everything in a component's WIT is called.
//!
//! ```text
//!  World + [rename] + names.lock ──allot──> Names ──┬── all of them: the generated WIT, the next names.lock
//!                                                   └── for_host: those that are not plain, in the component's
//! contract
//! ```
//!
//! A name belongs to a thing, and a thing is known by a key that no other thing can change:
//!
//! | key | thing |
//! |---|---|
//! | `topic:orders.created`, `store:stock`, `table:products` | the interfaces of a topic, a store or a table |
//! | `orders.created-value/shop.Order` | a named type, in the schema of a subject |
//! | `orders.created-value/shop.Order:lines` | a field of it, or a symbol |
//! | `orders.created-value/shop.Order:lines[]\|` | a union there: `[]` in an array, `{}` in a map |
//! | `orders.created-value/shop.Order:lines[]\|shop.Line` | a branch of the union |
//!
//! Two things that want the same name cannot both have it, and which of them came first is in no schema. So the
//! names that were given are recorded (`names.lock`), and who has a name keeps it.

mod allot;
mod definition;
mod scope;
mod things;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::kebab;
use super::{WitError, World};
use crate::format::shape::Shapes;

/// What the first lines of a `names.lock` say.
const LOCK_HEAD: &str = "# Names that `heddle build` gave, so that they stay when schemas change. Commit this file.\n\
                         # To choose another name, use [rename] in component.toml.\n";

/// The names of a component's WIT, by the keys of what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Gives everything in `world` a name: what `renames` say, else the name it had `before`, else the plain one if
    /// that is free.
    ///
    /// # Errors
    /// If a rename names nothing, or a name that is taken.
    pub fn allot(world: &World<'_>, renames: &BTreeMap<String, String>, before: &Self) -> Result<Self, WitError> {
        allot::allot(world, renames, before)
    }

    /// The names of a schema that stands alone.
    pub(super) fn of_schema(shapes: &Shapes) -> Self {
        allot::of_schema(shapes)
    }

    /// Those that a host has to know, because they are not plain: of interfaces, fields, symbols and branches.
    #[must_use]
    pub fn for_host(&self) -> Self {
        let is_other = |(key, name): &(&String, &String)| plain(key).is_some_and(|plain| plain != **name);
        Self(self.0.iter().filter(is_other).map(|(key, name)| (key.clone(), name.clone())).collect())
    }

    /// Returns true if there are none.
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
    /// If it is none.
    pub fn of_lock(text: &str) -> Result<Self, String> {
        toml::from_str(text).map(Self).map_err(|error| error.message().to_owned())
    }

    /// The keys and the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, name)| (key.as_str(), name.as_str()))
    }

    /// The interface by which a component emits to `topic`: `emit-orders-created`.
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

    /// The name of a thing; the plain one if none was given.
    pub(super) fn of(&self, key: &str) -> String {
        self.0.get(key).cloned().or_else(|| plain(key)).unwrap_or_else(|| kebab(key))
    }
}

/// The plain name of a thing whose key says it: not of types, which may be called by their namespaces.
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

/// The plain name of a field, a symbol or a branch; types among the branches go without their namespace.
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

/// The key of the union at a place. With a branch's name behind it, it is the branch's.
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
