//! Limits on the work of the compiler. They are checked before anything is compiled, so that the refusal of a file
//! takes no more time and memory than loading a good one.

use wasmparser::{Parser, Payload};

use super::LoadError;

/// The maximum number of functions in all modules of a component. Python's runtime has 14 thousand.
const FUNCTIONS_MAX: u64 = 65_536;
/// The maximum size of a function, because compile time grows faster than the size. The largest function of Python's
/// runtime has 420 KiB.
const FUNCTION_BYTES_MAX: usize = 2 << 20;
/// The maximum size of the code. Python's runtime has 6.3 MiB, which takes nine seconds on two processors.
const CODE_BYTES_MAX: usize = 32 << 20;
/// The maximum number of nested modules and components. JavaScript's runtime has 37.
const NESTED_MAX: usize = 1024;

/// Refuses a file that exceeds a limit.
///
/// # Errors
/// If a limit is exceeded, or the sections of the file cannot be parsed.
pub(super) fn check(component: &str, wasm: &[u8]) -> Result<(), LoadError> {
    let (mut functions, mut code, mut nested) = (0_u64, 0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|e| LoadError::not_component(component, &e.to_string()))?;
        match payload {
            Payload::FunctionSection(section) => functions += u64::from(section.count()),
            Payload::CodeSectionEntry(body) => {
                let size = body.range().len();
                code += size;
                if size > FUNCTION_BYTES_MAX {
                    return Err(beyond(component, "a function of", size as u64, "bytes", FUNCTION_BYTES_MAX as u64));
                }
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => nested += 1,
            _ => {}
        }
        let bounds = [
            (functions, FUNCTIONS_MAX, "functions"),
            (code as u64, CODE_BYTES_MAX as u64, "bytes of code"),
            (nested, NESTED_MAX as u64, "modules and components inside"),
        ];
        if let Some((count, bound, what)) = bounds.into_iter().find(|(count, bound, _)| count > bound) {
            return Err(beyond(component, "at least", count, what, bound));
        }
    }
    Ok(())
}

fn beyond(component: &str, how: &str, count: u64, what: &str, bound: u64) -> LoadError {
    LoadError::TooMuch { component: component.to_owned(), what: format!("{how} {count} {what}, the bound is {bound}") }
}
