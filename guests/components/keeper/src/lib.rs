//! Acts on its stores as its input says: tests state, message ids, random numbers and log lines.

heddle_sdk::component!(Keeper);

use contracts::{Count, Inner, Job, Result as Outcome, Script};

struct Keeper;

fn emit(did: impl Into<String>, n: i64) {
    emit_out::send(&Outcome { did: did.into(), n: n as i32, everything: None });
}

fn put(key: &str, n: i64) {
    store_counts::put(key, &Count { n, weight: "0.50".into(), note: None });
}

fn get(key: &str) -> i64 {
    store_counts::get(key).map_or(-1, |count| count.n)
}

fn count(key: &str, n: i64) {
    let before = store_counts::get(key).map_or(0, |count| count.n);
    put(key, before + n);
    emit(key, before + n);
}

/// All functions of `random`.
fn numbers() -> String {
    format!("{} {:?} {}", random::next_u64(), random::bytes(5), random::range(0..10))
}

impl on_jobs::Guest for Keeper {
    fn handle(job: Job) -> Result<(), Failure> {
        let Job { key, n, .. } = job;
        let number = i64::from(n);
        match job.do_.as_str() {
            "count" => count(&key, number),
            "count-twice" => (0..2).for_each(|_| count(&key, number)),
            "get" => match store_counts::get(&key) {
                Some(Count { n, weight, note }) => emit(format!("{weight} {note:?}"), n),
                None => emit("none", -1),
            },
            "delete" => {
                store_counts::delete(&key);
                emit(&key, get(&key));
            }
            "put-and-scan" => {
                put(&key, number);
                store_counts::delete("a2");
                store_counts::scan("a", None, 10).into_iter().for_each(|(key, count)| emit(key, count.n));
            }
            "scan" => {
                let found = store_counts::scan(&key, job.after.as_deref(), n as u32);
                found.into_iter().for_each(|(key, count)| emit(key, count.n));
            }
            "put-then-reject" => {
                count(&key, number);
                return Err(Failure::rejected("rejected, as asked"));
            }
            "put-then-trap" => {
                count(&key, number);
                panic!("as asked");
            }
            "put-then-fail-once" => {
                count(&key, number);
                if context::current().attempt < 2 {
                    return Err(Failure::failed("failed, as asked"));
                }
            }
            "put-wrong" => store_counts::put(&key, &Count { n: 0, weight: "1.234".into(), note: None }),
            "put-long" => {
                let note = Some("x".repeat(n as usize));
                store_counts::put(&key, &Count { n: 0, weight: "0".into(), note });
            }
            "raw" => {
                store_raw::put(&[0, 0xff], &Count { n: number, weight: "0".into(), note: None });
                store_raw::put(&[0], &Count { n: 0, weight: "0".into(), note: None });
                store_raw::scan(&[0], Some(&[0]), 10).into_iter().for_each(|(key, count)| emit(format!("{key:?}"), count.n));
            }
            "typed" => {
                let before = store_typed::get(Inner { x: n }).map_or(0, |count| count.n);
                store_typed::put(Inner { x: n }, &Count { n: before + 1, weight: "0".into(), note: None });
                emit("typed", before + 1);
            }
            "random" => emit(numbers(), 0),
            "random-fail-once" => {
                log::warn!("{}", numbers());
                return Err(Failure::failed("failed, as asked"));
            }
            "random-many" => emit("random", random::bytes(n as u32).len() as i64),
            "log" | "log-and-reject" => {
                log::debug!("a debug line");
                log::info!("an info line");
                log::warn!("a warning");
                log::error!("an error");
                if job.do_ == "log-and-reject" {
                    return Err(Failure::rejected("rejected, as asked"));
                }
            }
            "log-much" => (0..=n).for_each(|n| log::info!("{n} {}", "x".repeat(10_000))),
            other => return Err(Failure::rejected(format!("there is nothing to do for {other}"))),
        }
        Ok(())
    }
}

impl on_in::Guest for Keeper {
    fn handle(script: Script) -> Result<(), Failure> {
        count(&script.do_, 1);
        Ok(())
    }
}
