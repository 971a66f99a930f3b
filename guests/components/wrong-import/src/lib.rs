//! Emits to `out`. The tests remove that grant from its embedded manifest, so it must not load any more.

heddle_sdk::component!(WrongImport);

use contracts::{Result as Outcome, Script};

struct WrongImport;

impl on_in::Guest for WrongImport {
    fn handle(script: Script) -> Result<(), Failure> {
        emit_out::send(&Outcome { did: script.do_, n: 0, everything: None });
        Ok(())
    }
}
