//! Other versions of a component, made from its file with another manifest, another schema or another start.

use heddle_contract::section;

/// The digest of a version, as in the status.
pub(crate) fn digest(wasm: &[u8]) -> String {
    format!("sha256:{}", heddle::build::digest(wasm))
}

/// The same code with a changed manifest.
pub(crate) fn with_manifest(wasm: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut contract = section::extract(wasm).unwrap();
    let changed = contract.component.manifest.replace(from, to);
    assert_ne!(contract.component.manifest, changed, "there is no `{from}`");
    contract.component.manifest = changed;
    section::embed(wasm, &contract).unwrap()
}

/// The same code with a distinct deadline, and so with another digest.
pub(crate) fn numbered(wasm: &[u8], number: usize) -> Vec<u8> {
    let mut contract = section::extract(wasm).unwrap();
    contract.component.manifest += &format!("\n[limits]\ndeadline = \"{}ms\"\n", 1_000 + number);
    section::embed(wasm, &contract).unwrap()
}

/// A component that executes these WebAssembly instructions when it starts.
pub(crate) fn starting_with(wasm: &[u8], instructions: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(instructions);
    body.push(0x0b);
    let mut code = vec![1, u8::try_from(body.len()).unwrap()];
    code.extend(body);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type, and one function of that type, which is called at the start.
    for (id, content) in [(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (8, vec![0]), (10, code)] {
        module.push(id);
        module.push(u8::try_from(content.len()).unwrap());
        module.extend(content);
    }
    let mut component = wasm.to_vec();
    component.push(1);
    component.push(u8::try_from(module.len()).unwrap());
    component.extend(module);
    // An instance of that module, which is the last one and has no imports.
    let place = u8::try_from(core_modules(wasm)).unwrap();
    component.extend([2, 4, 1, 0, place, 0]);
    component
}

/// Ends with a trap.
pub(crate) const TRAPS: &[u8] = &[0x00];
/// Never ends.
pub(crate) const LOOPS: &[u8] = &[0x03, 0x40, 0x0c, 0x00, 0x0b];

/// The number of core modules at the top level of a component.
fn core_modules(wasm: &[u8]) -> usize {
    let (mut at, mut found) = (8, 0);
    while at < wasm.len() {
        let id = wasm[at];
        at += 1;
        let (mut size, mut shift) = (0usize, 0);
        loop {
            let byte = wasm[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        found += usize::from(id == 1);
        at += size;
    }
    found
}

/// The same code with an additional store that it does not use yet.
pub(crate) fn with_store(wasm: &[u8], name: &str, settings: &str) -> Vec<u8> {
    let mut contract = section::extract(wasm).unwrap();
    contract.component.manifest += &format!("\n[stores.{name}]\nvalue = \"Account\"\n{settings}\n");
    let account = contract.schemas["store:accounts"].clone();
    contract.schemas.insert(format!("store:{name}"), account);
    section::embed(wasm, &contract).unwrap()
}

/// The same code with `bytes` additional bytes that nothing reads.
pub(crate) fn with_ballast(wasm: &[u8], bytes: usize) -> Vec<u8> {
    let name = b"ballast";
    let size = u32::try_from(1 + name.len() + bytes).unwrap();
    // LEB128, in the maximum number of bytes.
    let size = [0, 7, 14, 21].map(|shift| (size >> shift & 0x7f) as u8 | 0x80);
    let mut component = wasm.to_vec();
    component.push(0);
    component.extend(size);
    component.push(0);
    component.push(u8::try_from(name.len()).unwrap());
    component.extend(name);
    component.extend(std::iter::repeat_n(7, bytes));
    component
}
