//! Fails in every way, for a while or forever: tests the handling of failed records.

heddle_sdk::component!(Patient);

use contracts::{Count, Result as Outcome, Script};

struct Patient;

/// The key of the flag that "open" sets. The other keys are those of the counts.
const OPEN: &str = "is it open";

/// Counts the records of the key and emits the count, so that a missing or repeated record changes all later ones.
fn count(key: &str, script: &Script) {
    let before = store_counts::get(key).map_or(0, |count| count.n);
    store_counts::put(key, &Count { n: before + 1, weight: "0".into(), note: None });
    emit_out::send(&Outcome { did: format!("{} {}", script.do_, before + 1), n: script.times, everything: None });
}

/// Recurses forever, with hardly any use of the stack that Rust keeps in the memory.
fn dig(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { std::hint::black_box(depth) + dig(depth + 1) }
}

impl on_in::Guest for Patient {
    fn handle(script: Script) -> Result<(), Failure> {
        let delivery = context::current();
        let key = String::from_utf8_lossy(delivery.key.as_deref().unwrap_or_default()).into_owned();
        // Effects before a failure must leave no trace.
        count(&key, &script);
        let what = match script.do_.as_str() {
            // The id begins with the component's full name, so one file behaves differently under several names.
            "by-name" if delivery.id.contains(".looper/") => "deadline",
            "by-name" if delivery.id.contains(".eater/") => "memory",
            "by-name" if delivery.id.contains(".trapper/") => "trap",
            "by-name" => "count",
            other => other,
        };
        match what {
            "count" => {}
            "open" => store_counts::put(OPEN, &Count { n: 1, weight: "0".into(), note: None }),
            "needs-open" if store_counts::get(OPEN).is_none() => return Err(Failure::failed("it is not open")),
            "needs-open" => {}
            "fail-at-first" if delivery.attempt < 4 => return Err(Failure::failed("not yet")),
            "fail-at-first" => {}
            "failed" => return Err(Failure::failed("never")),
            "rejected" => return Err(Failure::rejected("no")),
            "trap" => panic!("as asked"),
            "deadline" => loop {
                std::hint::black_box(());
            },
            "memory" => {
                let mut kept = vec![];
                loop {
                    kept.push(vec![1u8; 1 << 20]);
                    std::hint::black_box(&kept);
                }
            }
            "stack" => {
                log::info!("{}", dig(0));
            }
            "output" => (0..10).for_each(|_| count(&key, &script)),
            "output-bytes" => {
                let did = "x".repeat(80 << 10);
                emit_out::send(&Outcome { did, n: 0, everything: None });
            }
            "state" => store_counts::put(&key, &Count { n: 1, weight: "0".into(), note: Some("x".repeat(5 << 10)) }),
            "emit" => {
                let did = String::new();
                let mut everything = script.everything.clone();
                if let Some(everything) = &mut everything {
                    everything.price = "1.234".into();
                }
                emit_out::send(&Outcome { did, n: 0, everything });
            }
            // The script gives the size, for topics that refuse it.
            "emit-bytes" => {
                emit_out::send(&Outcome { did: "x".repeat(script.times as usize), n: 0, everything: None });
            }
            "state-bytes" => {
                let note = Some("x".repeat(script.times as usize));
                store_counts::put(&key, &Count { n: 1, weight: "0".into(), note });
            }
            "reason-bytes" => return Err(Failure::rejected("r".repeat(script.times as usize))),
            "talk" => {
                (0..100).for_each(|n| log::info!("line {n}"));
                return Err(Failure::rejected("said too much"));
            }
            other => return Err(Failure::rejected(format!("there is nothing to do for {other}"))),
        }
        Ok(())
    }
}
