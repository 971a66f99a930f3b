//! Checks that a component was built with the types of its contract.

use heddle_contract::format::shape::{Enum, Shape, ShapeId, Shapes};
use heddle_contract::wit::{EMPTY_CASE, NEVER_CASE, NULL_CASE};
use wasmtime::component::{Type, types};

use super::signature::text;

/// Checks that a component's type has the given shape.
///
/// # Errors
/// If they differ. The error has the place and the difference.
pub(super) fn same(shapes: &Shapes, shape: ShapeId, ty: &Type) -> Result<(), String> {
    compare(shapes, shape, ty, &mut vec![])
}

fn compare(shapes: &Shapes, shape: ShapeId, ty: &Type, path: &mut Vec<String>) -> Result<(), String> {
    match (shapes.get(shape), ty) {
        (Shape::Bool, Type::Bool)
        | (Shape::S32(_), Type::S32)
        | (Shape::S64(_), Type::S64)
        | (Shape::U32, Type::U32)
        | (Shape::U64, Type::U64)
        | (Shape::F32, Type::Float32)
        | (Shape::F64, Type::Float64)
        | (Shape::String | Shape::Decimal { .. } | Shape::Json(_), Type::String) => Ok(()),
        (Shape::Bytes | Shape::Fixed(_), Type::List(list)) if list.ty() == Type::U8 => Ok(()),
        (Shape::List(item), Type::List(list)) => step("[]", path, |path| compare(shapes, *item, &list.ty(), path)),
        (Shape::Map { key, value }, Type::List(list)) => match list.ty() {
            Type::Tuple(pair) => match pair.types().collect::<Vec<_>>().as_slice() {
                [name, ty] => {
                    step("{}", path, |path| compare(shapes, *key, name, path))?;
                    step("{}", path, |path| compare(shapes, *value, ty, path))
                }
                _ => differ(path, &other("a map", ty)),
            },
            _ => differ(path, &other("a map", ty)),
        },
        (Shape::Option(inner), Type::Option(option)) => compare(shapes, *inner, &option.ty(), path),
        (Shape::Record(ours), Type::Record(record)) if !ours.fields.is_empty() => {
            let theirs = record.fields().map(|field| field.name.to_owned()).collect::<Vec<_>>();
            names(path, "fields", &ours.fields.iter().map(|field| field.label.as_str()).collect::<Vec<_>>(), &theirs)?;
            ours.fields
                .iter()
                .zip(record.fields())
                .try_for_each(|(ours, field)| step(&ours.label, path, |path| compare(shapes, ours.ty, &field.ty, path)))
        }
        (Shape::Variant(ours), Type::Variant(variant)) if !ours.cases.is_empty() => {
            let theirs = variant.cases().map(|case| case.name.to_owned()).collect::<Vec<_>>();
            names(path, "cases", &ours.cases.iter().map(|case| case.label.as_str()).collect::<Vec<_>>(), &theirs)?;
            ours.cases.iter().zip(variant.cases()).try_for_each(|(case, other)| match (case.ty, &other.ty) {
                (None, None) => Ok(()),
                (Some(shape), Some(ty)) => step(&case.label, path, |path| compare(shapes, shape, ty, path)),
                (Some(_), None) => differ(path, &format!("the schema has a value in the case `{}`", case.label)),
                (None, Some(ty)) => {
                    let (label, ty) = (&case.label, text(ty));
                    differ(path, &format!("the schema has no value in the case `{label}`, the component `{ty}`"))
                }
            })
        }
        (shape, Type::Enum(e)) if single(shape).is_some() => {
            names(path, "symbols", &single(shape).into_iter().collect::<Vec<_>>(), &symbols(e))
        }
        (Shape::Enum(Enum { symbols: ours, unrecognized: Some(unrecognized), .. }), Type::Variant(variant)) => {
            let theirs = variant.cases().map(|case| case.name.to_owned()).collect::<Vec<_>>();
            let all = ours.iter().chain([unrecognized]).map(|symbol| symbol.label.as_str()).collect::<Vec<_>>();
            names(path, "symbols", &all, &theirs)?;
            let types = variant.cases().map(|case| case.ty).collect::<Vec<_>>();
            match types.split_last() {
                Some((Some(Type::S32), rest)) if rest.iter().all(Option::is_none) => Ok(()),
                _ => differ(path, &other("an open enum", ty)),
            }
        }
        (Shape::Enum(ours), Type::Enum(e)) if ours.unrecognized.is_none() => {
            let ours = ours.symbols.iter().map(|symbol| symbol.label.as_str()).collect::<Vec<_>>();
            names(path, "symbols", &ours, &symbols(e))
        }
        (shape, ty) => differ(path, &other(kind(shape), ty)),
    }
}

/// The only case of a type that has at most one value.
fn single(shape: &Shape) -> Option<&'static str> {
    match shape {
        Shape::Null => Some(NULL_CASE),
        Shape::Record(record) if record.fields.is_empty() => Some(EMPTY_CASE),
        Shape::Variant(variant) if variant.cases.is_empty() => Some(NEVER_CASE),
        Shape::Enum(e) if e.symbols.is_empty() && e.unrecognized.is_none() => Some(NEVER_CASE),
        _ => None,
    }
}

fn symbols(e: &types::Enum) -> Vec<String> {
    e.names().map(str::to_owned).collect()
}

fn step(
    name: &str,
    path: &mut Vec<String>,
    then: impl FnOnce(&mut Vec<String>) -> Result<(), String>,
) -> Result<(), String> {
    path.push(name.to_owned());
    then(path)?;
    path.pop();
    Ok(())
}

fn names(path: &[String], what: &str, ours: &[&str], theirs: &[String]) -> Result<(), String> {
    if ours.iter().eq(theirs.iter()) {
        return Ok(());
    }
    differ(path, &format!("the schema has the {what} {}, the component {}", ours.join(", "), theirs.join(", ")))
}

fn differ(path: &[String], what: &str) -> Result<(), String> {
    let place = if path.is_empty() { "the value itself".to_owned() } else { format!("`{}`", path.join(".")) };
    Err(format!("at {place}, {what}"))
}

/// The message for a type of another kind than the schema's.
fn other(ours: &str, theirs: &Type) -> String {
    format!("the schema has {ours}, the component `{}`", text(theirs))
}

fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "a boolean",
        Shape::S32(_) => "an int",
        Shape::S64(_) => "a long",
        Shape::U32 => "an unsigned int",
        Shape::U64 => "an unsigned long",
        Shape::F32 => "a float",
        Shape::F64 => "a double",
        Shape::String => "a string",
        Shape::Decimal { .. } => "a decimal (a string in WIT)",
        Shape::Json(_) => "a type that contains itself (a string in WIT)",
        Shape::Bytes => "bytes",
        Shape::Fixed(_) => "fixed bytes",
        Shape::List(_) => "an array",
        Shape::Map { .. } => "a map",
        Shape::Option(_) => "a union with null",
        Shape::Null => "nothing but null (an enum in WIT)",
        Shape::Record(record) if record.fields.is_empty() => "a record without fields (an enum in WIT)",
        Shape::Variant(variant) if variant.cases.is_empty() => "a type without values (an enum in WIT)",
        Shape::Enum(e) if e.symbols.is_empty() => "a type without values (an enum in WIT)",
        Shape::Variant(_) => "a union",
        Shape::Record(_) => "a record",
        Shape::Enum(e) if e.unrecognized.is_some() => "an open enum (a variant in WIT)",
        Shape::Enum(_) => "an enum",
    }
}
