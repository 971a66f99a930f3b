//! Exact 64-bit integers in components of QuickJS.
//!
//! The tool passes them to JavaScript as numbers, which are exact only up to 2^53, so larger ones would change
//! silently. Therefore this module replaces the runtime's four functions for these integers in the finished component.
//! The new ones pass the 16 hexadecimal digits as a string, which the SDK converts to and from a `BigInt`.
//!
//! ```text
//!  push_s64(cx, value)   ──>  push_string(cx, digits of value, 16)
//!  pop_s64(cx) -> value  ──>  value of the digits at pop_string(cx, place)
//! ```

use std::ops::Range;

use wasm_encoder::{BlockType, CodeSection, ComponentSectionId, Encode as _, Function, MemArg, SectionId, ValType};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The number of hexadecimal digits of 64 bits.
const DIGITS: i32 = 16;
const BYTE: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };
const WORD: MemArg = MemArg { offset: 0, align: 2, memory_index: 0 };

/// Returns the component with the runtime's functions replaced.
///
/// # Errors
/// The reason why they cannot be replaced.
pub(super) fn exact(component: &[u8]) -> Result<Vec<u8>, String> {
    let mut replaced = 0;
    let out = component_with(component, &mut replaced)?;
    if replaced == 1 { Ok(out) } else { Err(format!("there are {replaced} runtimes in it, not one")) }
}

/// Copies a component section by section, and descends into components and modules.
fn component_with(component: &[u8], replaced: &mut usize) -> Result<Vec<u8>, String> {
    let mut out = component.get(..8).ok_or("it is cut off")?.to_vec();
    for (id, content) in sections(component)? {
        let bytes = &component[content];
        out.push(id);
        if id == ComponentSectionId::Component as u8 {
            component_with(bytes, replaced)?.encode(&mut out);
        } else if id == ComponentSectionId::CoreModule as u8 {
            match Runtime::of(bytes)? {
                Some(runtime) => {
                    *replaced += 1;
                    runtime.module_with(bytes)?.encode(&mut out);
                }
                None => bytes.encode(&mut out),
            }
        } else {
            bytes.encode(&mut out);
        }
    }
    Ok(out)
}

/// The sections of a module or component: the id of each, and the range of its content.
fn sections(bytes: &[u8]) -> Result<Vec<(u8, Range<usize>)>, String> {
    let (mut found, mut at) = (vec![], 8);
    while at < bytes.len() {
        let id = bytes[at];
        let (mut length, mut shift) = (0usize, 0);
        loop {
            at += 1;
            let byte = *bytes.get(at).filter(|_| shift < 35).ok_or("a section is cut off")?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let content = at + 1..at + 1 + length;
        if content.end > bytes.len() {
            return Err("a section is cut off".to_owned());
        }
        at = content.end;
        found.push((id, content));
    }
    Ok(found)
}

/// The functions of the runtime, by their indices.
struct Runtime {
    imported: u32,
    stack_pointer: u32,
    push: [u32; 2],
    pop: [u32; 2],
    push_string: u32,
    pop_string: u32,
    allocate: u32,
}

impl Runtime {
    /// The functions of a module, or `None` if it is not the runtime.
    fn of(module: &[u8]) -> Result<Option<Self>, String> {
        let (mut functions, mut globals, mut stack_pointer) = (0, 0, None);
        let mut exports = std::collections::BTreeMap::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(|e| e.to_string())? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import.map_err(|e| e.to_string())?;
                        match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => functions += 1,
                            TypeRef::Global(_) => {
                                if import.name == "__stack_pointer" {
                                    stack_pointer = Some(globals);
                                }
                                globals += 1;
                            }
                            _ => {}
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(|e| e.to_string())?;
                        if export.kind == ExternalKind::Func {
                            exports.insert(export.name, export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        let function = |name: &str| exports.get(name).copied();
        let (Some(push), Some(pop)) = (function("wit_dylib_push_s64"), function("wit_dylib_pop_s64")) else {
            return Ok(None);
        };
        let needed = |name: &str| function(name).ok_or_else(|| format!("its runtime has no `{name}`"));
        Ok(Some(Self {
            imported: functions,
            stack_pointer: stack_pointer.ok_or("its runtime has no stack")?,
            push: [push, needed("wit_dylib_push_u64")?],
            pop: [pop, needed("wit_dylib_pop_u64")?],
            push_string: needed("wit_dylib_push_string")?,
            pop_string: needed("wit_dylib_pop_string")?,
            allocate: needed("cabi_realloc")?,
        }))
    }

    /// The module with the four functions replaced.
    fn module_with(&self, module: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = module[..8].to_vec();
        for (id, content) in sections(module)? {
            let bytes = &module[content.clone()];
            if id != SectionId::Code as u8 {
                out.push(id);
                bytes.encode(&mut out);
                continue;
            }
            let reader = wasmparser::BinaryReader::new(bytes, content.start);
            let bodies = wasmparser::CodeSectionReader::new(reader).map_err(|e| e.to_string())?;
            let mut code = CodeSection::new();
            for (index, body) in (self.imported..).zip(bodies) {
                let body = body.map_err(|e| e.to_string())?;
                if self.push.contains(&index) {
                    code.function(&self.push_digits());
                } else if self.pop.contains(&index) {
                    code.function(&self.pop_digits());
                } else {
                    let range = body.range();
                    code.raw(&module[range]);
                }
            }
            out.push(SectionId::Code as u8);
            code.encode(&mut out);
        }
        Ok(out)
    }

    /// `(cx, value) -> ()`
    fn push_digits(&self) -> Function {
        const CX: u32 = 0;
        const VALUE: u32 = 1;
        const PLACE: u32 = 2;
        const LEFT: u32 = 3;
        const DIGIT: u32 = 4;
        let mut function = Function::new([(3, ValType::I32)]);
        let mut code = function.instructions();
        // The callee owns the string and frees it.
        code.i32_const(0).i32_const(0).i32_const(1).i32_const(DIGITS).call(self.allocate).local_set(PLACE);
        code.i32_const(DIGITS).local_set(LEFT);
        code.loop_(BlockType::Empty);
        code.local_get(VALUE).i32_wrap_i64().i32_const(15).i32_and().local_set(DIGIT);
        code.local_get(VALUE).i64_const(4).i64_shr_u().local_set(VALUE);
        code.local_get(LEFT).i32_const(1).i32_sub().local_tee(LEFT).local_get(PLACE).i32_add();
        // '0' is 48. The digit after '9' is 'a', which is 97: 39 more.
        code.local_get(DIGIT).i32_const(48).i32_add();
        code.local_get(DIGIT).i32_const(9).i32_gt_u().i32_const(39).i32_mul().i32_add();
        code.i32_store8(BYTE);
        code.local_get(LEFT).br_if(0).end();
        code.local_get(CX).local_get(PLACE).i32_const(DIGITS).call(self.push_string).end();
        function
    }

    /// `(cx) -> value`
    fn pop_digits(&self) -> Function {
        const CX: u32 = 0;
        const PLACE: u32 = 1;
        const LEFT: u32 = 2;
        const DIGIT: u32 = 3;
        const VALUE: u32 = 4;
        let mut function = Function::new([(3, ValType::I32), (1, ValType::I64)]);
        let mut code = function.instructions();
        // Uses 16 bytes of stack for the address of the string.
        code.global_get(self.stack_pointer).i32_const(16).i32_sub().local_tee(PLACE).global_set(self.stack_pointer);
        code.local_get(CX).local_get(PLACE).call(self.pop_string).local_set(LEFT);
        code.local_get(PLACE).i32_const(16).i32_add().global_set(self.stack_pointer);
        code.local_get(PLACE).i32_load(WORD).local_set(PLACE);
        code.local_get(LEFT).i32_const(DIGITS).i32_ne().if_(BlockType::Empty).unreachable().end();
        code.loop_(BlockType::Empty);
        code.local_get(PLACE).i32_load8_u(BYTE).local_set(DIGIT);
        code.local_get(PLACE).i32_const(1).i32_add().local_set(PLACE);
        code.local_get(VALUE).i64_const(4).i64_shl();
        // The low half of '0' to '9' is their value; for 'a' to 'f' it is nine less. Only letters have the bit of 64.
        code.local_get(DIGIT).i32_const(15).i32_and();
        code.local_get(DIGIT).i32_const(6).i32_shr_u().i32_const(9).i32_mul().i32_add();
        code.i64_extend_i32_u().i64_add().local_set(VALUE);
        code.local_get(LEFT).i32_const(1).i32_sub().local_tee(LEFT).br_if(0).end();
        code.local_get(VALUE).end();
        function
    }
}
