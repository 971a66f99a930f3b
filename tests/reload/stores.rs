//! Versions with more stores, fewer, or different ones. The workers rejoin, and nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_fixtures::SetAtEnd;

use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{Orders, Platform, bookings, check_bookings, ledger};
use crate::reload::versions::{with_manifest, with_store};

#[test]
fn stores_and_dedup_change_under_load() {
    let platform = Platform::embedded();
    let host = Host::start(&platform, 0);
    let orders = Orders::new(&platform.registry());
    let log = platform.log();
    let stop = AtomicBool::new(false);
    let total = std::thread::scope(|scope| {
        let producing = SetAtEnd(&stop);
        let producer = scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                // Each order is sent twice: ids that were seen before a change of version are known after it.
                let some = (n..n + 10).chain(n..n + 10).map(|n| orders.order(n, true)).collect::<Vec<_>>();
                log.append(&some).unwrap();
                n += 10;
                std::thread::sleep(Duration::from_millis(10));
            }
            n
        });
        let versions = [
            with_store(ledger(), "extra", ""),
            with_manifest(ledger(), "7d", "6d"),
            with_store(&with_manifest(ledger(), "7d", "5d"), "aaa", "key = \"bytes\""),
            ledger().to_vec(),
        ];
        for (n, wasm) in versions.iter().enumerate() {
            let before = platform.status(0)["out"].as_u64().unwrap();
            let told = platform.command(0, &["deploy", &platform.version("next.wasm", wasm)]).output().unwrap();
            let told = String::from_utf8(told.stderr).unwrap();
            // Stores that are removed are reported.
            assert_eq!(told.contains("its entries stay in"), [1, 3].contains(&n), "{told}");
            wait_until("the version books", || platform.status(0)["out"].as_u64() > Some(before + 100));
        }
        drop(producing);
        producer.join().unwrap()
    });
    wait_until("all orders are handled", || platform.status(0)["lag"] == 0);
    let status = platform.status(0);
    assert_eq!((&status["out"], &status["duplicates"]), (&total.into(), &total.into()), "{status}");
    check_bookings(&bookings(&*platform.log()), total);
    host.stop();
}
