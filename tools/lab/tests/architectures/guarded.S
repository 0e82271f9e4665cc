// A program all of whose pages are guarded: an indirect branch has to lead to a landing pad (BTI).
// Its first instruction is none, and neither is the one behind its system call, a sleep of an hour.
// It exits with 0 if that left every register but x0 and x17 as it was, otherwise with the number of
// the first that it did not, or 99 for the flags.
    .text
    .global _start
_start:
    .irp register, 2,3,4,5,6,7,9,10,11,12,13,14,15,16,18,19,20,21,22,23,24,25,26,27,28,29,30
    mov x\register, #(1000 + \register)
    .endr
    adr x0, hour
    mov x1, #0
    mov x8, #101            // nanosleep
    cmp x1, #1              // N
    svc #0
    b.pl flags
    cbnz x0, failed
    .irp register, 2,3,4,5,6,7,9,10,11,12,13,14,15,16,18,19,20,21,22,23,24,25,26,27,28,29,30
    mov x0, #\register
    sub x17, x\register, #1000
    cmp x17, x0
    b.ne failed
    .endr
    mov x0, #8
    cmp x8, #101
    b.ne failed
    mov x0, #1
    cbnz x1, failed
    mov x0, #0
failed:
    mov x8, #94             // exit_group
    svc #0
flags:
    mov x0, #99
    b failed

    .balign 8
hour:
    .quad 3600, 0

    .section .note.gnu.property, "a"
    .balign 8
    .word 4, 16, 5
    .asciz "GNU"
    .word 0xc0000000, 4, 1, 0   // GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI
