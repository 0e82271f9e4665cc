// Prints the registers that a program begins with, but for the stack pointer and where it is.
__asm__(
    ".globl _start\n"
    "_start:\n"
    "   pushfq\n"
    "   push %rax\n push %rbx\n push %rcx\n push %rdx\n push %rsi\n push %rdi\n push %rbp\n"
    "   push %r8\n  push %r9\n  push %r10\n push %r11\n push %r12\n push %r13\n push %r14\n"
    "   push %r15\n"
    "   mov $1, %edi\n"       // write(1, stack, 16 words)
    "   mov %rsp, %rsi\n"
    "   mov $128, %edx\n"
    "   mov $1, %eax\n"
    "   syscall\n"
    "   xor %edi, %edi\n"     // exit(0)
    "   mov $60, %eax\n"
    "   syscall\n");
