//! Checks that a component was built with the types of its contract.

use heddle_contract::wit::{EMPTY_CASE, NEVER_CASE, NULL_CASE, Shape, ShapeId, Shapes};
use wasmtime::component::{Type, types};

/// Checks that a component's type has the given shape.
///
/// # Errors
/// If they differ. The error says where and how.
pub(super) fn same(shapes: &Shapes, shape: ShapeId, ty: &Type) -> Result<(), String> {
    compare(shapes, shape, ty, &mut vec![])
}

fn compare(shapes: &Shapes, shape: ShapeId, ty: &Type, path: &mut Vec<String>) -> Result<(), String> {
    match (shapes.get(shape), ty) {
        (Shape::Bool, Type::Bool)
        | (Shape::S32, Type::S32)
        | (Shape::S64, Type::S64)
        | (Shape::F32, Type::Float32)
        | (Shape::F64, Type::Float64)
        | (Shape::String | Shape::Decimal(_) | Shape::Json(_), Type::String) => Ok(()),
        (Shape::Bytes | Shape::Fixed(_), Type::List(list)) if list.ty() == Type::U8 => Ok(()),
        (Shape::List(item), Type::List(list)) => step("[]", path, |path| compare(shapes, *item, &list.ty(), path)),
        (Shape::Map(value), Type::List(list)) => match list.ty() {
            Type::Tuple(pair) => match pair.types().collect::<Vec<_>>().as_slice() {
                [Type::String, ty] => step("{}", path, |path| compare(shapes, *value, ty, path)),
                _ => differ(path, "the schema has a map"),
            },
            _ => differ(path, "the schema has a map"),
        },
        (Shape::Option { ty: inner, .. }, Type::Option(option)) => compare(shapes, *inner, &option.ty(), path),
        (Shape::Record(fields), Type::Record(record)) => {
            let theirs = record.fields().map(|field| field.name.to_owned()).collect::<Vec<_>>();
            names(path, "fields", &fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), &theirs)?;
            fields.iter().zip(record.fields()).try_for_each(|((name, shape), field)| {
                step(name, path, |path| compare(shapes, *shape, &field.ty, path))
            })
        }
        (Shape::Variant(cases), Type::Variant(variant)) => {
            let theirs = variant.cases().map(|case| case.name.to_owned()).collect::<Vec<_>>();
            names(path, "cases", &cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), &theirs)?;
            cases.iter().zip(variant.cases()).try_for_each(|(case, other)| match (case.ty, &other.ty) {
                (None, None) => Ok(()),
                (Some(shape), Some(ty)) => step(&case.name, path, |path| compare(shapes, shape, ty, path)),
                _ => differ(path, &format!("the case `{}` differs", case.name)),
            })
        }
        (Shape::Enum(ours), Type::Enum(e)) => {
            names(path, "symbols", &ours.iter().map(String::as_str).collect::<Vec<_>>(), &symbols(e))
        }
        (Shape::Null, Type::Enum(e)) => names(path, "symbols", &[NULL_CASE], &symbols(e)),
        (Shape::Empty, Type::Enum(e)) => names(path, "symbols", &[EMPTY_CASE], &symbols(e)),
        (Shape::Never, Type::Enum(e)) => names(path, "symbols", &[NEVER_CASE], &symbols(e)),
        (shape, _) => differ(path, &format!("the schema has {}", kind(shape))),
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

fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "a boolean",
        Shape::S32 => "an int",
        Shape::S64 => "a long",
        Shape::F32 => "a float",
        Shape::F64 => "a double",
        Shape::String => "a string",
        Shape::Decimal(_) => "a decimal (a string in WIT)",
        Shape::Json(_) => "a type that contains itself (a string in WIT)",
        Shape::Bytes => "bytes",
        Shape::Fixed(_) => "fixed bytes",
        Shape::List(_) => "an array",
        Shape::Map(_) => "a map",
        Shape::Option { .. } => "a union with null",
        Shape::Variant(_) => "a union",
        Shape::Record(_) => "a record",
        Shape::Enum(_) => "an enum",
        Shape::Null => "nothing but null (an enum in WIT)",
        Shape::Empty => "a record without fields (an enum in WIT)",
        Shape::Never => "a type without values (an enum in WIT)",
    }
}
