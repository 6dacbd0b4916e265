//! The sealed `requestState` of multi round-trip requests: what the server gives away and wants back unchanged.
//!
//! A client may read what is inside, but cannot change it, keep it for long, or present it for another request or in another's name. Within its
//! time it can be presented again, so a seal says nothing about being used once. Values in, values out; no clock of its own.
//! Specification: `basic/patterns/mrtr` ("Server Requirements", 4 and 5) of revision 2026-07-28.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::HMAC;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::protocol::digest::digest_of;

/// The form of what is sealed. Anything else was sealed by another release, or by nobody. No binding begins like it.
const VERSION: u8 = 3;
/// The version, the expiry, and the seal of what the state belongs to.
const HEAD_BYTES: usize = 1 + 8 + MAC_BYTES;
const MAC_BYTES: usize = 32;

/// Seals states and opens them again. Two with the same key are the same.
#[derive(Clone)]
pub(crate) struct Sealer {
    /// Has taken in the key and nothing else.
    keyed: HMAC,
}

/// What a state belongs to; presented with anything else, it is worth nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    /// The request's method, such as `tools/call`.
    pub(crate) method: &'a str,
    /// The tool's or prompt's name, or the resource's URI.
    pub(crate) target: &'a str,
    /// Its arguments; what they say counts, and not how they are spelled.
    pub(crate) arguments: Option<&'a RawValue>,
}

/// Why a state is refused. No more is said, because an attacker who probes could learn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsealable {
    /// Not sealed with this key for this binding, or not as it was.
    Tampered,
    /// Genuine, but its time is over.
    Expired,
}

impl Sealer {
    /// A sealer with this key, for states that must outlive the process or be understood by others. Keys should have 32 random bytes; any length
    /// works, and a short one can be guessed.
    pub(crate) fn new(key: &[u8]) -> Self {
        Sealer {
            keyed: HMAC::new(key),
        }
    }

    /// A sealer with a key of its own that nobody else has, so its states end with the process.
    pub(crate) fn random() -> Self {
        // Each has 122 random bits from the operating system; three of them are more than the 256 that the hash can use.
        let [a, b, c] = [(); 3].map(|()| Uuid::new_v4().into_bytes());
        Sealer::new(&[a, b, c].concat())
    }

    /// How long a seal of so many bytes is.
    pub(crate) fn sealed_len(payload_len: usize) -> usize {
        (HEAD_BYTES + payload_len + MAC_BYTES)
            .saturating_mul(4)
            .div_ceil(3)
    }

    /// Seals these bytes: good until just before `expires` (to the millisecond, rounded down) and only with the same binding. The result is
    /// plain ASCII, safe in JSON and in URLs.
    pub(crate) fn seal(
        &self,
        payload: &[u8],
        expires: SystemTime,
        bound_to: &Binding<'_>,
    ) -> String {
        let mut sealed = Vec::with_capacity(HEAD_BYTES + payload.len() + MAC_BYTES);
        sealed.push(VERSION);
        sealed.extend_from_slice(&millis(expires).to_be_bytes());
        sealed.extend_from_slice(&self.bind(bound_to));
        sealed.extend_from_slice(payload);
        let mac = self.mac(&sealed).finalize();
        sealed.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The bytes that were sealed. What they have to be bound to is asked for only when the seal is genuine, because it takes time to tell.
    ///
    /// # Errors
    ///
    /// [`Unsealable::Expired`] from the moment it expires on, if it is genuine; [`Unsealable::Tampered`] for everything else.
    pub(crate) fn open<'b>(
        &self,
        sealed: &str,
        now: SystemTime,
        bound_to: impl FnOnce() -> Binding<'b>,
    ) -> Result<Vec<u8>, Unsealable> {
        // Refuses padding and trailing bits, so that there is one text for each seal.
        let mut bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| Unsealable::Tampered)?;
        let (content, mac) = bytes
            .split_last_chunk::<MAC_BYTES>()
            .ok_or(Unsealable::Tampered)?;
        // In constant time, and before anything inside is believed.
        if !self.mac(content).finalize_verify(mac) {
            return Err(Unsealable::Tampered);
        }
        let Some(&[VERSION, ref head @ ..]) = content.first_chunk::<HEAD_BYTES>() else {
            return Err(Unsealable::Tampered);
        };
        let Some((expires, binding)) = head.split_first_chunk() else {
            return Err(Unsealable::Tampered);
        };
        // It is told only of what was sealed for this request.
        if self.bind(&bound_to()) != *binding {
            return Err(Unsealable::Tampered);
        }
        if millis(now) >= u64::from_be_bytes(*expires) {
            return Err(Unsealable::Expired);
        }
        bytes.truncate(bytes.len() - MAC_BYTES);
        bytes.drain(..HEAD_BYTES);
        Ok(bytes)
    }

    fn mac(&self, content: &[u8]) -> HMAC {
        let mut mac = self.keyed.clone();
        mac.update(content);
        mac
    }

    /// The seal of a binding. Every field but the last has a fixed length or says its own, so none can run into the next.
    fn bind(&self, bound_to: &Binding<'_>) -> [u8; MAC_BYTES] {
        let mut mac = self.keyed.clone();
        for field in [bound_to.method, bound_to.target] {
            mac.update((field.len() as u64).to_be_bytes());
            mac.update(field.as_bytes());
        }
        mac.update(digest_of(bound_to.arguments));
        mac.finalize()
    }
}

/// Since the epoch; a time before it is the epoch.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::value::to_raw_value;

    use super::*;

    const BINDING: Binding<'_> = Binding {
        method: "tools/call",
        target: "deploy",
        arguments: None,
    };

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn what_was_sealed_comes_back_until_it_expires() {
        let sealer = Sealer::new(b"key");
        let sealed = sealer.seal(b"state", at(1000), &BINDING);
        let rows = [
            (0, Ok(b"state".to_vec())),
            (999, Ok(b"state".to_vec())),
            (1000, Err(Unsealable::Expired)),
            (1001, Err(Unsealable::Expired)),
        ];
        for (now, expected) in rows {
            assert_eq!(
                sealer.open(&sealed, at(now), || BINDING),
                expected,
                "at {now}"
            );
        }
        let before_the_epoch = UNIX_EPOCH - Duration::from_secs(1);
        assert!(sealer.open(&sealed, before_the_epoch, || BINDING).is_ok());
        let never = sealer.seal(b"state", before_the_epoch, &BINDING);
        assert_eq!(
            sealer.open(&never, before_the_epoch, || BINDING),
            Err(Unsealable::Expired)
        );
    }

    /// Whether it is refused as tampered with, before and after its time.
    fn is_refused(sealer: &Sealer, sealed: &str, binding: &Binding<'_>) -> bool {
        [0, 2000]
            .into_iter()
            .all(|now| sealer.open(sealed, at(now), || *binding) == Err(Unsealable::Tampered))
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let sealer = Sealer::new(b"key");
        // Payloads of every length by 3, so that the last character of the Base64 has none, two or four bits to spare.
        for payload in [&b""[..], b"s", b"st"] {
            let sealed = sealer.seal(payload, at(1000), &BINDING);
            let mut changed = vec![format!("{sealed}="), format!("{sealed}A")];
            for index in 0..sealed.len() {
                changed.push(sealed[..index].to_owned());
                changed.push(sealed[index + 1..].to_owned());
                for bit in 0..8 {
                    let mut bytes = sealed.clone().into_bytes();
                    bytes[index] ^= 1 << bit;
                    // What is not UTF-8 does not come this far.
                    changed.extend(String::from_utf8(bytes));
                }
            }
            for changed in changed {
                assert!(is_refused(&sealer, &changed, &BINDING), "{changed}");
            }
        }
    }

    #[test]
    fn a_state_is_bound_to_its_request() {
        let sealer = Sealer::new(b"key");
        let rows = [
            ("tools/call", "deploy", 7),
            ("prompts/get", "deploy", 7),
            ("tools/call", "deplo", 7),
            ("tools/call", "deploy", 8),
            // The same characters, divided in another way.
            ("tools/calldep", "loy", 7),
        ];
        let raw = [7, 8].map(|number| (number, to_raw_value(&number).expect("it is JSON")));
        let bindings = rows.map(|(method, target, number)| Binding {
            method,
            target,
            arguments: raw.iter().find(|raw| raw.0 == number).map(|raw| &*raw.1),
        });
        for (index, own) in bindings.iter().enumerate() {
            let sealed = sealer.seal(b"state", at(1000), own);
            assert!(sealer.open(&sealed, at(0), || *own).is_ok());
            for (other_index, other) in bindings.iter().enumerate() {
                assert_eq!(
                    is_refused(&sealer, &sealed, other),
                    index != other_index,
                    "{own:?} as {other:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_genuine_is_refused_before_anything_is_asked() {
        let sealer = Sealer::new(b"key");
        let genuine = sealer.seal(b"state", at(1000), &BINDING);
        let foreign = Sealer::new(b"other").seal(b"state", at(1000), &BINDING);
        for state in ["", "x", "bogus state", &genuine[1..], &foreign] {
            let opened = sealer.open(state, at(0), || panic!("nobody may look at the arguments"));
            assert_eq!(opened, Err(Unsealable::Tampered), "{state}");
        }
    }

    #[test]
    fn a_key_is_all_that_two_sealers_need_to_share() {
        let sealed = Sealer::new(b"key").seal(b"state", at(1000), &BINDING);
        let same = Sealer::new(b"key");
        assert_eq!(same.open(&sealed, at(0), || BINDING), Ok(b"state".to_vec()));
        let long = [7; 200];
        for key in [&b""[..], b"Key", b"kex", b"key ", &long] {
            let other = Sealer::new(key);
            assert!(is_refused(&other, &sealed, &BINDING), "{key:?}");
        }
        let sealed = Sealer::random().seal(b"state", at(1000), &BINDING);
        assert!(Sealer::random().open(&sealed, at(0), || BINDING).is_err());
    }

    #[test]
    fn another_version_is_refused_even_when_it_is_genuine() {
        let sealer = Sealer::new(b"key");
        for content in [&b""[..], &[VERSION; 40], &[VERSION + 1; 50], &[0; 41]] {
            let mac = sealer.mac(content).finalize();
            let sealed = URL_SAFE_NO_PAD.encode([content, &mac].concat());
            assert!(is_refused(&sealer, &sealed, &BINDING), "{content:?}");
        }
    }

    /// What was sealed by one release has to be opened by the next, or the version has to change.
    #[test]
    fn the_form_of_a_seal_is_stable() {
        let sealed = Sealer::new(b"key").seal(b"state", at(1000), &BINDING);
        assert_eq!(
            sealed,
            "AwAAAAAAAAPoLlzQNWw5UihTOZxmRJ6_pm0gv0iKqrxPQ3yGOeFPjghzdGF0Zb1viBad4M-mh50dyoIKEBCEKTCj5M79M7UAh0dYq5I8"
        );
    }

    proptest! {
        #[test]
        fn any_payload_comes_back(
            key in prop::collection::vec(any::<u8>(), 0..100),
            payload in prop::collection::vec(any::<u8>(), 0..200),
            target in ".*",
            arguments in any::<u64>(),
            expires in 1_u64..u64::MAX / 1_000_000,
        ) {
            let arguments = to_raw_value(&arguments).expect("a number is JSON");
            let binding = Binding { method: "resources/read", target: &target, arguments: Some(&arguments) };
            let sealer = Sealer::new(&key);
            let sealed = sealer.seal(&payload, at(expires), &binding);
            prop_assert_eq!(sealed.len(), Sealer::sealed_len(payload.len()));
            prop_assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
            prop_assert_eq!(sealer.open(&sealed, at(expires - 1), || binding), Ok(payload));
            prop_assert_eq!(sealer.open(&sealed, at(expires), || binding), Err(Unsealable::Expired));
        }

        #[test]
        fn nothing_is_opened_that_was_not_sealed(text in ".*|[A-Za-z0-9_-]*") {
            prop_assert_eq!(Sealer::new(b"key").open(&text, at(0), || BINDING), Err(Unsealable::Tampered));
        }
    }
}
