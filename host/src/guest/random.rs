//! `heddle:runtime/random`: numbers that are the same in every delivery of the same record.
//!
//! The generator is ChaCha with 8 rounds. Its key is the SHA-256 of the delivery's id. The words of its key stream are
//! used in order: a 64-bit number takes two, the lower one first. Bytes take whole words and drop the rest of the last
//! one. Any change would alter the processing of records that are processed again.

use heddle_core::delivery::Delivery;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use super::codec;
use super::host::Host;

/// The maximum number of bytes that a guest may request at a time.
pub(super) const BYTES_MAX: u32 = 64 << 10;

/// The generator of a delivery, which does not depend on the attempt.
pub(super) fn generator(delivery: &Delivery<'_>) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(Sha256::digest(delivery.id()).into())
}

/// The generator while a component starts, outside of a delivery. WASI asks for numbers then.
pub(super) fn starting() -> ChaCha8Rng {
    ChaCha8Rng::from_seed(Sha256::digest("the component starts").into())
}

/// Links the interface. `name` is the name of the import.
pub(super) fn link(linker: &mut Linker<Host>, name: &str) -> wasmtime::Result<()> {
    let mut instance = linker.instance(name)?;
    instance.func_new("next-u64", |mut store: StoreContextMut<'_, Host>, _, _, results| {
        results[0] = Val::U64(store.data_mut().current()?.random().next_u64());
        Ok(())
    })?;
    instance.func_new("bytes", |mut store: StoreContextMut<'_, Host>, _, params, results| {
        let [Val::U32(count)] = params else { return Err(wasmtime::Error::msg("bytes takes a number")) };
        if *count > BYTES_MAX {
            let what =
                format!("the handler asked for {count} random bytes, more than the {BYTES_MAX} there are at a time");
            return Err(wasmtime::Error::msg(what));
        }
        let mut bytes = vec![0; *count as usize];
        store.data_mut().current()?.random().fill_bytes(&mut bytes);
        results[0] = codec::bytes(&bytes);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use heddle_core::event::{Offset, Record, Timestamp, TopicPartition};

    use super::*;

    /// Guarantee G7 depends on these numbers, so they must never change.
    #[test]
    fn the_numbers_of_a_record_are_fixed() {
        let record = Record {
            source: TopicPartition::new("orders.created", 3),
            offset: Offset(41),
            timestamp: Timestamp(0),
            key: None,
            value: None,
            headers: vec![],
        };
        let component = "shop.intake".into();
        let mut random = generator(&Delivery { component: &component, record: &record, attempt: 1, epoch: None });
        let mut five = [0; 5];
        let first = random.next_u64();
        random.fill_bytes(&mut five);
        let third = random.next_u64();
        // The expected values come from another implementation.
        let expected = (12_905_941_478_688_268_057, [87, 28, 118, 102, 24], 2_770_354_936_631_173_004);
        assert_eq!((first, five, third), expected);
        let mut again = generator(&Delivery { component: &component, record: &record, attempt: 2, epoch: None });
        assert_eq!(again.next_u64(), first);
        let next = Record { offset: Offset(42), ..record };
        assert_ne!(
            generator(&Delivery { component: &component, record: &next, attempt: 1, epoch: None }).next_u64(),
            first
        );
    }
}
