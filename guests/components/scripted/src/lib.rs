//! Acts as its input says: tests the codec, and the outcome of each kind of failure.

heddle_sdk::component!(Scripted);

use contracts::{Result as Outcome, Script};

struct Scripted;

fn emit(script: &Script, n: i32, everything: Option<contracts::Everything>) {
    emit_out::send(&Outcome { did: script.do_.clone(), n, everything });
}

fn kibibytes(script: &Script) -> usize {
    usize::try_from(script.times).unwrap_or_default() << 10
}

impl on_in::Guest for Scripted {
    fn handle(script: Script) -> Result<(), Failure> {
        match script.do_.as_str() {
            "echo" => emit(&script, 0, script.everything.clone()),
            "emit-many" => (0..script.times).for_each(|n| emit(&script, n, None)),
            "emit-with-key" => {
                let header = Header { name: "attempt".into(), value: Some(context::current().attempt.to_string().into_bytes()) };
                let outcome = Outcome { did: context::current().id, n: 0, everything: None };
                emit_out::send_with(&outcome, Some("own key"), &[header]);
            }
            "emit-then-reject" => {
                emit(&script, 0, None);
                return Err(Failure::rejected("rejected, as asked"));
            }
            "fail-once" if context::current().attempt < 2 => return Err(Failure::failed("failed, as asked")),
            "fail-once" => emit(&script, 0, None),
            "trap" => {
                emit(&script, 0, None);
                panic!("as asked");
            }
            "loop" => loop {
                std::hint::black_box(());
            },
            "grow" => {
                let mut kept = vec![];
                loop {
                    kept.push(vec![1u8; 1 << 20]);
                    std::hint::black_box(&kept);
                }
            }
            "leak" => {
                emit(&script, 0, None);
                std::mem::forget(std::hint::black_box(vec![1u8; kibibytes(&script)]));
            }
            "leak-or-fail" => {
                emit(&script, 0, None);
                let mut kept = Vec::<u8>::new();
                if kept.try_reserve_exact(kibibytes(&script)).is_err() {
                    return Err(Failure::failed("no memory left"));
                }
                std::mem::forget(std::hint::black_box(kept));
            }
            "emit-wrong" => {
                let mut everything = script.everything.clone();
                if let Some(everything) = &mut everything {
                    everything.price = "1.234".into();
                }
                emit(&script, 0, everything);
            }
            other => return Err(Failure::rejected(format!("there is nothing to do for {other}"))),
        }
        Ok(())
    }
}
