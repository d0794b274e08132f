// Numbered stubs for driver functions that no row names, on x86-64: whatever the function's
// prototype, its arguments arrive unchanged, and the call is made inside the gate. Registers are
// saved and restored; a fixed block of the caller's stack is copied: 32 further words.

    .set STUBS, 256
    .set COPIED_BYTES, 256
    .set GUARD_BYTES, 128           // thunk.cpp checks that its guard fits
    // Offsets below rbp: the guard, eight vector and seven word registers, the result.
    .set GUARD, -GUARD_BYTES
    .set VECTORS, GUARD - 128
    .set WORDS, VECTORS - 64
    .set FRAME_BYTES, GUARD_BYTES + 128 + 64

    .text
    .globl barswap_thunk_stubs
    .hidden barswap_thunk_stubs
    .type barswap_thunk_stubs, @object
    .p2align 4
barswap_thunk_stubs:
    .set number, 0
    .rept STUBS
    .p2align 4
    .cfi_startproc
    endbr64
    pushq $number
    .cfi_adjust_cfa_offset 8
    jmp barswap_thunk_common
    .cfi_endproc
    .set number, number + 1
    .endr
    .size barswap_thunk_stubs, . - barswap_thunk_stubs

    .type barswap_thunk_common, @function
    .p2align 4
barswap_thunk_common:
    .cfi_startproc
    .cfi_def_cfa_offset 16
    pushq %rbp
    .cfi_def_cfa_offset 24
    .cfi_offset rbp, -24
    movq %rsp, %rbp
    .cfi_def_cfa_register rbp
    subq $FRAME_BYTES, %rsp
    andq $-16, %rsp
    movups %xmm0, VECTORS(%rbp)
    movups %xmm1, VECTORS+16(%rbp)
    movups %xmm2, VECTORS+32(%rbp)
    movups %xmm3, VECTORS+48(%rbp)
    movups %xmm4, VECTORS+64(%rbp)
    movups %xmm5, VECTORS+80(%rbp)
    movups %xmm6, VECTORS+96(%rbp)
    movups %xmm7, VECTORS+112(%rbp)
    movq %rdi, WORDS(%rbp)
    movq %rsi, WORDS+8(%rbp)
    movq %rdx, WORDS+16(%rbp)
    movq %rcx, WORDS+24(%rbp)
    movq %r8, WORDS+32(%rbp)
    movq %r9, WORDS+40(%rbp)
    movq %rax, WORDS+48(%rbp)       // al: how many vector registers a variadic call uses

    movl 8(%rbp), %edi
    leaq GUARD(%rbp), %rsi
    call barswap_thunk_enter
    movq %rax, %r11

    subq $COPIED_BYTES, %rsp
    movq %rsp, %rdi
    leaq 24(%rbp), %rsi             // above the saved rbp, the number and the return address
    movl $COPIED_BYTES / 8, %ecx
    cld
    rep movsq

    movups VECTORS(%rbp), %xmm0
    movups VECTORS+16(%rbp), %xmm1
    movups VECTORS+32(%rbp), %xmm2
    movups VECTORS+48(%rbp), %xmm3
    movups VECTORS+64(%rbp), %xmm4
    movups VECTORS+80(%rbp), %xmm5
    movups VECTORS+96(%rbp), %xmm6
    movups VECTORS+112(%rbp), %xmm7
    movq WORDS(%rbp), %rdi
    movq WORDS+8(%rbp), %rsi
    movq WORDS+16(%rbp), %rdx
    movq WORDS+24(%rbp), %rcx
    movq WORDS+32(%rbp), %r8
    movq WORDS+40(%rbp), %r9
    movq WORDS+48(%rbp), %rax
    call *%r11
    addq $COPIED_BYTES, %rsp

    movq %rax, WORDS(%rbp)
    movq %rdx, WORDS+8(%rbp)
    movups %xmm0, VECTORS(%rbp)
    movups %xmm1, VECTORS+16(%rbp)
    leaq GUARD(%rbp), %rdi
    call barswap_thunk_leave
    movq WORDS(%rbp), %rax
    movq WORDS+8(%rbp), %rdx
    movups VECTORS(%rbp), %xmm0
    movups VECTORS+16(%rbp), %xmm1

    leave
    .cfi_def_cfa rsp, 16
    .cfi_restore rbp
    addq $8, %rsp
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size barswap_thunk_common, . - barswap_thunk_common

    .hidden barswap_thunk_enter
    .hidden barswap_thunk_leave

    .section .note.GNU-stack, "", @progbits
