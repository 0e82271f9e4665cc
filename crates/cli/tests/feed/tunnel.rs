//! A link whose packets the test itself delays, loses and reorders. The kernel's own means is netem
//! (tc-netem(8)), which not every kernel has.
//!
//! Two TUN devices (Documentation/networking/tuntap.rst), one of them in a network namespace of its own:
//! what the kernel sends into one is written into the other.
#![allow(unsafe_code, reason = "ioctl(2) is what attaches to a TUN device")]

use crate::links::Network;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What happens to packets, in both directions.
#[derive(Default)]
struct Quality {
    /// Of a thousand packets, how many are lost.
    loss: AtomicU32,
    /// The shortest and the longest delay in milliseconds. Packets with different delays are reordered.
    delays: [AtomicU32; 2],
    lost: AtomicU64,
    reordered: AtomicU64,
}

/// The link, and the namespace at its other end.
pub(crate) struct Tunnel {
    pub(crate) network: Network,
    quality: Arc<Quality>,
}

impl Tunnel {
    /// `None` where there is no `/dev/net/tun` or no namespace can be made.
    pub(crate) fn new() -> Option<Self> {
        let mut ends = None;
        let network = Network::by(|Network { name, here, prefix }| {
            let there = format!("{here}t");
            ends = attach(here).ok().zip(attach(&there).ok());
            format!(
                "ip link set {there} netns {name}
                ip addr add {prefix}.1 peer {prefix}.2 dev {here}
                ip link set {here} up
                ip -n {name} addr add {prefix}.2 peer {prefix}.1 dev {there}
                ip -n {name} link set {there} up"
            )
        })?;
        let (here, there) = ends?;
        let quality = Arc::new(Quality::default());
        for (from, to, seed) in [(&here, &there, 1), (&there, &here, 2)] {
            let (from, to) = (from.try_clone().ok()?, to.try_clone().ok()?);
            let (sender, packets) = channel();
            // Both threads end with the devices: a read of one that was deleted fails.
            std::thread::spawn(move || {
                let (mut from, mut packet) = (from, vec![0; 1 << 16]);
                while let Ok(length) = from.read(&mut packet) {
                    if sender.send(packet[..length].to_vec()).is_err() {
                        return;
                    }
                }
            });
            let quality = quality.clone();
            std::thread::spawn(move || carry(&packets, to, &quality, seed));
        }
        Some(Self { network, quality })
    }

    /// Loses so many of a thousand packets, and delays the others by so many milliseconds.
    pub(crate) fn degrade(&self, loss: u32, delays: [u32; 2]) {
        self.quality.loss.store(loss, Ordering::Relaxed);
        for (old, new) in self.quality.delays.iter().zip(delays) {
            old.store(new, Ordering::Relaxed);
        }
    }

    /// How many packets were lost, and how many overtook another.
    pub(crate) fn faults(&self) -> (u64, u64) {
        let Quality {
            lost, reordered, ..
        } = &*self.quality;
        (
            lost.load(Ordering::Relaxed),
            reordered.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // The device in the namespace goes with that.
        let _ = Command::new("ip")
            .args(["link", "del", &self.network.here])
            .status();
    }
}

/// Creates a TUN device of this name that carries packets without a header in front.
fn attach(name: &str) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all zeros are a valid `ifreq`, which has integers and arrays of them only.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq` (drivers/net/tun.c), which `request` is, ended by a
    // NUL as names are shorter than IFNAMSIZ.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes packets into a device when they are due.
fn carry(packets: &Receiver<Vec<u8>>, mut to: File, quality: &Quality, seed: u64) {
    let mut random = seed;
    // Marsaglia's xorshift: the same faults in each run, as far as the packets are.
    let mut below = |limit: u32| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as u32 % limit.max(1)
    };
    let mut waiting: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
    let mut count = 0;
    let mut newest = 0;
    loop {
        let now = Instant::now();
        let wait = match waiting.first_key_value() {
            Some(((due, _), _)) => due.saturating_duration_since(now),
            None => Duration::from_secs(60),
        };
        match packets.recv_timeout(wait) {
            Ok(packet) if below(1000) >= quality.loss.load(Ordering::Relaxed) => {
                let [least, most] = [0, 1].map(|at| quality.delays[at].load(Ordering::Relaxed));
                let delay = least + below(most.saturating_sub(least) + 1);
                count += 1;
                let due = Instant::now() + Duration::from_millis(delay.into());
                waiting.insert((due, count), packet);
            }
            Ok(_) => {
                quality.lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while let Some(entry) = waiting.first_entry()
            && entry.key().0 <= now
        {
            let ((_, number), packet) = entry.remove_entry();
            if number < newest {
                quality.reordered.fetch_add(1, Ordering::Relaxed);
            }
            newest = newest.max(number);
            // A device that is not up refuses packets, as a link that is down loses them.
            let _ = to.write(&packet);
        }
    }
}
