//! Reads what other components emit: tests the headers that they carry.

heddle_sdk::component!(Reader);

use contracts::Result as Outcome;

struct Reader;

impl on_out::Guest for Reader {
    fn handle(outcome: Outcome) -> Result<(), Failure> {
        log::info!("read {}", outcome.did);
        Ok(())
    }
}
