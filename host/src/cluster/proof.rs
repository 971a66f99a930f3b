//! A host's proof that it has the token, before a client sends the token. So a process that took the port of a killed
//! host never sees it.
//!
//! ```text
//!  client ── nonce and <address>, in a request to <address> ──> host
//!  client <── HMAC(key of the token, nonce and address) ── host, if <address> is the host's
//!  client: the same? ── the token ──> host
//! ```
//!
//! The address is part of the proof, so a process elsewhere cannot forward the nonce to the host. Deriving the key is
//! slow, so a proof helps little to guess a weak token.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, pbkdf2};

/// The salt of the key: the purpose of the proof.
const PURPOSE: &str = "heddle admin api";
/// The iterations of the key derivation, which take some hundredths of a second.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(50_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};

/// The key derived from a token.
pub(crate) struct Key(hmac::Key);

impl Key {
    /// Derives the key. This is slow, so do it once a process.
    pub(crate) fn of(token: &str) -> Self {
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, PURPOSE.as_bytes(), token.as_bytes(), &mut key);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The proof for `nonce`, requested at `address`.
    pub(crate) fn prove(&self, nonce: &str, address: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, text(nonce, address).as_bytes()))
    }

    /// Returns true if `proof` comes from a host that has the token.
    pub(crate) fn verify(&self, nonce: &str, address: &str, proof: &str) -> bool {
        let proof = URL_SAFE_NO_PAD.decode(proof).unwrap_or_default();
        hmac::verify(&self.0, text(nonce, address).as_bytes(), &proof).is_ok()
    }
}

fn text(nonce: &str, address: &str) -> String {
    [PURPOSE, nonce, &address.to_ascii_lowercase()].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_token_nonce_and_address_alone() {
        let key = Key::of("secret");
        let proof = key.prove("n", "localhost:7870");
        assert!(key.verify("n", "LOCALHOST:7870", &proof));
        assert!(!key.verify("m", "localhost:7870", &proof));
        assert!(!key.verify("n", "localhost:7871", &proof));
        assert!(!key.verify("n", "localhost:7870", ""));
        assert!(!Key::of("other").verify("n", "localhost:7870", &proof));
    }
}
