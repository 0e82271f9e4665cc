//! `vdso_clock.h`: a C program that includes it calls the image that it describes.
#![cfg(target_arch = "x86_64")]
#![allow(
    unsafe_code,
    reason = "the image is loaded by the modules that it shares"
)]

mod image;

use image::image;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = r#"
#include "vdso_clock.h"
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **arguments)
{
	struct timespec earliest, now, latest;
	void *image = count > 1 ? dlopen(arguments[1], RTLD_NOW) : NULL;
	__typeof__(vdso_clock_bound) *bound = image ? dlsym(image, "vdso_clock_bound") : NULL;
	if (!bound)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int result = bound(CLOCK_MONOTONIC, &earliest, &latest);
	int is_later = earliest.tv_sec > now.tv_sec ||
		(earliest.tv_sec == now.tv_sec && earliest.tv_nsec >= now.tv_nsec);
	int is_point = earliest.tv_sec == latest.tv_sec && earliest.tv_nsec == latest.tv_nsec;
	printf("%d %d %d\n", result, is_later, is_point);
	printf("%d %d\n", bound(CLOCK_THREAD_CPUTIME_ID, &earliest, &latest), bound(99, &earliest, &latest));
	return 0;
}
"#;

#[test]
fn a_c_program_calls_the_function_that_the_header_declares() {
    let directory = tempfile::tempdir().unwrap();
    let (source, program) = (
        directory.path().join("bound.c"),
        directory.path().join("bound"),
    );
    std::fs::write(&source, PROGRAM).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let status = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(include)
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status()
        .expect("a C compiler");
    assert!(status.success());
    let output = Command::new(&program).arg(image()).output().unwrap();
    // A page that was never published: the kernel's own clock, which is exact. EINVAL is 22.
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "0 1 1\n-22 -22\n",
        "{output:?}"
    );
}
