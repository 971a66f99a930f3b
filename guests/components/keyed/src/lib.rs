//! Consumes and emits records with a key that has a schema: tests typed keys both ways.

heddle_sdk::component!(Keyed);

use contracts::{Inner, Result as Outcome, Script};

struct Keyed;

impl on_in::Guest for Keyed {
    fn handle(script: Script, key: Option<Inner>) -> Result<(), Failure> {
        let key = key.ok_or_else(|| Failure::rejected("there is no key"))?;
        let outcome = Outcome { did: script.do_, n: key.x, everything: None };
        emit_out::send_with(&outcome, Some(Inner { x: key.x + 1 }), &[]);
        Ok(())
    }
}
