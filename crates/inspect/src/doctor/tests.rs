//! Machines that are not at hand, as facts.

mod cases;

use super::*;
use crate::function::{ClockId, Function, Make};
use crate::probe::Served;
use crate::process::Linkage;
use cases::*;

#[test]
fn each_cause_is_named() {
    for case in all() {
        let diagnosis = Diagnosis::from(case.facts);
        let causes: Vec<Cause> = diagnosis.findings.iter().map(|found| found.cause).collect();
        let expected: Vec<Cause> = case.findings.iter().map(|(cause, _)| *cause).collect();
        assert_eq!(causes, expected, "{}: {:#?}", case.name, diagnosis.findings);
        assert_eq!(diagnosis.verdict, case.verdict, "{}", case.name);
        for (found, (_, words)) in diagnosis.findings.iter().zip(case.findings) {
            let text = format!("{} {}", found.what, found.advice.as_deref().unwrap_or(""));
            for word in *words {
                assert!(text.contains(word), "{}: no «{word}» in: {text}", case.name);
            }
        }
    }
}

#[test]
fn sentences_end() {
    for case in all() {
        for found in Diagnosis::from(case.facts).findings {
            for text in [Some(found.what), found.advice].into_iter().flatten() {
                assert!(text.ends_with(['.', ':', '`']), "{}: {text}", case.name);
                assert!(!text.contains("  "), "{}: {text}", case.name);
            }
        }
    }
}

#[test]
fn a_published_clock_is_advised_where_it_would_be_fast() {
    let advice = |change: &dyn Fn(&mut Facts)| {
        let mut facts = without_counter("hpet", &["hpet", "acpi_pm"]);
        change(&mut facts);
        let findings = judge(&facts);
        let finding = findings
            .iter()
            .find(|finding| finding.cause == Cause::Clocksource);
        finding.unwrap().advice.clone().unwrap()
    };
    let published = "`vdso serve clock`";
    let sound = advice(&|_| {});
    assert!(sound.contains(published), "{sound}");
    let changes: [&dyn Fn(&mut Facts); 4] = [
        &|facts| facts.tsc.as_mut().unwrap().invariant = false,
        &|facts| facts.tsc.as_mut().unwrap().readable = false,
        &|facts| facts.tsc = None,
        &|facts| facts.architecture = Some("i386"),
    ];
    for change in changes {
        let advice = advice(change);
        assert!(!advice.contains(published), "{advice}");
    }
}

#[test]
fn functions_of_a_newer_kernel_are_noted() {
    let name = "__vdso_of_tomorrow".to_owned();
    let facts = Facts {
        vdso: Some(Vdso {
            is_the_kernels: true,
            unknown: vec![name.clone()],
            ..Vdso::default()
        }),
        ..Facts::default()
    };
    let findings = judge(&facts);
    let finding = findings
        .iter()
        .find(|finding| finding.cause == Cause::UnknownExports);
    let finding = finding.expect("a finding");
    assert!(finding.what.contains(&name), "{}", finding.what);
    assert_eq!(finding.grade, Grade::Note);
}

#[test]
fn getcpu_by_a_system_call_is_as_it_is_on_riscv() {
    let findings = |architecture| {
        let mut facts = healthy();
        facts.architecture = Some(architecture);
        for call in &mut facts.calls {
            if call.function == Function::Getcpu {
                call.vdso = Served::BySystemCall;
            }
        }
        let findings = judge(&facts);
        findings
            .iter()
            .filter(|finding| finding.cause == Cause::FallsBack)
            .count()
    };
    assert_eq!(findings("riscv64"), 0);
    assert_eq!(findings("aarch64"), 1);
}
