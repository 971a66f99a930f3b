//! Builds components in Go. Go's compiler compiles the component's package with the bindings in `heddle`.
//!
//! ```text
//!  sdk/go + wit/ ──bindings──> heddle/ ──go build──> module for wasip1 ──adapter──> component for WASI 0.2
//! ```
//!
//! It needs only Go: the bindings are generated here, and the adapter is part of this program.

mod bindings;
mod codec;
mod names;
mod types;

pub(super) use names::{exported, exported_case};

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use heddle_core::explain::Explained;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, WorldId};

use super::{BuildError, Place, read};

/// The package that components import, below their module. It is also the folder for its files.
const PACKAGE: &str = "heddle";
/// The module name in the SDK's sources.
const SDK_MODULE: &str = "heddle";
/// The sources of the SDK, without its tests.
const SDK: [(&str, &str); 6] = [
    ("heddle.go", include_str!("../../../sdk/go/heddle.go")),
    ("store.go", include_str!("../../../sdk/go/store.go")),
    ("host_wasm.go", include_str!("../../../sdk/go/host_wasm.go")),
    ("memory_wasm.go", include_str!("../../../sdk/go/memory_wasm.go")),
    ("host_fake.go", include_str!("../../../sdk/go/host_fake.go")),
    ("pairs/pairs.go", include_str!("../../../sdk/go/pairs/pairs.go")),
];
/// The oldest supported version of Go.
const GO_MIN: (u32, u32) = (1, 24);

/// Generates the package that the component in `folder` imports, by path within its folder `heddle`: the SDK, and the
/// bindings for the component's WIT files `wit`.
pub(super) fn bindings(
    folder: &Path,
    name: &str,
    wit: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, BuildError> {
    // A folder without a module is reported when it is compiled.
    let module = module(folder).unwrap_or_else(|_| default_module(name));
    let (resolve, component) = resolved(folder, wit)?;
    let path = format!("{module}/{PACKAGE}");
    let mut files = bindings::generate(&resolve, component, &path);
    let own_import = |text: &str| text.replace(&format!("\"{SDK_MODULE}/pairs\""), &format!("\"{path}/pairs\""));
    files.extend(SDK.map(|(name, text)| (name.to_owned(), own_import(text))));
    Ok(files)
}

/// Compiles the component in `folder`, whose bindings exist, and returns the component.
pub(super) fn build(place: &Place<'_>, wit: &BTreeMap<String, String>) -> Result<Vec<u8>, BuildError> {
    let folder = place.folder;
    see_to_go(folder)?;
    module(folder)?;
    let (resolve, component) = resolved(folder, wit)?;
    let own = folder.join("target").join("heddle");
    std::fs::create_dir_all(&own).map_err(BuildError::file(&own))?;
    let out = own.join("module.wasm");
    compile(folder, &out)?;
    adapted(&resolve, component, read(&out)?)
        .map_err(|e| BuildError::Componentize { component: folder.display().to_string(), what: format!("{e:#}") })
}

/// The module name that `heddle new` writes. It has a prefix, because a component's name alone may be reserved for Go's
/// own packages.
pub(super) fn default_module(name: &str) -> String {
    format!("components/{name}")
}

/// The path of the component's module in its go.mod.
fn module(folder: &Path) -> Result<String, BuildError> {
    let path = folder.join("go.mod");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let name =
        text.lines().find_map(|line| line.trim().strip_prefix("module ")).map(|name| name.trim().trim_matches('"'));
    name.map(str::to_owned).ok_or_else(|| {
        BuildError::Language(
            Explained::new("a component with language = \"go\" needs a go.mod that names its module")
                .at(path.display())
                .hint("run `go mod init <name>` there, or give a command: build = \"…\""),
        )
    })
}

/// Checks that a suitable version of Go is installed.
fn see_to_go(folder: &Path) -> Result<(), BuildError> {
    let told = Command::new("go").args(["env", "GOVERSION"]).current_dir(folder).stdin(Stdio::null()).output();
    let version = told.ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let what = match &version {
        None => "there is no Go".to_owned(),
        Some(version) if number(version).is_some_and(|number| number < GO_MIN) => {
            format!("this Go is too old: {version}")
        }
        Some(_) => return Ok(()),
    };
    let (major, minor) = GO_MIN;
    Err(BuildError::NoToolchain(
        Explained::new(what)
            .at("`go`, on the PATH")
            .hint(format_args!("install Go {major}.{minor} or later: https://go.dev/dl")),
    ))
}

/// Parses the version: `go1.26.8` is 1.26.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn resolved(folder: &Path, wit: &BTreeMap<String, String>) -> Result<(Resolve, WorldId), BuildError> {
    let failed = |what: String| BuildError::Componentize {
        component: folder.display().to_string(),
        what: format!("its WIT: {what}"),
    };
    let (mut runtime, mut own) = (SourceMap::default(), SourceMap::default());
    for (path, text) in wit {
        let package = if path.starts_with("deps/") { &mut runtime } else { &mut own };
        package.push_str(path, text.as_str());
    }
    let mut resolve = Resolve::default();
    let mut packages = vec![];
    for sources in [runtime, own] {
        let group = sources.parse().map_err(|(_, e)| failed(e.to_string()))?;
        packages.push(resolve.push_group(group).map_err(|e| failed(format!("{e:?}")))?);
    }
    let component = resolve.select_world(&packages[1..], Some("component")).map_err(|e| failed(format!("{e:#}")))?;
    Ok((resolve, component))
}

/// Runs Go's compiler, whose messages go to standard error.
fn compile(folder: &Path, out: &Path) -> Result<(), BuildError> {
    let mut go = Command::new("go");
    // The flags make builds reproducible. `-checklinkname=0` is necessary because the SDK takes memory from Go's
    // runtime without running any of its code (sdk/go/memory_wasm.go).
    go.args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w -checklinkname=0", "-o"]);
    go.arg(out).arg(".").current_dir(folder).env("GOOS", "wasip1").env("GOARCH", "wasm").env_remove("GOFLAGS");
    let status = go.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).status();
    if status.map_err(BuildError::file(folder))?.success() {
        return Ok(());
    }
    Err(BuildError::Failed { command: "go build".to_owned(), folder: folder.display().to_string() })
}

/// Converts the module to a component.
fn adapted(resolve: &Resolve, world: WorldId, mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)?;
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?;
    encoder.encode()
}
