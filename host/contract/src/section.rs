//! The custom section of a `.wasm` file with a component's contract, so that one file can be deployed.
//! ```text
//!  header │ section │ section │ ... │ custom section "heddle:contract": {"version":1, "component":…, "schemas":…}
//! ```
//!
//! It works on core modules and on components. Only the file's own sections count, and not those of nested modules and
//! components. All other bytes of the file are unchanged.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wasm_encoder::{CustomSection, Section};
use wasmparser::{BinaryReader, CustomSectionReader, Parser};

use crate::format::{self, Entry, Referred};
use crate::wit::Names;

/// The section's name.
pub const NAME: &str = "heddle:contract";
/// The version of the format that [`embed`] writes and [`extract`] reads.
pub const VERSION: u64 = 1;

/// The maximum size of a contract, in bytes.
pub const CONTRACT_BYTES_MAX: usize = 4 << 20;

const HEADER_BYTES: usize = 8;
const CUSTOM_SECTION_ID: u8 = 0;

/// The types of a component, and its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// The component.
    pub component: Component,
    /// The schemas that the component was built with, by subject.
    pub schemas: BTreeMap<String, Schema>,
    /// The names of the component's types that differ from their plain names.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub names: Names,
    /// The program that built the file, `heddle <version>`.
    pub built_with: String,
}

/// The component that a contract is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The text of its `component.toml`.
    pub manifest: String,
}

/// One schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its format.
    #[serde(rename = "type")]
    pub format: SchemaFormat,
    /// Its text. An Avro schema defines every named type that it uses.
    #[serde(rename = "schema")]
    pub text: String,
    /// The files that the text imports, directly or indirectly, each after its own imports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Referred>,
    /// The type of values, if the text defines several and it is not the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The types of values, if they are of several that the text defines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
}

impl Schema {
    /// Creates a schema without imports.
    #[must_use]
    pub fn new(format: SchemaFormat, text: impl Into<String>) -> Self {
        Self { format, text: text.into(), imports: vec![], message: None, messages: vec![] }
    }

    /// The form of `schema` in a contract.
    #[must_use]
    pub fn of(schema: &format::Schema) -> Self {
        let (message, messages) = match schema.types_within() {
            [] => (None, vec![]),
            [only] => (Some(only.clone()), vec![]),
            several => (None, several.to_vec()),
        };
        let (text, imports) = (schema.text().to_owned(), schema.imports().to_vec());
        Self { format: schema.format(), text, imports, message, messages }
    }

    /// Parses the schema.
    ///
    /// # Errors
    /// The reason why it is not valid.
    pub fn parse(&self) -> Result<format::Schema, String> {
        let schema = format::parse(&Entry::new(self.format, self.text.as_str()), &self.imports)?;
        match &self.message {
            Some(name) => schema.with_type(name),
            None if self.messages.is_empty() => Ok(schema),
            None => schema.with_types(&self.messages),
        }
    }
}

/// The formats of schemas, with their names in schema registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaFormat {
    /// Apache Avro, as JSON.
    Avro,
    /// Protocol Buffers, as a `.proto` file.
    Protobuf,
    /// JSON Schema.
    Json,
}

/// The reason why a contract cannot be read from or written to a file.
#[derive(Debug, Error)]
pub enum SectionError {
    /// The bytes are not a core module or a component.
    #[error("not a WebAssembly file: {0}")]
    NotWasm(String),
    /// The file has no contract.
    #[error("the file carries no contract: it was not built by `heddle build`")]
    Missing,
    /// The file has more than one contract.
    #[error("the file carries more than one contract")]
    Twice,
    /// The contract exceeds the maximum size.
    #[error("the contract is too large: {0} bytes, at most {CONTRACT_BYTES_MAX} are read")]
    TooLarge(usize),
    /// The contract has a version that this program does not know.
    #[error("the contract has version {found}, this program knows version {VERSION}")]
    UnknownVersion {
        /// The version found.
        found: u64,
    },
    /// The contract is not valid JSON, or lacks a part.
    #[error("the contract is broken: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Written<'c> {
    version: u64,
    #[serde(flatten)]
    contract: &'c Contract,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// A copy of `wasm` with `contract` as its last section. It replaces any earlier contract.
///
/// # Errors
/// [`SectionError::NotWasm`] if `wasm` is not a core module or a component.
pub fn embed(wasm: &[u8], contract: &Contract) -> Result<Vec<u8>, SectionError> {
    let data = serde_json::to_vec(&Written { version: VERSION, contract })?;
    let mut out = strip(wasm)?;
    out.reserve(data.len() + 64);
    CustomSection { name: Cow::Borrowed(NAME), data: Cow::Owned(data) }.append_to(&mut out);
    Ok(out)
}

/// A copy of `wasm` without a contract. It is equal for versions that differ only in their contracts.
///
/// # Errors
/// [`SectionError::NotWasm`] if `wasm` is not a core module or a component.
pub fn strip(wasm: &[u8]) -> Result<Vec<u8>, SectionError> {
    let (header, sections) = sections(wasm)?;
    let code = sections.iter().filter(|section| section.contract.is_none()).map(|section| section.bytes);
    Ok(std::iter::once(header).chain(code).collect::<Vec<_>>().concat())
}

/// The contract in `wasm`.
///
/// # Errors
/// See [`SectionError`].
pub fn extract(wasm: &[u8]) -> Result<Contract, SectionError> {
    let (_, sections) = sections(wasm)?;
    let mut contracts = sections.iter().filter_map(|section| section.contract);
    let data = contracts.next().ok_or(SectionError::Missing)?;
    if contracts.next().is_some() {
        return Err(SectionError::Twice);
    }
    if data.len() > CONTRACT_BYTES_MAX {
        return Err(SectionError::TooLarge(data.len()));
    }
    let Versioned { version: found } = serde_json::from_slice(data)?;
    if found != VERSION {
        return Err(SectionError::UnknownVersion { found });
    }
    Ok(serde_json::from_slice(data)?)
}

/// One section at the top level of a file.
struct RawSection<'w> {
    /// All of its bytes, including its id and length.
    bytes: &'w [u8],
    /// Its content, if it is a contract.
    contract: Option<&'w [u8]>,
}

/// The file's header and its sections, which have all of its bytes.
fn sections(wasm: &[u8]) -> Result<(&[u8], Vec<RawSection<'_>>), SectionError> {
    if !Parser::is_core_wasm(wasm) && !Parser::is_component(wasm) {
        return Err(SectionError::NotWasm("it does not begin like a module or a component".to_owned()));
    }
    let broken = |error: wasmparser::BinaryReaderError| SectionError::NotWasm(error.to_string());
    let (header, body) = wasm.split_at(HEADER_BYTES);
    let mut reader = BinaryReader::new(body, HEADER_BYTES);
    let mut sections = Vec::new();
    while !reader.eof() {
        let start = reader.current_position();
        let id = reader.read_u8().map_err(broken)?;
        let length = reader.read_var_u32().map_err(broken)? as usize;
        let offset = reader.original_position();
        let content = reader.read_bytes(length).map_err(broken)?;
        let mut contract = None;
        if id == CUSTOM_SECTION_ID {
            let custom = CustomSectionReader::new(BinaryReader::new(content, offset)).map_err(broken)?;
            contract = (custom.name() == NAME).then(|| custom.data());
        }
        sections.push(RawSection { bytes: &body[start..reader.current_position()], contract });
    }
    Ok((header, sections))
}
