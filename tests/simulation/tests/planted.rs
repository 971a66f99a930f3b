//! The short set of lives finds every planted bug. The message says what differs and how to reproduce it.

use heddle_simulation::{Options, Planted, live};

/// The first life that finds the bug, and its message.
fn found(planted: Planted) -> Option<(u64, String)> {
    let options = Options { planted: Some(planted), traced: false };
    let find = |seed| Some((seed, live(seed, &options).failure()?.to_string()));
    (0..8_000).find_map(find)
}

#[test]
fn each_planted_fault_is_found_and_reported() {
    for planted in Planted::ALL {
        let (seed, message) = found(planted).unwrap_or_else(|| panic!("no life finds `{planted}`"));
        println!("{planted}: seed {seed}\n{message}\n");
        assert!(message.starts_with(&format!("seed {seed}: ")), "{message}");
        assert!(message.contains("\n  found    ") && message.contains("\n  expected "), "{message}");
        assert!(message.ends_with(&format!("--seed {seed} --trace --planted {planted}")), "{message}");
    }
}
