//! Acts as its input says, and uses every feature of a component. Its siblings in the other languages have the
//! same outputs, state and failures.

mod made;
#[cfg(test)]
mod tests;

heddle_sdk::component!(Conformance);

use contracts::{Point, Probe, Probed};

struct Conformance;

fn emit(did: &str, n: i64, text: String) {
    emit_probe_values_out::send(&Probed { did: did.to_owned(), n, text, constructs: None });
}

fn emit_constructs(did: &str, constructs: Option<contracts::Constructs>) {
    emit_probe_values_out::send(&Probed { did: did.to_owned(), n: 0, text: String::new(), constructs });
}

/// Formats bytes as text in the same way as all languages: `[0,255]`.
fn listed(bytes: &[u8]) -> String {
    format!("[{}]", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(","))
}

/// All data of the delivery.
fn delivery() -> String {
    let it = context::current();
    let optional = |bytes: Option<&Vec<u8>>| bytes.map_or_else(|| "none".to_owned(), |bytes| listed(bytes));
    let headers = it.headers.iter().map(|header| format!("{}={}", header.name, optional(header.value.as_ref())));
    format!(
        "{} {} {} {} {} {} {} {}",
        // The components have different names.
        it.id.split_once('/').map_or("", |(_, place)| place),
        it.attempt,
        it.topic,
        it.partition,
        it.offset,
        it.timestamp,
        optional(it.key.as_ref()),
        headers.collect::<Vec<_>>().join(";"),
    )
}

fn point(x: i32) -> Point {
    Point { x, y: Some(0.5) }
}

/// Runs an action on stores. Returns `false` for any other action.
fn stores(probe: &Probe) -> bool {
    match probe.do_.as_str() {
        "put" => {
            if let Some(constructs) = &probe.constructs {
                store_things::put(&probe.text, constructs);
            }
        }
        "get" => emit_constructs("get", store_things::get(&probe.text)),
        "delete" => {
            store_things::delete(&probe.text);
            emit_constructs("deleted", store_things::get(&probe.text));
        }
        "scan" => {
            let found = store_things::scan(&probe.text, probe.after.as_deref(), probe.n as u32);
            found.into_iter().for_each(|(key, constructs)| emit("scan", constructs.long, key));
        }
        "raw-keys" => {
            store_raw::put(&[0, 255], point(probe.n));
            store_raw::put(&[0], point(1));
            store_raw::put(&[1], point(2));
            store_raw::delete(&[1]);
            let found = store_raw::scan(&[0], None, 10);
            found.into_iter().for_each(|(key, point)| emit("raw-keys", point.x.into(), listed(&key)));
            emit("raw-keys", store_raw::get(&[1]).map_or(-1, |point| point.x.into()), String::new());
        }
        "typed-keys" => {
            let key = point(probe.n);
            let before = store_typed::get(key).map_or(0, |point| point.x);
            store_typed::put(key, point(before + 1));
            emit("typed-keys", before.into(), String::new());
            store_typed::delete(Point { y: None, ..key });
        }
        _ => return false,
    }
    true
}

/// Looks a key up in a table; `false` if the probe asks for something else.
fn tables(probe: &Probe) -> bool {
    match probe.do_.as_str() {
        "fact" => match table_facts::get(&probe.text) {
            Some(fact) => emit("fact", fact.n, fact.note.unwrap_or_default()),
            None => emit("fact", -1, String::new()),
        },
        "facts" => {
            let found = table_facts::scan(&probe.text, probe.after.as_deref(), probe.n as u32);
            found.into_iter().for_each(|(key, fact)| emit("facts", fact.n, key));
        }
        "named" => match table_named::get(point(probe.n)) {
            Some(bytes) => emit("named", bytes.len() as i64, listed(&bytes)),
            None => emit("named", -1, String::new()),
        },
        _ => return false,
    }
    true
}

/// Runs an action that fails. Returns `Ok(false)` for any other action.
fn failures(probe: &Probe) -> Result<bool, Failure> {
    match probe.do_.as_str() {
        "reject" => {
            emit("reject", 0, String::new());
            store_raw::put(&[9], point(9));
            log::info!("not written");
            log::warn!("about to reject");
            return Err(Failure::rejected(&probe.text));
        }
        "fail" => return Err(Failure::failed(&probe.text)),
        "fail-once" if context::current().attempt < 2 => return Err(Failure::failed(&probe.text)),
        "fail-once" => emit("fail-once", context::current().attempt.into(), String::new()),
        "trap" => {
            emit("trap", 0, String::new());
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
        "emit-wrong" => {
            let mut constructs = made::constructs();
            constructs.price = "1.234".into();
            emit_constructs("emit-wrong", Some(constructs));
        }
        "put-wrong" => {
            let mut constructs = made::constructs();
            constructs.four = vec![1];
            store_things::put("wrong", &constructs);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

impl on_probe_values::Guest for Conformance {
    fn handle(probe: Probe) -> Result<(), Failure> {
        if stores(&probe) || tables(&probe) || failures(&probe)? {
            return Ok(());
        }
        match probe.do_.as_str() {
            "echo" => emit_constructs("echo", probe.constructs),
            "make" => emit_constructs("make", Some(made::constructs())),
            "choices" => made::choices().into_iter().for_each(|choice| {
                emit_constructs("choices", Some(contracts::Constructs { choice, ..made::constructs() }));
            }),
            "many" => (0..probe.n).for_each(|n| emit("many", n.into(), String::new())),
            "key-and-headers" => {
                let header = |name: &str, value: Option<&[u8]>| Header { name: name.into(), value: value.map(<[u8]>::to_vec) };
                let headers = [header("a", Some(b"1")), header("a", None), header("ü", Some(&[])), header("b", Some(&[0, 255]))];
                let probed = Probed { did: "key-and-headers".into(), n: i64::MIN, text: probe.text, constructs: None };
                emit_probe_values_out::send_with(&probed, Some("own kéy"), &headers);
                emit_probe_values_out::send_with(&probed, None, &[]);
            }
            "context" => emit("context", 0, delivery()),
            "random" => {
                let (number, bytes) = (random::next_u64(), random::bytes(5));
                let ranges = [random::range(0..10), random::range(5..6), random::range(0..u64::MAX)];
                emit("random", 0, format!("{number} {} {ranges:?}", listed(&bytes)).replace(", ", ","));
            }
            "log" => {
                log::trace!("a trace");
                log::debug!("a debug line");
                log::info!("{} lines", 5);
                log::warn!("a warning");
                log::error!("an error");
            }
            other => return Err(Failure::rejected(format!("there is nothing to do for {other}"))),
        }
        Ok(())
    }
}

impl on_probe_keyed::Guest for Conformance {
    fn handle(event: Option<Vec<u8>>, key: Option<Point>) -> Result<(), Failure> {
        let key = key.ok_or_else(|| Failure::rejected("there is no key"))?;
        let Some(event) = event else {
            emit_probe_keyed_out::delete(key);
            emit_probe_values_out::delete("own kéy");
            emit_probe_raw_out::delete(&[0, 255]);
            return Ok(());
        };
        let next = Point { x: key.x + 1, y: key.y.map(|y| y * 2.0) };
        emit_probe_keyed_out::send(&event);
        emit_probe_keyed_out::send_with(&event, Some(next), &[]);
        Ok(())
    }
}

impl on_probe_raw::Guest for Conformance {
    fn handle(event: Vec<u8>) -> Result<(), Failure> {
        let backwards = event.iter().rev().copied().collect::<Vec<_>>();
        emit_probe_raw_out::send(&backwards);
        emit_probe_raw_out::send_with(&backwards, Some(&[0, 255]), &[]);
        Ok(())
    }
}
