// Sleeps for an hour and exits with 0 if that left every register but a0 and t6 as it was, otherwise
// with the number of the first that it did not.
    .text
    .globl _start
_start:
    .irp register, 1,3,4,5,6,7,8,9,12,13,14,15,16,18,19,20,21,22,23,24,25,26,27,28,29,30
    li x\register, 1000 + \register
    .endr
    lla a0, hour
    li a1, 0
    li a7, 101              // nanosleep
    ecall
    bnez a0, failed
    .irp register, 1,3,4,5,6,7,8,9,12,13,14,15,16,18,19,20,21,22,23,24,25,26,27,28,29,30
    li a0, \register
    addi t6, x\register, -1000
    bne t6, a0, failed
    .endr
    li a0, 17
    li t6, 101
    bne a7, t6, failed
    li a0, 11
    bnez a1, failed
    li a0, 0
failed:
    li a7, 94               // exit_group
    ecall

    .balign 8
hour:
    .quad 3600, 0
