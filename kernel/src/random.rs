//! Random bytes.

use crate::arch;
use crate::lock::Guarded;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

struct Generator {
    bytes: ChaCha20Rng,
    is_seeded: bool,
}

static GENERATOR: Guarded<Option<Generator>> = Guarded::new(None);

/// Seeds the generator with what the machine gave. Without that, the bytes can be guessed.
pub fn initialise(seed: Option<[u8; 32]>) {
    let is_seeded = seed.is_some();
    let seed = seed.unwrap_or_else(|| {
        crate::println!("reference kernel: the machine gave no seed, random bytes can be guessed");
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&arch::counter().to_ne_bytes());
        seed
    });
    *GENERATOR.get() = Some(Generator {
        bytes: ChaCha20Rng::from_seed(seed),
        is_seeded,
    });
}

/// Fills `bytes`.
pub fn fill(bytes: &mut [u8]) {
    let mut generator = GENERATOR.get();
    let generator = generator.as_mut();
    generator.expect("made at boot").bytes.fill_bytes(bytes);
}

/// Whether the bytes can't be guessed.
pub fn is_seeded() -> bool {
    GENERATOR.get().as_ref().is_some_and(|it| it.is_seeded)
}
