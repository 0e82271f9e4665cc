/*
 * A 32-bit program: its vDSO has the same data pages and none of the functions, and works as
 * ever. getpid by way of AT_SYSINFO; the exit status is 0 if that gave a number above 0.
 */
	.code32
	.globl _start
_start:
	movl	(%esp), %ecx
	leal	8(%esp,%ecx,4), %esi	/* environment */
1:	lodsl
	testl	%eax, %eax
	jnz	1b
2:	lodsl				/* auxiliary vector */
	movl	%eax, %ebx
	lodsl
	cmpl	$32, %ebx		/* AT_SYSINFO */
	je	3f
	testl	%ebx, %ebx
	jnz	2b
	movl	$1, %ebx
	jmp	4f
3:	movl	%eax, %edi
	movl	$20, %eax		/* getpid */
	call	*%edi
	xorl	%ebx, %ebx
	testl	%eax, %eax
	setle	%bl
4:	movl	$1, %eax		/* exit */
	int	$0x80
