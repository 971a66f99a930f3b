//! The same seed gives the same life, event by event, also beside another life in another thread.

use std::thread;

use heddle_simulation::{Options, Planted, live};

#[test]
fn a_seed_is_one_life() {
    let traced = |seed| live(seed, &Options { planted: None, traced: true }).trace;
    let all = move || (0..60).map(traced).collect::<Vec<_>>();
    let other = thread::spawn(all);
    let (here, there) = (all(), other.join().unwrap());
    for (seed, (here, there)) in here.iter().zip(&there).enumerate() {
        let differs = here.iter().zip(there).position(|(a, b)| a != b);
        assert_eq!(differs, None, "the lives of seed {seed} differ");
        assert_eq!(here.len(), there.len(), "the lives of seed {seed} differ");
        assert!(here.len() > 20, "seed {seed} has next to no life: {here:#?}");
    }
    assert_ne!(here[0], here[1]);
}

#[test]
fn the_trace_is_the_life_that_was_lived_without_it() {
    for seed in 0..40 {
        let [traced, plain] =
            [true, false].map(|traced| live(seed, &Options { planted: Some(Planted::Offsets), traced }));
        assert_eq!((traced.happened, traced.failure), (plain.happened, plain.failure), "seed {seed}");
    }
}
