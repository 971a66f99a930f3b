//! The files that schemas name.

use super::{Referred, json_schema, protobuf};
use crate::section::SchemaFormat;

/// A file that a schema names: an import of a `.proto` file, a target of a `$ref`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name in the schema.
    pub name: String,
    /// The address that the name stands for, if schemas of this format have addresses.
    pub address: Option<String>,
}

/// Returns the files that a schema names. Files that every compiler has are left out.
///
/// # Errors
/// The reason why the schema is not valid.
pub fn imports(format: SchemaFormat, text: &str) -> Result<Vec<Link>, String> {
    match format {
        SchemaFormat::Avro => Ok(vec![]),
        SchemaFormat::Json => json_schema::imports(text),
        SchemaFormat::Protobuf => {
            Ok(protobuf::imports(text)?.into_iter().map(|name| Link { name, address: None }).collect())
        }
    }
}

/// Returns the file that a link of the file `importer` leads to.
#[must_use]
pub fn follow<'r>(format: SchemaFormat, importer: &str, link: &Link, known: &'r [Referred]) -> Option<&'r Referred> {
    match format {
        SchemaFormat::Json => json_schema::follow_link(importer, link, known),
        SchemaFormat::Avro | SchemaFormat::Protobuf => known.iter().find(|other| other.name == link.name),
    }
}
