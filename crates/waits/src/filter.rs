//! Seccomp filters (cBPF) that hand a few calls to a listener and let all others through.
//!
//! The number is compared before anything else is loaded, so that the kernel's bitmap of numbers
//! that are always allowed (kernel/seccomp.c, `seccomp_cache_prepare`) serves the calls that no
//! rule names.

mod assembler;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::arch::AUDIT;
use assembler::{Assembler, Label};

/// One instruction of a filter.
pub type Instruction = libc::sock_filter;

/// Offsets into `struct seccomp_data` (include/uapi/linux/seccomp.h), little endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const POINTER: u32 = 8;
const ARGUMENTS: u32 = 16;

/// A condition on one argument of a call, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It is not 0.
    NotZero(usize),
    /// Its lower half is a positive C `int`.
    PositiveInt(usize),
    /// Some of these bits of its lower half are set.
    AnyBit(usize, u32),
    /// These bits of its lower half have this value.
    Bits(usize, u32, u32),
    /// Its lower half is not this.
    Not(usize, u32),
}

/// A call that the listener gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The call's number.
    pub number: u32,
    /// It is handed over where all conditions of one of these hold. None: always, from the gate
    /// too.
    pub alternatives: Vec<Vec<Condition>>,
}

impl Rule {
    /// A call that is handed over wherever and however it is made.
    pub fn always(number: u32) -> Rule {
        Rule {
            number,
            alternatives: Vec::new(),
        }
    }
}

/// The instructions whose calls are let through: those of the gate, but for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exempt {
    /// The gate. It does not cross a multiple of 2³².
    pub gate: Range<u64>,
    /// The address behind the one call in it that the listener gets.
    pub report: u64,
}

/// Calls that fail without being made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refused<'a> {
    /// Each is an architecture and a number.
    pub calls: &'a [(u32, u32)],
    /// What they fail with.
    pub error: u16,
}

/// Rules for the calls of another architecture.
#[derive(Debug, Clone, Copy)]
pub struct Foreign<'a> {
    /// As seccomp calls it.
    pub architecture: u32,
    /// At most one for a number.
    pub rules: &'a [Rule],
    /// Its gate.
    pub exempt: Option<&'a Exempt>,
}

/// A filter of `rules`, at most one for a number, and of `others`: calls, each of an architecture
/// by its number, that are handed over always. `refused` fail, but for those that are handed over.
/// `foreign`: the rules for another architecture.
///
/// All other calls by another architecture's numbers are let through.
///
/// When a filter is installed, the kernel runs it for each number until it decides or reads
/// something else (kernel/seccomp.c, `seccomp_cache_prepare_bitmap`): so the architecture is
/// compared once, and numbers by halves.
pub fn filter(
    rules: &[Rule],
    others: &[(u32, u32)],
    refused: Refused<'_>,
    exempt: Option<&Exempt>,
    foreign: Option<Foreign<'_>>,
) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let native = Section {
        others,
        refused,
        architecture: AUDIT,
        rules,
        exempt,
    };
    let native_at = code.label();
    code.load(ARCHITECTURE);
    code.jump(libc::BPF_JEQ, AUDIT, Some(native_at), None);
    let calls = others.iter().chain(refused.calls);
    let architectures = calls.map(|(of, _)| *of).filter(|&of| of != AUDIT);
    let with_rules = foreign.as_ref().map(|foreign| foreign.architecture);
    let architectures: BTreeSet<u32> = architectures.chain(with_rules).collect();
    let foreign_at = code.label();
    for architecture in architectures {
        let next = code.label();
        code.jump(libc::BPF_JEQ, architecture, None, Some(next));
        if with_rules == Some(architecture) {
            code.go(foreign_at);
        } else {
            let section = Section {
                architecture,
                rules: &[],
                exempt: None,
                ..native
            };
            section.assemble(&mut code);
        }
        code.mark(next);
    }
    code.end(libc::SECCOMP_RET_ALLOW);
    code.mark(native_at);
    native.assemble(&mut code);
    code.mark(foreign_at);
    if let Some(foreign) = foreign {
        let section = Section {
            architecture: foreign.architecture,
            rules: foreign.rules,
            exempt: foreign.exempt,
            ..native
        };
        section.assemble(&mut code);
    }
    code.finish()
}

/// What a filter does about the calls of one architecture.
#[derive(Clone, Copy)]
struct Section<'a> {
    others: &'a [(u32, u32)],
    refused: Refused<'a>,
    architecture: u32,
    rules: &'a [Rule],
    exempt: Option<&'a Exempt>,
}

impl Section<'_> {
    fn assemble(&self, code: &mut Assembler) {
        let &Section {
            architecture,
            rules,
            exempt,
            ..
        } = self;
        let (notify, refuse, inspect) = (code.label(), code.label(), code.label());
        let is_of = |&&(other, _): &&(u32, u32)| other == architecture;
        let refused = self.refused.calls.iter().filter(is_of);
        let refused = refused.map(|&(_, number)| (number, refuse));
        let others = self.others.iter().filter(is_of);
        let others = others.map(|&(_, number)| (number, notify));
        let mut targets: BTreeMap<u32, Label> = refused.chain(others).collect();
        targets.extend(rules.iter().map(|rule| {
            let target = match rule.alternatives.is_empty() {
                true => notify,
                false => inspect,
            };
            (rule.number, target)
        }));
        code.load(NUMBER);
        code.choose(&targets.into_iter().collect::<Vec<_>>());
        let allow = code.label();
        code.mark(inspect);
        if let Some(exempt) = exempt {
            let outside = code.label();
            code.load(POINTER + 4);
            let high = (exempt.gate.start >> 32) as u32;
            code.jump(libc::BPF_JEQ, high, None, Some(outside));
            code.load(POINTER);
            code.jump(libc::BPF_JEQ, exempt.report as u32, Some(notify), None);
            let (start, end) = (exempt.gate.start as u32, exempt.gate.end as u32);
            code.jump(libc::BPF_JGE, start, None, Some(outside));
            code.jump(libc::BPF_JGE, end, Some(outside), Some(allow));
            code.mark(outside);
            code.load(NUMBER);
        }
        // Calls with the same conditions share them.
        let mut bodies: BTreeMap<&[Vec<Condition>], Label> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| !rule.alternatives.is_empty()) {
            let body = *bodies
                .entry(&rule.alternatives)
                .or_insert_with(|| code.label());
            code.jump(libc::BPF_JEQ, rule.number, Some(body), None);
        }
        code.mark(allow);
        code.end(libc::SECCOMP_RET_ALLOW);
        code.mark(notify);
        code.end(libc::SECCOMP_RET_USER_NOTIF);
        code.mark(refuse);
        code.end(libc::SECCOMP_RET_ERRNO | u32::from(self.refused.error));
        for (alternatives, label) in bodies {
            code.mark(label);
            for conditions in alternatives {
                let next = code.label();
                for &condition in conditions {
                    code.require(condition, next);
                }
                code.end(libc::SECCOMP_RET_USER_NOTIF);
                code.mark(next);
            }
            code.end(libc::SECCOMP_RET_ALLOW);
        }
    }
}

/// Runs a filter as the kernel does (net/core/filter.c), for the instructions that [`filter`]
/// uses.
#[cfg(test)]
pub(crate) fn verdict(
    filter: &[Instruction],
    architecture: u32,
    number: u32,
    pointer: u64,
    arguments: [u64; 6],
) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend(pointer.to_le_bytes());
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut loaded) = (0, 0u32);
    loop {
        let step = filter[at];
        at += 1;
        let code = u32::from(step.code);
        match code & 7 {
            libc::BPF_LD => {
                assert_eq!(code, libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
                let from = step.k as usize;
                loaded = u32::from_le_bytes(data[from..from + 4].try_into().expect("a word"));
            }
            libc::BPF_ALU => loaded &= step.k,
            libc::BPF_JMP if code & 0xf0 == libc::BPF_JA => at += step.k as usize,
            libc::BPF_JMP => {
                let holds = match code & 0xf0 {
                    libc::BPF_JEQ => loaded == step.k,
                    libc::BPF_JGE => loaded >= step.k,
                    libc::BPF_JSET => loaded & step.k != 0,
                    other => panic!("jump {other:#x}"),
                };
                at += usize::from(if holds { step.jt } else { step.jf });
            }
            libc::BPF_RET => return step.k,
            other => panic!("code {other:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Scope, rules};
    use crate::{CLOCK_SETTERS, OTHER_EXECS, number};

    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn exempt() -> Exempt {
        Exempt {
            gate: 0x7e80_0001_0000..0x7e80_0001_1000,
            report: 0x7e80_0001_0042,
        }
    }

    #[test]
    fn conditions_are_what_they_say() {
        let notifies = |condition| {
            let rule = Rule {
                number: 7,
                alternatives: vec![vec![condition]],
            };
            let code = filter(&[rule], &[], Refused::default(), None, None);
            move |argument: u64| {
                let arguments = [0, 0, argument, 0, 0, 0];
                verdict(&code, AUDIT, 7, 0x1000, arguments) == NOTIFY
            }
        };
        let not_zero = notifies(Condition::NotZero(2));
        assert!(!not_zero(0) && not_zero(1) && not_zero(1 << 32) && not_zero(u64::MAX));
        let positive = notifies(Condition::PositiveInt(2));
        assert!(positive(1) && positive(0xdead_0000_7fff_ffff));
        assert!(!positive(0) && !positive(0xffff_ffff) && !positive(1 << 32));
        let any = notifies(Condition::AnyBit(2, 6));
        assert!(any(2) && any(5) && !any(9) && !any(1 << 33));
        let bits = notifies(Condition::Bits(2, 0x7f, 9));
        assert!(bits(9) && bits(0x89) && !bits(8) && !bits(0));
        let not = notifies(Condition::Not(2, 7));
        assert!(not(6) && not(0) && !not(7) && !not(7 | 1 << 32));
    }

    #[test]
    fn one_of_the_alternatives_is_enough_and_all_conditions_of_it_are_needed() {
        let rule = Rule {
            number: 202,
            alternatives: vec![
                vec![Condition::Bits(1, 0x7f, 9), Condition::NotZero(3)],
                vec![Condition::Bits(1, 0x7f, 6)],
            ],
        };
        let rules = [rule, Rule::always(59)];
        let code = filter(&rules, &OTHER_EXECS, Refused::default(), None, None);
        let notifies = |operation, timeout| {
            verdict(&code, AUDIT, 202, 0, [0, operation, 0, timeout, 0, 0]) == NOTIFY
        };
        assert!(notifies(9, 1) && notifies(6, 0) && notifies(6, 1));
        assert!(!notifies(9, 0) && !notifies(1, 1));
        assert_eq!(verdict(&code, AUDIT, 59, 0, [0; 6]), NOTIFY);
        assert_eq!(verdict(&code, AUDIT, 60, 0, [0; 6]), ALLOW);
        // i386, and x32's numbers.
        assert_eq!(verdict(&code, 0x4000_0003, 59, 0, [0; 6]), ALLOW);
        for (architecture, number) in OTHER_EXECS {
            assert_eq!(verdict(&code, architecture, number, 0, [0; 6]), NOTIFY);
            assert_eq!(verdict(&code, architecture, number + 1, 0, [0; 6]), ALLOW);
        }
        assert_eq!(verdict(&code, AUDIT, 59 | 1 << 30, 0, [0; 6]), ALLOW);
    }

    #[test]
    fn calls_that_set_a_clock_are_refused_on_every_architecture_and_no_others() {
        let refused = Refused {
            calls: &CLOCK_SETTERS,
            error: 1,
        };
        let rules = rules(Scope::All);
        let alone = filter(&[], &[], refused, None, None);
        let beside = filter(&rules, &OTHER_EXECS, refused, Some(&exempt()), None);
        for code in [alone, beside] {
            for (architecture, number) in CLOCK_SETTERS {
                let verdict = verdict(&code, architecture, number, 0, [0; 6]);
                assert_eq!(verdict, libc::SECCOMP_RET_ERRNO | 1);
            }
            for number in [0, number::CLOCK_GETTIME, number::GETTIMEOFDAY, 79] {
                assert_eq!(verdict(&code, AUDIT, number, 0, [0; 6]), ALLOW);
            }
        }
    }

    /// Programs of another architecture have a gate of their own.
    #[test]
    fn each_architecture_has_its_own_gate() {
        const OTHER: u32 = 0x4000_0003;
        let rule = Rule {
            number: 35,
            alternatives: vec![vec![Condition::NotZero(0)]],
        };
        let rules = [rule];
        let native = exempt();
        let other = Exempt {
            gate: 0x5000_0000..0x5000_1000,
            report: 0x5000_0042,
        };
        let foreign = Foreign {
            architecture: OTHER,
            rules: &rules,
            exempt: Some(&other),
        };
        let code = filter(
            &rules,
            &[],
            Refused::default(),
            Some(&native),
            Some(foreign),
        );
        let at =
            |architecture, pointer| verdict(&code, architecture, 35, pointer, [1, 0, 0, 0, 0, 0]);
        let (own, others) = (native.gate.start, other.gate.start);
        assert_eq!([at(AUDIT, own), at(AUDIT, others)], [ALLOW, NOTIFY]);
        assert_eq!([at(OTHER, own), at(OTHER, others)], [NOTIFY, ALLOW]);
    }

    #[test]
    fn the_gate_is_exempt_but_for_its_report() {
        let rule = Rule {
            number: 35,
            alternatives: vec![vec![Condition::NotZero(0)]],
        };
        let exempt = exempt();
        let code = filter(&[rule], &[], Refused::default(), Some(&exempt), None);
        let at = |pointer| verdict(&code, AUDIT, 35, pointer, [1, 0, 0, 0, 0, 0]);
        assert_eq!(at(exempt.gate.start), ALLOW);
        assert_eq!(at(exempt.gate.end - 1), ALLOW);
        assert_eq!(at(exempt.report), NOTIFY);
        for outside in [
            exempt.gate.start - 1,
            exempt.gate.end,
            exempt.gate.start & 0xffff_ffff,
            exempt.report + (1 << 32),
            0,
        ] {
            assert_eq!(at(outside), NOTIFY, "{outside:#x}");
        }
    }
}
