//! The addresses of gates and frames.
#![cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]

use vdsokit_waits::gate::{CALL, FRAME, FRAMES, Gate, PAGE, Then};

const START: u64 = 0x7e80_0000_0000;
const AT: u64 = 0x7e80_0010_0000;

fn gates() -> Vec<Gate> {
    vec![
        Gate::at(START, AT),
        #[cfg(target_arch = "x86_64")]
        Gate::i386_at(START, AT),
    ]
}

#[test]
fn frames_follow_each_other_and_the_spare_one_is_the_last() {
    for gate in gates() {
        assert_eq!((gate.frame(0), gate.frame(1)), (AT, AT + FRAME));
        assert_eq!(gate.spare(), AT + FRAMES * FRAME);
        assert_eq!(gate.spare() + FRAME, AT + Gate::FRAMES_LENGTH);
    }
}

/// Every call of a gate but the report is let through, and begins at an entry.
#[test]
fn a_gate_exempts_its_page_and_its_entries_lie_in_its_code() {
    for gate in gates() {
        let exempt = gate.exempt();
        assert_eq!(gate.start(), START);
        assert_eq!(gate.range(), START..START + PAGE);
        assert_eq!(exempt.gate, gate.range());
        let code = gate.own_code();
        assert!(code.len() < PAGE as usize);
        let offset = |address: u64| (address - START) as usize;
        // The instruction that makes a call ends there.
        let length = if cfg!(target_arch = "x86_64") { 2 } else { 4 };
        let ending_at = |end: usize| &code[end - length..end];
        let call = ending_at(offset(exempt.report));
        for argument in 0..6 {
            for then in [Then::Return, Then::Report] {
                let end = offset(gate.door(argument, then) + CALL);
                assert_eq!(ending_at(end), call, "{argument} {then:?}");
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_gate_of_32_bit_programs_has_its_own_code() {
    let [native, i386] = [Gate::at(START, AT), Gate::i386_at(START, AT)];
    assert!(!native.is_i386() && i386.is_i386());
    assert_eq!(native.own_code(), Gate::code());
    assert_eq!(i386.own_code(), Gate::i386_code());
    assert_ne!(Gate::code(), Gate::i386_code());
}
