// dlsym, dlvsym and dlopen on x86-64. All end in a jump, never in a call: glibc reads the return
// address to know whose RTLD_NEXT, RUNPATH and namespace are meant, so it must find the program's
// there. Written in assembly because compilers are free to turn a tail call into a call.

    .text

    .globl dlsym
    .type dlsym, @function
    .p2align 4
dlsym:
    .cfi_startproc
    endbr64
    movq (%rsp), %rdx
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call barswap_lookup
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %rax, %rax
    jz 1f
    ret
1:  jmp *barswap_real_dlsym(%rip)
    .cfi_endproc
    .size dlsym, . - dlsym

// Another preload before us finds its "next dlsym" with dlvsym, which would pass over our
// unversioned one.
    .globl dlvsym
    .type dlvsym, @function
    .p2align 4
dlvsym:
    .cfi_startproc
    endbr64
    movq (%rsp), %rcx
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    pushq %rdx
    .cfi_adjust_cfa_offset 8
    call barswap_lookup_version
    popq %rdx
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    testq %rax, %rax
    jz 1f
    ret
1:  jmp *barswap_real_dlvsym(%rip)
    .cfi_endproc
    .size dlvsym, . - dlvsym

// RTLD_DEEPBIND (0x8) would let a plugin bind to libcuda past us.
    .globl dlopen
    .type dlopen, @function
    .p2align 4
dlopen:
    .cfi_startproc
    endbr64
    andl $~0x8, %esi
    cmpq $0, barswap_real_dlopen(%rip)
    jne 1f
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call barswap_find_loader
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
1:  jmp *barswap_real_dlopen(%rip)
    .cfi_endproc
    .size dlopen, . - dlopen

    .hidden barswap_lookup
    .hidden barswap_lookup_version
    .hidden barswap_find_loader
    .hidden barswap_real_dlsym
    .hidden barswap_real_dlopen
    .hidden barswap_real_dlvsym

    .section .note.GNU-stack, "", @progbits
