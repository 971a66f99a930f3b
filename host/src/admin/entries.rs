//! The holders of the entries of a store or a table on this host.

use std::sync::Arc;

use bytes::Bytes;
use heddle_contract::manifest::tables::Scope;
use heddle_core::event::{Partition, Topic};
use heddle_core::fault::TaskFault;
use heddle_core::state::{Entry, Range, StoreIndex, TaskState as _};
use heddle_core::tables::{GlobalTable as _, TableKeys};

use super::Watched;
use crate::state::TaskStores;
use crate::tables::{Table, Tables};

/// A store or table of a component.
pub(super) struct Named {
    pub(super) index: StoreIndex,
    /// By what a table knows its keys; absent for a store.
    pub(super) keys: Option<TableKeys>,
    /// The topic of a global table.
    global: Option<Topic>,
}

impl Named {
    /// The store or table of that name.
    pub(super) fn find(watched: &Watched, name: &str) -> Option<Self> {
        let component = watched.slot.current().component.clone();
        let manifest = component.manifest();
        if let Some(place) = manifest.stores.keys().position(|store| store == name) {
            return Some(Self { index: StoreIndex(place), keys: None, global: None });
        }
        let place = manifest.tables.keys().position(|table| table == name)?;
        let spec = manifest.tables.get(name)?;
        let index = StoreIndex::table(place);
        let global = (spec.scope == Scope::Global).then(|| Topic::from(spec.topic.as_str()));
        Some(Self { index, keys: component.table_keys(index), global })
    }

    /// The table itself, if it is a global one that this host has.
    pub(super) fn global(&self, tables: &Tables) -> Option<Arc<Table>> {
        let (topic, keys) = (self.global.as_ref()?, self.keys?);
        tables.all().into_iter().find(|table| table.topic() == topic && table.keys() == keys)
    }

    pub(super) fn is_global(&self) -> bool {
        self.global.is_some()
    }
}

/// A holder of entries.
#[derive(Clone)]
pub(super) enum Holder {
    /// The state of a task.
    Task(Partition, Arc<TaskStores>),
    /// A global table.
    Global(Arc<Table>),
}

impl Holder {
    /// The partition of the task; a global table has none.
    pub(super) fn partition(&self) -> Option<Partition> {
        match self {
            Self::Task(partition, _) => Some(*partition),
            Self::Global(_) => None,
        }
    }

    pub(super) fn get(&self, index: StoreIndex, key: &[u8]) -> Result<Option<Bytes>, TaskFault> {
        match self {
            Self::Task(_, stores) => stores.get(index, key),
            Self::Global(table) => table.get(key),
        }
    }

    pub(super) fn scan(&self, index: StoreIndex, range: &Range<'_>, limit: usize) -> Result<Vec<Entry>, TaskFault> {
        match self {
            Self::Task(_, stores) => stores.scan(index, range, limit),
            Self::Global(table) => table.scan(range, limit),
        }
    }
}
