//! The record types of a topic that has several.

use super::{Library, Node, Schema, SchemaError};

impl Schema {
    /// The record types of the values by their full names, each as a separate schema: the branches of a union, or the
    /// schema itself. `None` if the values include types other than records.
    ///
    /// # Errors
    /// If a branch is not a schema by itself.
    pub fn records(&self) -> Result<Option<Vec<(String, Self)>>, SchemaError> {
        let own = [self.root()];
        let types = match self.node(self.root()) {
            Node::Union(branches) => branches.as_slice(),
            _ => &own,
        };
        let names = types.iter().map(|ty| match self.node(*ty) {
            Node::Record(record) => Some(record.name.full().to_owned()),
            _ => None,
        });
        let Some(names) = names.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let mut library = Library::default();
        library.add("union", self.json())?;
        let record = |name: String| library.named(&name).map(|schema| (name, schema));
        names.into_iter().map(record).collect::<Result<_, _>>().map(Some)
    }

    /// The names of the values' types: those of a union's branches, or the only one.
    #[must_use]
    pub fn type_names(&self) -> Vec<String> {
        match self.node(self.root()) {
            Node::Union(branches) => branches.iter().map(|branch| self.describe(*branch)).collect(),
            _ => vec![self.describe(self.root())],
        }
    }

    /// Returns true if values have one of several types.
    #[must_use]
    pub fn is_union(&self) -> bool {
        matches!(self.node(self.root()), Node::Union(_))
    }
}
