// dlsym, dlvsym and dlopen on AArch64; dl_x86_64.S says why they end in a jump.

    .text

    .globl dlsym
    .type dlsym, %function
    .p2align 4
dlsym:
    .cfi_startproc
    hint #34                    // bti c
    stp x29, x30, [sp, #-32]!
    .cfi_adjust_cfa_offset 32
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    mov x29, sp
    stp x0, x1, [sp, #16]
    mov x2, x30
    bl barswap_lookup
    mov x17, x0
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #32
    .cfi_adjust_cfa_offset -32
    .cfi_restore x29
    .cfi_restore x30
    cbz x17, 1f
    mov x0, x17
    ret
1:  adrp x16, barswap_real_dlsym
    ldr x16, [x16, #:lo12:barswap_real_dlsym]
    br x16
    .cfi_endproc
    .size dlsym, . - dlsym

// Another preload before us finds its "next dlsym" with dlvsym, which would pass over our
// unversioned one.
    .globl dlvsym
    .type dlvsym, %function
    .p2align 4
dlvsym:
    .cfi_startproc
    hint #34                    // bti c
    stp x29, x30, [sp, #-48]!
    .cfi_adjust_cfa_offset 48
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    mov x29, sp
    stp x0, x1, [sp, #16]
    str x2, [sp, #32]
    mov x3, x30
    bl barswap_lookup_version
    mov x17, x0
    ldp x0, x1, [sp, #16]
    ldr x2, [sp, #32]
    ldp x29, x30, [sp], #48
    .cfi_adjust_cfa_offset -48
    .cfi_restore x29
    .cfi_restore x30
    cbz x17, 1f
    mov x0, x17
    ret
1:  adrp x16, barswap_real_dlvsym
    ldr x16, [x16, #:lo12:barswap_real_dlvsym]
    br x16
    .cfi_endproc
    .size dlvsym, . - dlvsym

// RTLD_DEEPBIND (0x8) would let a plugin bind to libcuda past us.
    .globl dlopen
    .type dlopen, %function
    .p2align 4
dlopen:
    .cfi_startproc
    hint #34                    // bti c
    and w1, w1, #0xfffffff7
    adrp x16, barswap_real_dlopen
    ldr x16, [x16, #:lo12:barswap_real_dlopen]
    cbnz x16, 1f
    stp x29, x30, [sp, #-32]!
    .cfi_adjust_cfa_offset 32
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    mov x29, sp
    stp x0, x1, [sp, #16]
    bl barswap_find_loader
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #32
    .cfi_adjust_cfa_offset -32
    .cfi_restore x29
    .cfi_restore x30
    adrp x16, barswap_real_dlopen
    ldr x16, [x16, #:lo12:barswap_real_dlopen]
1:  br x16
    .cfi_endproc
    .size dlopen, . - dlopen

    .hidden barswap_lookup
    .hidden barswap_lookup_version
    .hidden barswap_find_loader
    .hidden barswap_real_dlsym
    .hidden barswap_real_dlopen
    .hidden barswap_real_dlvsym

    .section .note.GNU-stack, "", %progbits
