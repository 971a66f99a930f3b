//! The types of a schema as a graph: which of them contain each other. Takes time in proportion to the schema, and no
//! stack.

use super::{Node, NodeId, Schema};

fn parts(node: &Node) -> Vec<NodeId> {
    match node {
        Node::Array(item) | Node::Map(item) => vec![*item],
        Node::Union(branches) => branches.clone(),
        Node::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
        _ => vec![],
    }
}

/// The types that contain each other, directly or by way of others.
pub(super) struct Circles {
    /// The circle of each type.
    of: Vec<usize>,
}

impl Circles {
    /// Finds the circles of all types that the schema's root leads to, by Tarjan's algorithm.
    pub(super) fn find(schema: &Schema) -> Self {
        let mut search = Search::new(schema);
        search.enter(schema.root);
        while let Some((id, left)) = search.way.last_mut() {
            let (id, part) = (*id, left.pop());
            match part {
                Some(part) if search.order[part.index()] == 0 => search.enter(part),
                Some(part) if search.is_open[part.index()] => search.lower(id, search.order[part.index()]),
                Some(_) => {}
                None => search.leave(id),
            }
        }
        Self { of: search.circles }
    }

    /// Returns true if each of two types contains the other.
    pub(super) fn have_both(&self, a: NodeId, b: NodeId) -> bool {
        self.of[a.index()] == self.of[b.index()]
    }
}

struct Search<'a> {
    schema: &'a Schema,
    /// The types on the way to the current one, with the parts that are left, the next one last.
    way: Vec<(NodeId, Vec<NodeId>)>,
    /// When each type was met, from 1; 0 if it was not.
    order: Vec<usize>,
    /// The first type that each leads back to, as far as known.
    low: Vec<usize>,
    /// The types whose circle is not complete, in the order in which they were met.
    open: Vec<NodeId>,
    is_open: Vec<bool>,
    circles: Vec<usize>,
    met: usize,
}

impl<'a> Search<'a> {
    fn new(schema: &'a Schema) -> Self {
        let count = schema.nodes.len();
        let (order, low, circles) = (vec![0; count], vec![0; count], vec![0; count]);
        Self { schema, way: vec![], order, low, open: vec![], is_open: vec![false; count], circles, met: 0 }
    }

    fn enter(&mut self, id: NodeId) {
        self.met += 1;
        (self.order[id.index()], self.low[id.index()]) = (self.met, self.met);
        self.open.push(id);
        self.is_open[id.index()] = true;
        let mut left = parts(self.schema.node(id));
        left.reverse();
        self.way.push((id, left));
    }

    fn lower(&mut self, id: NodeId, to: usize) {
        let low = &mut self.low[id.index()];
        *low = (*low).min(to);
    }

    fn leave(&mut self, id: NodeId) {
        self.way.pop();
        let low = self.low[id.index()];
        if let Some((outer, _)) = self.way.last() {
            self.lower(*outer, low);
        }
        if low < self.order[id.index()] {
            return;
        }
        while let Some(inner) = self.open.pop() {
            self.is_open[inner.index()] = false;
            self.circles[inner.index()] = low;
            if inner == id {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Circles;
    use crate::format::avro::{Node, NodeId, Schema, parse};

    fn schema(text: &str) -> Schema {
        parse("s", text).unwrap()
    }

    #[test]
    fn types_that_contain_each_other_are_in_one_circle() {
        let text = r#"{"type":"record","name":"A","fields":[
            {"name":"b","type":{"type":"record","name":"B","fields":[
                {"name":"c","type":["null",{"type":"record","name":"C","fields":[{"name":"b","type":["null","B"]}]}]},
                {"name":"d","type":{"type":"record","name":"D","fields":[{"name":"x","type":"int"}]}}]}},
            {"name":"e","type":{"type":"array","items":{"type":"record","name":"E","fields":[{"name":"a","type":["null","A"]}]}}},
            {"name":"d","type":"D"}]}"#;
        let (schema, mut named) = (schema(text), std::collections::BTreeMap::new());
        for (place, node) in schema.nodes.iter().enumerate() {
            if let Node::Record(record) = node {
                named.insert(record.name.short().to_owned(), NodeId(u32::try_from(place).unwrap()));
            }
        }
        let circles = Circles::find(&schema);
        let both = |a: &str, b: &str| circles.have_both(named[a], named[b]);
        assert!(both("B", "C") && both("A", "E") && both("D", "D"));
        assert!(!both("A", "B") && !both("B", "D") && !both("A", "C") && !both("A", "D") && !both("E", "B"));
    }
}
