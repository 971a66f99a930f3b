//! What a file may ask of the compiler: looked at before anything is compiled, so that no file takes more time and
//! memory to be refused than a good one takes to be loaded.

use wasmparser::{Parser, Payload};

use super::LoadError;

/// How many functions a component may have, over all its modules. Python's runtime has 14 thousand.
const FUNCTIONS_MAX: u64 = 65_536;
/// How large one function may be: compiling takes longer than its size grows. The largest of Python's has 420 KiB.
const FUNCTION_BYTES_MAX: usize = 2 << 20;
/// How much code there may be. Python has 6.3 MiB, which takes nine seconds of two processors.
const CODE_BYTES_MAX: usize = 32 << 20;
/// How many modules and components may be inside. JavaScript's has 37.
const NESTED_MAX: usize = 1024;

/// Refuses a file that is out of all proportion.
///
/// # Errors
/// Says which bound it breaks; or that it is no component, if its sections cannot be told apart.
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
