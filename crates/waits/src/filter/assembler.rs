//! Filters of labels and conditions, assembled to instructions.

use super::{ARGUMENTS, Condition, Instruction};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Debug, Clone, Copy)]
enum Step {
    Plain(Instruction),
    /// Jumps to a label, however far it is.
    Go(Label),
    /// Jumps to a label, or to the next instruction.
    Jump {
        code: u32,
        k: u32,
        yes: Option<Label>,
        no: Option<Label>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Assembler {
    steps: Vec<Step>,
    /// Where each label stands.
    places: Vec<usize>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(usize::MAX);
        Label(self.places.len() - 1)
    }

    pub(super) fn mark(&mut self, label: Label) {
        self.places[label.0] = self.steps.len();
    }

    fn plain(&mut self, code: u32, k: u32) {
        let code = code as u16;
        let (jt, jf) = (0, 0);
        self.steps
            .push(Step::Plain(Instruction { code, jt, jf, k }));
    }

    pub(super) fn load(&mut self, offset: u32) {
        self.plain(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    }

    pub(super) fn end(&mut self, action: u32) {
        self.plain(libc::BPF_RET | libc::BPF_K, action);
    }

    pub(super) fn go(&mut self, to: Label) {
        self.steps.push(Step::Go(to));
    }

    pub(super) fn jump(&mut self, comparison: u32, k: u32, yes: Option<Label>, no: Option<Label>) {
        let code = libc::BPF_JMP | comparison | libc::BPF_K;
        self.steps.push(Step::Jump { code, k, yes, no });
    }

    /// Goes to the target of the number that was loaded, or lets the call through if it has none.
    /// `targets` are sorted by number.
    pub(super) fn choose(&mut self, targets: &[(u32, Label)]) {
        /// How many are compared one after another.
        const FEW: usize = 3;
        let (low, high) = targets.split_at(targets.len() / 2);
        match high.first() {
            Some(&(middle, _)) if targets.len() > FEW => {
                let upper = self.label();
                self.jump(libc::BPF_JGE, middle, Some(upper), None);
                self.choose(low);
                self.mark(upper);
                self.choose(high);
            }
            _ => {
                for &(number, target) in targets {
                    self.jump(libc::BPF_JEQ, number, Some(target), None);
                }
                self.end(libc::SECCOMP_RET_ALLOW);
            }
        }
    }

    /// Goes on if `condition` holds, else to `other`.
    pub(super) fn require(&mut self, condition: Condition, other: Label) {
        let low = |argument: usize| ARGUMENTS + 8 * argument as u32;
        match condition {
            Condition::NotZero(argument) => {
                let holds = self.label();
                self.load(low(argument));
                self.jump(libc::BPF_JEQ, 0, None, Some(holds));
                self.load(low(argument) + 4);
                self.jump(libc::BPF_JEQ, 0, Some(other), None);
                self.mark(holds);
            }
            Condition::PositiveInt(argument) => {
                self.load(low(argument));
                self.jump(libc::BPF_JSET, 1 << 31, Some(other), None);
                self.jump(libc::BPF_JEQ, 0, Some(other), None);
            }
            Condition::AnyBit(argument, bits) => {
                self.load(low(argument));
                self.jump(libc::BPF_JSET, bits, None, Some(other));
            }
            Condition::Not(argument, value) => {
                self.load(low(argument));
                self.jump(libc::BPF_JEQ, value, Some(other), None);
            }
            Condition::Bits(argument, mask, value) => {
                self.load(low(argument));
                self.plain(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask);
                self.jump(libc::BPF_JEQ, value, None, Some(other));
            }
        }
    }

    pub(super) fn finish(self) -> Vec<Instruction> {
        let distance = |at: usize, target: Option<Label>| {
            let steps = target.map_or(0, |label| self.places[label.0] - at - 1);
            u8::try_from(steps).expect("a filter of fewer than 256 instructions")
        };
        let encode = |(at, step): (usize, &Step)| match *step {
            Step::Plain(instruction) => instruction,
            Step::Go(to) => Instruction {
                code: (libc::BPF_JMP | libc::BPF_JA) as u16,
                jt: 0,
                jf: 0,
                k: (self.places[to.0] - at - 1) as u32,
            },
            Step::Jump { code, k, yes, no } => Instruction {
                code: code as u16,
                jt: distance(at, yes),
                jf: distance(at, no),
                k,
            },
        };
        self.steps.iter().enumerate().map(encode).collect()
    }
}
