//! Values as trees, and members of objects by their names.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::DecodeError;
use super::reader::{Kind, Read, Reader, unfit};

impl<'a> Reader<'a> {
    /// Reads one whole value.
    ///
    /// # Errors
    /// If the bytes are not one JSON value, or would have to be changed.
    pub fn whole(bytes: &'a [u8]) -> Read<Value> {
        let mut reader = Self::new(bytes)?;
        let value = reader.value(0)?;
        reader.finish()?;
        Ok(value)
    }

    /// Reads any value.
    ///
    /// # Errors
    /// If it is not JSON, a name occurs twice, or a number would have to be rounded.
    pub fn value(&mut self, depth: usize) -> Read<Value> {
        self.deep_enough(depth)?;
        Ok(match self.kind()? {
            Kind::Null => {
                self.null()?;
                Value::Null
            }
            Kind::Bool => Value::Bool(self.boolean()?),
            Kind::Number => {
                let number = self.number()?;
                Value::Number(number.json().ok_or_else(|| unfit(&number, "64 bits"))?)
            }
            Kind::String => Value::String(self.string()?.into_owned()),
            Kind::Array => {
                self.array()?;
                let (mut items, mut is_first) = (vec![], true);
                while self.next_item(&mut is_first)? {
                    items.push(self.value(depth + 1)?);
                }
                Value::Array(items)
            }
            Kind::Object => {
                self.object()?;
                let (mut members, mut is_first) = (Map::new(), true);
                while let Some(name) = self.next_member(&mut is_first)? {
                    let at = self.at();
                    if members.contains_key(name.as_ref()) {
                        return Err(DecodeError::Twice { name: name.into_owned(), at });
                    }
                    let value = self.value(depth + 1)?;
                    members.insert(name.into_owned(), value);
                }
                Value::Object(members)
            }
        })
    }

    /// A reader at the value of the member `name` of the object that begins here.
    ///
    /// # Errors
    /// If it is not an object, or has the member twice.
    pub fn member(&mut self, name: &str) -> Read<Option<Self>> {
        self.object()?;
        let (mut is_first, mut found) = (true, None);
        while let Some(other) = self.next_member(&mut is_first)? {
            if other == name && found.replace(self.clone()).is_some() {
                return Err(DecodeError::Twice { name: name.to_owned(), at: self.at() });
            }
            self.skip(0)?;
        }
        Ok(found)
    }

    /// The text of the member `name` of the object that begins here. `None` if the member is absent or not a text.
    ///
    /// # Errors
    /// If it is not an object, or has the member twice.
    pub fn find(&mut self, name: &str) -> Read<Option<Cow<'a, str>>> {
        let Some(mut member) = self.member(name)? else { return Ok(None) };
        if member.kind()? == Kind::String { member.string().map(Some) } else { Ok(None) }
    }
}
