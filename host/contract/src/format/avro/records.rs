//! The record types of a topic that holds several.

use super::{Library, Node, Schema, SchemaError};

impl Schema {
    /// The records that values are of, by their full names, each as a schema of its own: the branches of a union, or
    /// the schema itself. `None`: there is something else than records among them.
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

    /// The names of the types that values are of: those of a union's branches, or the one that there is.
    #[must_use]
    pub fn type_names(&self) -> Vec<String> {
        match self.node(self.root()) {
            Node::Union(branches) => branches.iter().map(|branch| self.describe(*branch)).collect(),
            _ => vec![self.describe(self.root())],
        }
    }

    /// Whether values are of one of several types.
    #[must_use]
    pub fn is_union(&self) -> bool {
        matches!(self.node(self.root()), Node::Union(_))
    }
}
