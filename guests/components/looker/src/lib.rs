//! Looks up what its input says in its tables: proves reference data.

heddle_sdk::component!(Looker);

use contracts::{Job, Result as Outcome};

struct Looker;

fn emit(did: String, n: i64) {
    emit_out::send(&Outcome { did, n: n as i32, everything: None });
}

fn fact(key: &str) -> i64 {
    table_facts::get(key).map_or(-1, |fact| fact.n)
}

fn price(key: &str) -> i64 {
    table_prices::get(key).map_or(-1, |price| price.cents)
}

impl on_jobs::Guest for Looker {
    fn handle(job: Job) -> Result<(), Failure> {
        let key = job.key.as_str();
        match job.do_.as_str() {
            "fact" => emit(format!("fact {key}"), fact(key)),
            "price" => emit(format!("price {key}"), price(key)),
            "facts" => table_facts::scan(key, job.after.as_deref(), job.n as u32)
                .into_iter()
                .for_each(|(key, fact)| emit(key, fact.n)),
            other => return Err(Failure::rejected(format!("there is nothing to do for {other}"))),
        }
        Ok(())
    }
}
