//! Messages that are JSON texts for a component.

use std::collections::BTreeMap;

use heddle_contract::format::protobuf::types::{Field, Kind, Label, Message};
use heddle_contract::format::protobuf::{DecodeError, json};
use wasmtime::component::Val;

use super::{Decoded, Run, disagree};

impl Run<'_> {
    /// Decodes the collected occurrences of messages that are JSON texts.
    pub(super) fn texts(
        &mut self,
        message: &Message,
        texts: Vec<(&Field, &[u8])>,
        values: &mut [(String, Val)],
        base: usize,
    ) -> Decoded<()> {
        let mut whole = BTreeMap::<u32, (&Field, Vec<u8>)>::new();
        for (field, bytes) in texts {
            whole.entry(field.number).or_insert_with(|| (field, vec![])).1.extend(bytes);
        }
        for (field, bytes) in whole.into_values() {
            let Kind::Text(id) = field.kind else { continue };
            let value = &mut values[field.slot].1;
            let before = match (&*value, field.case) {
                (Val::String(before), None) => Some(before),
                (Val::Option(Some(before)), None) => match &**before {
                    Val::String(before) => Some(before),
                    _ => None,
                },
                _ => None,
            };
            let before = before.filter(|_| self.seen[base + field.slot] > 0);
            let text = Val::String(self.text(id, before.map(String::as_str), &bytes)?);
            self.seen[base + field.slot] = field.case.map_or(1, |case| case as u32 + 1);
            *value = match (field.label, field.case) {
                (_, Some(case)) => {
                    let Some(variant) = self.variant(message, field.slot) else { return Err(disagree()) };
                    let name = variant.cases[case].label.clone();
                    Val::Option(Some(Box::new(Val::Variant(name, Some(Box::new(text))))))
                }
                (Label::Explicit, None) => Val::Option(Some(Box::new(text))),
                _ => text,
            };
        }
        Ok(())
    }

    /// A message as JSON, merged with `before`, the result of earlier occurrences.
    fn text(&self, id: usize, before: Option<&str>, bytes: &[u8]) -> Decoded<String> {
        let descriptor = &self.types.texts[id];
        let mut whole = vec![];
        if let Some(before) = before.and_then(|before| serde_json::from_str(before).ok()) {
            json::encode(descriptor, &before, &mut whole).map_err(|e| DecodeError::Json(e.0))?;
        }
        whole.extend(bytes);
        Ok(json::decode(descriptor, &whole)?.to_string())
    }
}
