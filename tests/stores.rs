//! A component's stores, message ids, random numbers and log lines, from its manifest to its handler and back. A real
//! component is called through the step.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::guests::{self, Known, framed, header, refused, schema, wasm};
use crate::support::keeper::{
    Bench, COUNT, COUNT_BEFORE, COUNTS, DOWN, IN, JOBS, KEY, RAW, TYPED, UNKNOWN, before, ids, outcome,
};
use bytes::Bytes;
use heddle::build::{AppContracts, contract_of};
use heddle::guest::Instance;
use heddle::runtime::Handler;
use heddle_contract::format::avro::parse;
use heddle_contract::manifest::Manifest;
use heddle_contract::section::{self, Contract};
use heddle_contract::wit::Names;
use heddle_core::batch::OpenBatch;
use heddle_core::event::Header;
use heddle_core::explain::to_text;
use heddle_core::task::{Next, Step};
use serde_json::{Value, json};

#[test]
fn a_handler_reads_its_own_writes_those_of_the_transaction_and_those_committed() {
    let mut bench = Bench::new();
    assert_eq!(bench.job(json!({"do":"count-twice","key":"a"})), "a=1 a=2");
    assert_eq!(bench.job(json!({"do":"count","key":"a","n":5})), "a=7");
    assert_eq!(bench.stored(COUNTS), [], "nothing is committed yet");
    bench.commit();
    assert_eq!(bench.stored(COUNTS), [("a".into(), json!({"n":7,"weight":"0.50","note":null}))]);
    assert_eq!(bench.job(json!({"do":"count","key":"a"})), "a=8");
    // The log does not commit, so the state is as before.
    bench.batch = OpenBatch::default();
    assert_eq!(bench.job(json!({"do":"count","key":"a"})), "a=8");
    assert_eq!(bench.job(json!({"do":"delete","key":"a"})), "a=-1");
    assert_eq!(bench.get("a"), "none=-1");
    bench.commit();
    assert_eq!(bench.stored(COUNTS), []);
}

#[test]
fn a_scan_merges_all_layers_in_the_order_of_keys() {
    let mut bench = Bench::new();
    for (n, key) in ["a1", "a2", "a3", "b", "ä", "a"].into_iter().enumerate() {
        bench.job(json!({"do":"count","key":key,"n":n}));
    }
    bench.commit();
    bench.job(json!({"do":"delete","key":"a1"}));
    bench.job(json!({"do":"count","key":"a4","n":9}));
    // The handler deletes a2 and puts a3 before it scans.
    assert_eq!(bench.job(json!({"do":"put-and-scan","key":"a3","n":70})), "a=5 a3=70 a4=9");
    assert_eq!(bench.job(json!({"do":"scan","key":"","n":10})), "a=5 a3=70 a4=9 b=3 ä=4");
    assert_eq!(bench.job(json!({"do":"scan","key":"a","after":"a","n":1})), "a3=70");
    assert_eq!(bench.job(json!({"do":"scan","key":"","after":"a4","n":10})), "b=3 ä=4");
    assert_eq!(bench.job(json!({"do":"scan","key":"","n":0})), "");
}

#[test]
fn a_scan_goes_through_many_pages_and_has_a_bound() {
    let mut bench = Bench::new();
    let value = |length: usize| framed(COUNT, &schema("Count"), &json!({"n":1,"weight":"0","note":"x".repeat(length)}));
    let mut committed = bench.state.0.lock().unwrap();
    committed.entries.extend((0..1000).map(|n| ((COUNTS, format!("k{n:03}").into()), value(10).into())));
    drop(committed);
    let all = (0..1000).map(|n| format!("k{n:03}=1")).collect::<Vec<_>>();
    assert_eq!(bench.job(json!({"do":"scan","key":"k","n":-1})), all.join(" "));
    assert_eq!(bench.job(json!({"do":"scan","key":"k","after":"k099","n":512})), all[100..612].join(" "));
    let mut committed = bench.state.0.lock().unwrap();
    committed.entries.extend((0..5).map(|n| ((COUNTS, format!("large{n}").into()), value(1_000_000).into())));
    drop(committed);
    assert_eq!(
        bench.fails(json!({"do":"scan","key":"large","n":5}), "state"),
        "a scan of the store `counts` finds more than 4194304 bytes: take a smaller limit, and go on after the last key"
    );
    assert_eq!(bench.job(json!({"do":"scan","key":"large","n":2})), "large0=1 large1=1");
}

#[test]
fn keys_are_bytes_or_typed_where_the_manifest_says_so() {
    let mut bench = Bench::new();
    assert_eq!(bench.job(json!({"do":"raw","n":3})), "[0, 255]=3");
    assert_eq!(bench.job(json!({"do":"typed","n":41})), "typed=1");
    assert_eq!(bench.job(json!({"do":"typed","n":41})), "typed=2");
    assert_eq!(bench.job(json!({"do":"typed","n":42})), "typed=1");
    bench.commit();
    let keys = |store| bench.stored(store).into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>();
    assert_eq!(keys(RAW), [vec![0], vec![0, 0xff]]);
    let key = |x: i32| framed(KEY, &schema("Inner"), &json!({"x":x}));
    assert_eq!(keys(TYPED), [key(41), key(42)]);
    assert_eq!(keys(COUNTS), Vec::<Vec<u8>>::new());
}

#[test]
fn a_failed_delivery_leaves_no_trace_in_the_stores() {
    let mut bench = Bench::new();
    bench.job(json!({"do":"count","key":"a"}));
    assert_eq!(bench.fails(json!({"do":"put-then-reject","key":"a"}), "rejected"), "rejected, as asked");
    assert_eq!(bench.get("a"), "0.50 None=1");
    assert!(bench.fails(json!({"do":"put-then-trap","key":"a"}), "trap").contains("as asked"));
    assert_eq!(bench.get("a"), "0.50 None=1");
    // No scan survives a delivery: only this test and its task hold the state, as the committed state and as the base
    // of the batch.
    assert_eq!(Arc::strong_count(&bench.state), 3);
    // The first attempt counted, too, but the second did not see that.
    assert_eq!(bench.job(json!({"do":"put-then-fail-once","key":"a"})), "a=2");
    bench.commit();
    assert_eq!(bench.get("a"), "0.50 None=2");
}

#[test]
fn an_entry_that_a_store_cannot_hold_is_the_deliverys_fault() {
    let mut bench = Bench::new();
    let details = [
        bench.fails(json!({"do":"put-wrong","key":"a"}), "state"),
        bench.fails(json!({"do":"put-long","key":"a","n":1 << 20}), "state"),
        bench.fails(json!({"do":"put-wrong","key":"k".repeat(100)}), "state"),
    ];
    insta::assert_snapshot!(details.join("\n"));
    assert_eq!(bench.get("a"), "none=-1");
}

#[test]
fn a_store_keeps_its_data_when_its_schema_evolves() {
    let mut bench = Bench::new();
    bench.store(COUNTS, "a", framed(COUNT_BEFORE, &before(), &json!({"n":7})));
    assert_eq!(bench.get("a"), "0.00 None=7");
    assert_eq!(bench.job(json!({"do":"scan","key":""})), "a=7");
    assert_eq!(bench.job(json!({"do":"count","key":"a"})), "a=8");
    bench.commit();
    assert_eq!(bench.stored(COUNTS), [("a".into(), json!({"n":8,"weight":"0.50","note":null}))]);
}

#[test]
fn unreadable_state_is_not_the_records_fault() {
    let mut bench = Bench::new();
    bench.store(COUNTS, "down", framed(DOWN, &before(), &json!({"n":7})));
    bench.store(COUNTS, "unknown", framed(UNKNOWN, &before(), &json!({"n":7})));
    bench.store(COUNTS, "short", framed(COUNT, &before(), &json!({"n":7})));
    bench.store(COUNTS, "foreign", b"{}".to_vec());
    bench.job(json!({"do":"count","key":"a"}));
    let mut faults =
        ["down", "unknown", "short", "foreign"].map(|key| bench.try_job(json!({"do":"get","key":key})).unwrap_err());
    // A registry outage delays the next attempt until it ends. Other faults do not.
    let outage = "the registry does not answer".to_owned();
    bench.try_job(json!({"do":"get","key":"down"})).unwrap_err();
    assert_eq!(Handler::take_unavailable(&mut bench.instance), Some(outage.clone()));
    assert_eq!(Handler::load_missing(&mut bench.instance), Err(outage));
    bench.try_job(json!({"do":"get","key":"short"})).unwrap_err();
    assert_eq!(Handler::take_unavailable(&mut bench.instance), None);
    // These deliveries left nothing, and the next one is processed.
    assert_eq!(bench.job(json!({"do":"count","key":"a"})), "a=2");
    assert_eq!(bench.try_job(json!({"do":"scan","key":"sh"})).unwrap_err(), faults[2]);
    bench.state.0.lock().unwrap().broken = true;
    faults[0].0 += &format!("\n{}", bench.try_job(json!({"do":"get","key":"b"})).unwrap_err().0);
    insta::assert_snapshot!(faults.map(|fault| fault.0).join("\n"));
}

#[test]
fn a_record_whose_schema_cannot_be_fetched_makes_the_task_give_up() {
    let mut bench = Bench::new();
    let mut value = framed(JOBS, &schema("jobs-value"), &json!({"do":"count","key":"a"}));
    value[4] = u8::try_from(DOWN).unwrap();
    let fault = bench.try_step("jobs", value, vec![]).unwrap_err();
    assert_eq!(fault.0, "the registry does not answer");
    assert!(bench.batch.is_empty());
}

#[test]
fn a_message_is_handled_once_by_the_id_in_its_value() {
    let mut bench = Bench::new();
    let job = |id: Value| json!({"id":id,"do":"count","key":"a"});
    assert_eq!(bench.job(job(json!("1"))), "a=1");
    assert_eq!(bench.job(job(json!("1"))), "", "within the transaction");
    bench.commit();
    assert_eq!(bench.job(job(json!("1"))), "", "after it");
    assert_eq!(bench.job(job(json!("2"))), "a=2");
    // Without an id, a message cannot be recognized.
    assert_eq!(bench.job(job(Value::Null)), "a=3");
    assert_eq!(bench.job(job(Value::Null)), "a=4");
    // A dead-lettered message may come again.
    bench.fails(json!({"id":"3","do":"put-then-reject","key":"a"}), "rejected");
    assert_eq!(bench.job(job(json!("3"))), "a=5");
    assert_eq!(bench.batch.counts().duplicates, 1);
}

#[test]
fn a_newer_writer_gives_the_same_ids() {
    // The id is in another branch of the union, after another field.
    let next = json!({"type":"record","name":"Job","namespace":"guests","fields":[
        {"name":"more","type":{"type":"array","items":"string"}},{"name":"do","type":"string"},{"name":"id","type":"string"},
        {"name":"key","type":"string"}]});
    let next = parse("next", &next.to_string()).unwrap();
    let mut bench = Bench::new();
    bench.instance = {
        let component = guests::load("keeper.wasm", &wasm("keeper"), ids()).unwrap();
        Instance::new(Arc::new(component), Known::of([(JOBS, schema("jobs-value")), (8, next.clone())]))
    };
    assert_eq!(bench.job(json!({"id":"1","do":"count","key":"a"})), "a=1");
    let again = json!({"more":["x"],"do":"count","id":"1","key":"a"});
    let skipped = Step { next: Next::Skipped, ..Step::default() };
    assert_eq!(bench.try_step("jobs", framed(8, &next, &again), vec![]).unwrap(), skipped);
    let mut cut = framed(8, &next, &again);
    cut.truncate(8);
    let step = bench.try_step("jobs", cut, vec![]).unwrap();
    assert_eq!(header(&step.writes[0], "heddle.kind"), "decode");
}

#[test]
fn a_message_is_handled_once_by_the_id_in_a_header() {
    let mut bench = Bench::new();
    let mut take = |ids: &[Option<&'static str>]| {
        let headers = ids.iter().map(|id| Header { name: "ce_id".into(), value: id.map(Bytes::from) }).collect();
        let value = framed(IN, &schema("in-value"), &json!({"do":"in"}));
        outcome(&bench.try_step("in", value, headers).unwrap().writes)
    };
    assert_eq!(take(&[Some("1")]), "in=1");
    assert_eq!(take(&[Some("1")]), "");
    // The last of several headers counts: the sender's host added it.
    assert_eq!(take(&[Some("1"), Some("2")]), "in=2");
    assert_eq!(take(&[Some("2")]), "");
    assert_eq!(take(&[None]), "in=3");
    assert_eq!(take(&[]), "in=4");
    assert_eq!(take(&[]), "in=5");
}

#[test]
fn random_numbers_are_those_of_the_record() {
    let mut bench = Bench::new();
    let first = bench.job(json!({"do":"random"}));
    let second = bench.job(json!({"do":"random"}));
    assert_ne!(first, second);
    assert_eq!(Bench::new().job(json!({"do":"random"})), first);
    assert_eq!(bench.job(json!({"do":"random-many","n":65536})), "random=65536");
    let detail = bench.fails(json!({"do":"random-many","n":65537}), "trap");
    assert!(detail.contains("more than the 65536"), "{detail}");
}

#[test]
fn the_same_records_on_the_same_state_give_the_same_bytes() {
    let run = || {
        let mut bench = Bench::new();
        bench.store(COUNTS, "a", framed(COUNT_BEFORE, &before(), &json!({"n":7})));
        let jobs = ["count", "random", "put-then-fail-once", "put-then-trap", "typed", "raw", "put-wrong", "random"];
        let steps = jobs.map(|what| bench.try_job(json!({"do":what,"key":"a","n":3})).unwrap());
        bench.commit();
        (steps, bench.state.0.lock().unwrap().entries.clone())
    };
    assert_eq!(run(), run());
}

/// Collects the trace events of this thread.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Traced {
    /// The events of components during `work`.
    fn during(work: impl FnOnce()) -> Vec<Value> {
        let traced = Self::default();
        let writer = traced.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter("component=debug")
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn line(event: &Value) -> String {
    format!("{} {}", event["level"].as_str().unwrap(), event["fields"]["message"].as_str().unwrap())
}

#[test]
fn log_lines_are_written_when_the_handler_is_done() {
    let mut bench = Bench::new();
    let told = Traced::during(|| drop(bench.job(json!({"do":"log"}))));
    let all = ["DEBUG a debug line", "INFO an info line", "WARN a warning", "ERROR an error"];
    assert_eq!(told.iter().map(line).collect::<Vec<_>>(), all);
    let fields = json!({"message":"an info line","component":"guests.keeper","topic":"jobs","partition":0,"offset":1,"attempt":1,"correlationId":"jobs/0/1"});
    assert_eq!((&told[1]["fields"], &told[1]["target"]), (&fields, &json!("component")));
    // Lines below warning level are dropped with the effects of a failed delivery.
    let told = Traced::during(|| drop(bench.fails(json!({"do":"log-and-reject"}), "rejected")));
    assert_eq!(told.iter().map(line).collect::<Vec<_>>(), all[2..]);
}

#[test]
fn an_attempt_sees_the_numbers_of_the_one_before() {
    let mut bench = Bench::new();
    let told = Traced::during(|| drop(bench.fails(json!({"do":"random-fail-once"}), "failed")));
    let attempts = told.iter().map(|event| event["fields"]["attempt"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(attempts, [1, 2, 3]);
    assert!(told.iter().all(|event| line(event) == line(&told[0])), "{told:?}");
}

#[test]
fn log_lines_are_bounded() {
    let mut bench = Bench::new();
    let told = Traced::during(|| drop(bench.job(json!({"do":"log-much","n":500}))));
    assert_eq!(told.len(), 102);
    assert!(told.iter().all(|event| line(event).len() <= "DEBUG ".len() + (8 << 10)));
    assert!(line(&told[100]).starts_with("INFO 500 x"), "the last one is kept");
    assert_eq!(line(&told[101]), "DEBUG 400 lines before the last one were dropped");
}

#[test]
fn a_component_whose_stores_or_ids_differ_from_its_contract_is_refused() {
    let wasm = wasm("keeper");
    let refuse = |change: &dyn Fn(&mut Contract)| {
        refused(guests::load("keeper.wasm", &guests::with_contract(&wasm, |contract| change(contract)), ids()))
    };
    let manifest = |from: &'static str, to: &'static str| {
        refuse(&|contract| {
            assert!(contract.component.manifest.contains(from));
            contract.component.manifest = contract.component.manifest.replace(from, to);
        })
    };
    let value = |from: &'static str, to: &'static str| {
        refuse(&|contract| {
            let schema = contract.schemas.get_mut("store:counts").unwrap();
            assert!(schema.text.contains(from));
            schema.text = schema.text.replace(from, to);
        })
    };
    let messages = [
        manifest("[stores.counts]\nvalue = \"Count\"\n", ""),
        value("\"note\"", "\"remark\""),
        value("\"long\"", "\"int\""),
        manifest("[stores.raw]\nkey = \"bytes\"", "[stores.raw]"),
        manifest("[stores.counts]", "[stores.counts]\nkey = \"bytes\""),
        manifest("key = \"Inner\"", "key = \"string\""),
        refuse(&|contract| {
            contract.component.manifest = contract.component.manifest.replace("key = \"bytes\"", "key = \"Inner\"");
            let text = schema("Inner").json().to_owned();
            let key = section::Schema::new(section::SchemaFormat::Avro, text);
            contract.schemas.insert("store-key:typed".to_owned(), key.clone());
            contract.schemas.insert("store-key:raw".to_owned(), key);
        }),
        refuse(&|contract| drop(contract.schemas.remove("store:typed"))),
        refuse(&|contract| drop(contract.schemas.remove("store-key:typed"))),
        refused(guests::load("keeper.wasm", &wasm, ids().into_iter().filter(|(name, _)| *name != "store:raw"))),
        manifest("value:id", "value:job.id"),
        manifest("value:id", "value:number"),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_build_includes_the_schemas_of_stores_and_checks_ids() {
    let contracts = AppContracts::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/contracts")).unwrap();
    let contract = |change: [&str; 2]| {
        let text = include_str!("../guests/components/keeper/component.toml").replace(change[0], change[1]);
        contract_of(&Manifest::parse(&text, "component.toml").unwrap(), &text, &contracts, &Names::default())
    };
    let built = contract(["", ""]).unwrap();
    let names = ["in-value", "jobs-value", "out-value", "store-key:typed", "store:counts", "store:raw", "store:typed"];
    assert_eq!(built.schemas.keys().collect::<Vec<_>>(), names);
    assert_eq!(built.schemas["store:counts"].text, schema("Count").json());
    let errors = [
        to_text(&contract(["value:id", "value:n.id"]).unwrap_err()),
        to_text(&contract(["header:ce_id", "value:everything"]).unwrap_err()),
        to_text(&contract(["\"Count\"", "\"Cuont\""]).unwrap_err()),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn the_registry_knows_a_stores_schemas_by_its_changelog() {
    let text = include_str!("../guests/components/keeper/component.toml");
    let manifest =
        Manifest::parse(&text.replace("[stores.raw]", "[stores.raw]\nchangelog = \"own\""), "keeper").unwrap();
    let subject = |name: &str| manifest.registered("guests", name).unwrap();
    assert_eq!(subject("store:counts"), "guests.keeper.counts-value");
    assert_eq!(subject("store-key:typed"), "guests.keeper.typed-key");
    assert_eq!(subject("store:raw"), "own-value");
    assert_eq!(subject("jobs-value"), "jobs-value");
}
