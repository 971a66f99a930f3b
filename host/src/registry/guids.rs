//! Finds the GUIDs of the schemas that a component names in headers.

use std::collections::BTreeMap;

use heddle_contract::manifest::Manifest;
use heddle_contract::wire::Wire;

use super::{Guid, Registry, RegistryError, SchemaId};

/// The GUIDs of the schemas that a component writes to topics with `wire = "header"`. `ids` has the ids of its schemas,
/// by their names in the contract. If the registry has no GUIDs, the result is empty, and the component writes ids
/// instead.
///
/// # Errors
/// If the registry does not answer.
pub fn guids(
    registry: &dyn Registry,
    manifest: &Manifest,
    ids: &BTreeMap<String, SchemaId>,
) -> Result<BTreeMap<SchemaId, Guid>, RegistryError> {
    let mut found = BTreeMap::new();
    for (name, id) in ids {
        if manifest.wire_of(name) == Wire::Header && manifest.uses(name).1 {
            let guid = registry.by_id(*id)?.and_then(|registered| registered.guid);
            found.extend(guid.map(|guid| (*id, guid)));
        }
    }
    Ok(found)
}
