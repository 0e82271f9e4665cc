//! The cipher: RFC 8439's own vectors, another implementation, and Linux's test of its own.

use chacha20::ChaCha20Legacy;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use proptest::prelude::*;
use vdsokit_random::chacha::{BLOCK, KEY, fill};

fn key(of: &str) -> [u8; KEY] {
    hex(of).try_into().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|one| !one.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// RFC 8439, appendix A.1: the vectors whose nonce is zero.
#[test]
fn the_rfcs_vectors() {
    let zero = "00".repeat(KEY);
    let one = "00".repeat(KEY - 1) + "01";
    let ff = "00ff".to_owned() + &"00".repeat(KEY - 2);
    let vectors = [
        (
            &zero,
            0,
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
        ),
        (
            &zero,
            1,
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
        ),
        (
            &one,
            1,
            "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a
             8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
        ),
        (
            &ff,
            2,
            "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca
             13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
        ),
    ];
    for (text, counter, expected) in vectors {
        let mut block = [[0; BLOCK]];
        fill(&mut block, &key(text), counter);
        assert_eq!(block[0].to_vec(), hex(expected), "{text} {counter}");
    }
}

/// The same by the crate `chacha20`, in the cipher's original form: its counter has 64 bits.
fn theirs(key: &[u8; KEY], counter: u64, blocks: usize) -> Vec<u8> {
    let mut cipher = ChaCha20Legacy::new(key.into(), &[0; 8].into());
    cipher.seek(u128::from(counter) * BLOCK as u128);
    let mut bytes = vec![0; blocks * BLOCK];
    cipher.apply_keystream(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn blocks_are_another_implementations(
        key: [u8; KEY],
        counter in prop_oneof![
            any::<u64>().prop_map(|number| number >> 8),
            (0..40u64).prop_map(|before| (1 << 32) - before),
            0..9u64,
        ],
        blocks in 0..40usize,
    ) {
        let mut ours = vec![[0; BLOCK]; blocks];
        fill(&mut ours, &key, counter);
        prop_assert_eq!(ours.concat(), theirs(&key, counter, blocks));
    }
}

#[test]
fn the_counter_wraps() {
    let key = [7; KEY];
    let mut at_the_end = [[0; BLOCK]; 2];
    fill(&mut at_the_end, &key, u64::MAX);
    let mut at_the_start = [[0; BLOCK]];
    fill(&mut at_the_start, &key, 0);
    assert_eq!(at_the_end[1], at_the_start[0]);
}
