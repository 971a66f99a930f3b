//! The short set of lives. They pass, and the events that they are about occur in them.

use std::thread;

use heddle_fixtures::scaled;
use heddle_simulation::{Happened, Options, live};

/// A life uses one thread, and lives are independent of each other.
const THREADS: usize = 2;

#[test]
fn every_life_ends_with_everything_exactly_once() {
    // `simulate` runs more lives.
    let seeds = scaled(2_500, 10_000);
    let lives = move |first: usize| {
        let mut all = Happened::default();
        for seed in (0..seeds).skip(first).step_by(THREADS) {
            let outcome = live(seed, &Options::default());
            if let Some(failure) = outcome.failure() {
                panic!("{failure}");
            }
            all += outcome.happened;
        }
        all
    };
    let threads = (0..THREADS).map(|first| thread::spawn(move || lives(first))).collect::<Vec<_>>();
    let mut all = Happened::default();
    threads.into_iter().for_each(|thread| all += thread.join().unwrap());
    let rare = all.rows().into_iter().filter(|(_, count)| *count < seeds / 100).collect::<Vec<_>>();
    assert!(rare.is_empty(), "these hardly happen in {seeds} lives: {rare:?}");
}
