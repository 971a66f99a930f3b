//! Prints the descriptor of a Protobuf file as the text of a `.proto` file, because some clients send only the
//! descriptor.
//!
//! A descriptor has no comments, so they are lost. Custom options are left out.

use std::fmt::Write as _;

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

/// The maximum nesting of messages.
const DEPTH_MAX: usize = 64;

/// The text of a file.
pub(super) fn print(file: &FileDescriptorProto) -> Result<String, String> {
    let syntax = match file.syntax() {
        "" => "proto2",
        "editions" => return Err("descriptors of editions are not supported; send the file's text".to_owned()),
        other => other,
    };
    let mut printer = Printer { out: String::new(), depth: 0, is_proto3: syntax == "proto3" };
    printer.line(&format!("syntax = \"{syntax}\";"));
    if !file.package().is_empty() {
        printer.line(&format!("package {};", file.package()));
    }
    for (place, import) in file.dependency.iter().enumerate() {
        let public = file.public_dependency.iter().any(|public| usize::try_from(*public) == Ok(place));
        printer.line(&format!("import {}{};", if public { "public " } else { "" }, quoted(import)));
    }
    if let Some(options) = &file.options {
        let texts = [
            ("java_package", &options.java_package),
            ("java_outer_classname", &options.java_outer_classname),
            ("go_package", &options.go_package),
            ("csharp_namespace", &options.csharp_namespace),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                printer.line(&format!("option {name} = {};", quoted(text)));
            }
        }
        if let Some(flag) = options.java_multiple_files {
            printer.line(&format!("option java_multiple_files = {flag};"));
        }
    }
    for message in &file.message_type {
        printer.message(message)?;
    }
    file.enum_type.iter().for_each(|e| printer.enumeration(e));
    printer.extensions(&file.extension);
    file.service.iter().for_each(|service| printer.service(service));
    Ok(printer.out)
}

struct Printer {
    out: String,
    depth: usize,
    is_proto3: bool,
}

impl Printer {
    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{:indent$}{text}", "", indent = 2 * self.depth);
    }

    fn open(&mut self, text: &str) {
        self.line(&format!("{text} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    fn message(&mut self, message: &DescriptorProto) -> Result<(), String> {
        if self.depth > DEPTH_MAX {
            return Err(format!("messages are nested more than {DEPTH_MAX} deep"));
        }
        self.open(&format!("message {}", message.name()));
        if message.options.as_ref().is_some_and(|options| options.deprecated()) {
            self.line("option deprecated = true;");
        }
        for range in &message.reserved_range {
            self.line(&format!("reserved {};", span(range.start(), range.end() - 1)));
        }
        for name in &message.reserved_name {
            self.line(&format!("reserved {};", quoted(name)));
        }
        for range in &message.extension_range {
            self.line(&format!("extensions {};", span(range.start(), range.end() - 1)));
        }
        for child in message.nested_type.iter().filter(|child| !is_map_entry(child)) {
            self.message(child)?;
        }
        message.enum_type.iter().for_each(|e| self.enumeration(e));
        let in_oneof = |field: &FieldDescriptorProto| field.oneof_index.filter(|_| !field.proto3_optional());
        for field in message.field.iter().filter(|field| in_oneof(field).is_none()) {
            self.field(field, message, true);
        }
        for (place, oneof) in message.oneof_decl.iter().enumerate() {
            let fields = message.field.iter();
            let fields = fields.filter(|field| in_oneof(field).and_then(|at| usize::try_from(at).ok()) == Some(place));
            let fields = fields.collect::<Vec<_>>();
            if !fields.is_empty() {
                self.open(&format!("oneof {}", oneof.name()));
                fields.into_iter().for_each(|field| self.field(field, message, false));
                self.close();
            }
        }
        self.extensions(&message.extension);
        self.close();
        Ok(())
    }

    fn field(&mut self, field: &FieldDescriptorProto, message: &DescriptorProto, labelled: bool) {
        let entry = message.nested_type.iter().filter(|child| is_map_entry(child)).find(|child| {
            field.r#type() == Type::Message && field.type_name().rsplit('.').next() == Some(child.name())
        });
        let options = options_of(field);
        if let Some([key, value]) = entry.map(|entry| entry.field.as_slice()) {
            let ty = format!("map<{}, {}>", type_of(key), type_of(value));
            return self.line(&format!("{ty} {} = {}{options};", field.name(), field.number()));
        }
        let label = match field.label() {
            _ if !labelled => "",
            Label::Repeated => "repeated ",
            Label::Required => "required ",
            Label::Optional if !self.is_proto3 || field.proto3_optional() => "optional ",
            Label::Optional => "",
        };
        self.line(&format!("{label}{} {} = {}{options};", type_of(field), field.name(), field.number()));
    }

    fn extensions(&mut self, extensions: &[FieldDescriptorProto]) {
        for field in extensions {
            self.open(&format!("extend {}", field.extendee()));
            self.field(field, &DescriptorProto::default(), true);
            self.close();
        }
    }

    fn enumeration(&mut self, e: &EnumDescriptorProto) {
        self.open(&format!("enum {}", e.name()));
        if e.options.as_ref().is_some_and(|options| options.allow_alias()) {
            self.line("option allow_alias = true;");
        }
        for range in &e.reserved_range {
            self.line(&format!("reserved {};", span(range.start(), range.end())));
        }
        for name in &e.reserved_name {
            self.line(&format!("reserved {};", quoted(name)));
        }
        for value in &e.value {
            self.line(&format!("{} = {};", value.name(), value.number()));
        }
        self.close();
    }

    fn service(&mut self, service: &ServiceDescriptorProto) {
        self.open(&format!("service {}", service.name()));
        for method in &service.method {
            let stream = |on: bool| if on { "stream " } else { "" };
            let (takes, gives) = (stream(method.client_streaming()), stream(method.server_streaming()));
            let (input, output) = (method.input_type(), method.output_type());
            self.line(&format!("rpc {}({takes}{input}) returns ({gives}{output});", method.name()));
        }
        self.close();
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

fn type_of(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().to_owned(),
        plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn options_of(field: &FieldDescriptorProto) -> String {
    let mut options = vec![];
    if let Some(default) = &field.default_value {
        let is_text = matches!(field.r#type(), Type::String | Type::Bytes);
        options.push(format!("default = {}", if is_text { quoted(default) } else { default.clone() }));
    }
    if let Some(given) = &field.options {
        options.extend(given.packed.map(|packed| format!("packed = {packed}")));
        options.extend(given.deprecated.map(|deprecated| format!("deprecated = {deprecated}")));
    }
    if let Some(name) = field.json_name.as_ref().filter(|name| **name != camel(field.name())) {
        options.push(format!("json_name = {}", quoted(name)));
    }
    if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) }
}

/// The default name of a field in JSON.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else {
            out.extend(if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] });
            upper = false;
        }
    }
    out
}

fn span(from: i32, to: i32) -> String {
    if from == to {
        from.to_string()
    } else if to >= 536_870_911 {
        format!("{from} to max")
    } else {
        format!("{from} to {to}")
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
