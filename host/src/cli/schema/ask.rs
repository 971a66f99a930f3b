//! Two questions: whether one schema reads what another wrote, and, about Avro, which value it reads from given bytes.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use heddle_contract::format::avro::binary::Reader;
use heddle_contract::format::avro::resolve::resolve;
use heddle_contract::format::avro::{self, json, parse, read};
use heddle_contract::format::{self, Entry, Named, Plan, Schema};
use heddle_contract::section::SchemaFormat;
use heddle_core::explain::Explained;
use serde_json::{Value, json};

use crate::build::schema_of_file;
use crate::printable::line;

/// Two schemas.
#[derive(Debug, Args)]
struct Pair {
    /// The file of the reader's schema.
    #[arg(long, value_name = "FILE", required_unless_present = "jsonl")]
    reader: Option<PathBuf>,

    /// The file of the writer's schema.
    #[arg(long, value_name = "FILE", required_unless_present = "jsonl")]
    writer: Option<PathBuf>,
}

/// Options of `compat`.
#[derive(Debug, Args)]
pub(super) struct Compat {
    #[command(flatten)]
    pair: Pair,

    /// Answer many: objects with `reader`, `writer` and, for other formats than Avro, `schemaType` (`JSON` or
    /// `PROTOBUF`), one a line on standard input; an object a line out.
    #[arg(long, conflicts_with_all = ["reader", "writer", "json"])]
    jsonl: bool,

    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Options of `resolve`.
#[derive(Debug, Args)]
pub(super) struct Resolve {
    #[command(flatten)]
    pair: Pair,

    /// The value as the writer wrote it: Avro binary, without schema id, in hexadecimal.
    #[arg(long, value_name = "BYTES", required_unless_present = "jsonl")]
    hex: Option<String>,

    /// Answer many: objects with `reader`, `writer` and `hex`, one per line of standard input; one object per line out.
    #[arg(long, conflicts_with_all = ["reader", "writer", "hex", "json"])]
    jsonl: bool,

    /// Print the answer as JSON, an object with `value` or `error`.
    #[arg(long)]
    json: bool,
}

impl Compat {
    pub(super) fn run(&self) -> Result<()> {
        if self.jsonl {
            return lines(|question| match both_of_format(question) {
                Ok((reader, writer)) => verdict(&reader, &writer),
                Err(error) => json!({ "error": error }),
            });
        }
        let [reader, writer] = self.pair.files().map(schema_of_file);
        let verdict = verdict(&reader?, &writer?);
        if self.json {
            println!("{verdict}");
        } else if verdict["compatible"] == true {
            println!("compatible: {}", line(verdict["message"].as_str().unwrap_or_default()));
        }
        if verdict["compatible"] != true {
            bail!("incompatible: {}", verdict["message"].as_str().unwrap_or_default());
        }
        Ok(())
    }
}

impl Resolve {
    pub(super) fn run(&self) -> Result<()> {
        if self.jsonl {
            return lines(|question| {
                let answer = both(question).and_then(|(reader, writer)| {
                    let hex = question.get("hex").and_then(Value::as_str).ok_or("the text `hex` is missing")?;
                    resolved(&reader, &writer, &unhex(hex)?)
                });
                answer.map_or_else(|error| json!({ "error": error }), |value| json!({ "value": value }))
            });
        }
        let (reader, writer) = self.pair.read()?;
        let bytes = unhex(self.hex.as_deref().unwrap_or_default());
        match (bytes.and_then(|bytes| resolved(&reader, &writer, &bytes)), self.json) {
            (Ok(value), true) => println!("{}", json!({ "value": value })),
            (Ok(value), false) => println!("{value}"),
            (Err(error), as_json) => {
                if as_json {
                    println!("{}", json!({ "error": error }));
                }
                bail!("the bytes cannot be read: {error}");
            }
        }
        Ok(())
    }
}

impl Pair {
    /// The files of the reader and the writer.
    fn files(&self) -> [&Path; 2] {
        [&self.reader, &self.writer].map(|path| path.as_deref().unwrap_or(Path::new("")))
    }

    /// Both schemas, which are Avro.
    fn read(&self) -> Result<(avro::Schema, avro::Schema)> {
        let schema = |path: &Path| {
            let text = std::fs::read_to_string(path)
                .with_context(|| Explained::new("the schema cannot be read").at(path.display()))?;
            Ok::<_, anyhow::Error>(parse(&path.display().to_string(), &text)?)
        };
        let [reader, writer] = self.files();
        Ok((schema(reader)?, schema(writer)?))
    }
}

/// Answers standard input line by line. A line that is not a question gets an error as its answer.
fn lines(answer: impl Fn(&Value) -> Value) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answered = match serde_json::from_str::<Value>(&line) {
            Ok(question) => answer(&question),
            Err(error) => json!({ "error": format!("the line is not JSON: {error}") }),
        };
        println!("{answered}");
    }
    Ok(())
}

/// Both schemas of a question, in the format that it names.
fn both_of_format(question: &Value) -> Result<(Schema, Schema), String> {
    let named = question.get("schemaType").map_or(Some("AVRO"), Value::as_str);
    let format = named.and_then(|name| name.parse::<Named>().ok());
    let Named(format) = format.ok_or("`schemaType` is none of AVRO, JSON and PROTOBUF")?;
    if format == SchemaFormat::Avro {
        let (reader, writer) = both(question)?;
        return Ok((reader.into(), writer.into()));
    }
    let schema = |key: &str| {
        let text = match question.get(key).ok_or_else(|| format!("there is no `{key}`"))? {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        format::parse(&Entry::new(format, text), &[]).map_err(|what| format!("the {key}'s schema: {what}"))
    };
    Ok((schema("reader")?, schema("writer")?))
}

fn both(question: &Value) -> Result<(avro::Schema, avro::Schema), String> {
    let schema = |key: &str| {
        let text = match question.get(key) {
            None => return Err(format!("there is no `{key}`")),
            // A schema given as text. A bare name is one of Avro's types.
            Some(Value::String(text)) if text.trim_start().starts_with(['{', '[', '"']) => text.clone(),
            Some(value) => value.to_string(),
        };
        parse(&format!("the {key}'s schema"), &text).map_err(|error| error.to_string())
    };
    Ok((schema("reader")?, schema("writer")?))
}

fn verdict(reader: &Schema, writer: &Schema) -> Value {
    let problems = reader.problems(writer);
    let rules = if reader.format() == SchemaFormat::Avro { "Avro's" } else { "Confluent's" };
    let message = if !problems.is_empty() {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    } else if let Some(problem) = reader.reads(writer).first() {
        format!("by {rules} rules, but a component cannot read it, {problem}")
    } else if let Some(mismatch) = Plan::of(writer, reader).mismatches().first() {
        // Avro ignores logical types here, but Heddle refuses to read a decimal with another scale.
        format!("by {rules} rules, but a component cannot read it, at `{}`: {}", mismatch.path, mismatch.what)
    } else {
        "the reader reads everything that the writer writes".to_owned()
    };
    json!({"compatible": problems.is_empty(), "message": message})
}

fn resolved(reader: &avro::Schema, writer: &avro::Schema, bytes: &[u8]) -> Result<Value, String> {
    let plan = resolve(writer, reader);
    let mut input = Reader::new(bytes);
    let value = read::json(&plan, plan.root(), reader, reader.root(), &mut input, 0).map_err(|e| e.to_string())?;
    input.finish().map_err(|e| e.to_string())?;
    Ok(json::strict(reader, reader.root(), value))
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text).bytes().filter(|byte| !byte.is_ascii_whitespace());
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(|| "the bytes are not hexadecimal".to_owned());
    let digits = digits.map(digit).collect::<Result<Vec<_>, _>>()?;
    if digits.len() % 2 == 1 {
        return Err("the bytes end in the middle of one: a hexadecimal digit is missing".to_owned());
    }
    Ok(digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect())
}
