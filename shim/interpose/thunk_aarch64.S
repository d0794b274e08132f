// Numbered stubs for driver functions that no row names, on AArch64; see thunk_x86_64.S.

    .set STUBS, 256
    .set COPIED_BYTES, 256
    .set GUARD_BYTES, 128           // thunk.cpp checks that its guard fits
    // Offsets above x29: frame record, guard, eight vector and nine word registers.
    .set GUARD, 16
    .set VECTORS, GUARD + GUARD_BYTES
    .set WORDS, VECTORS + 128
    .set FRAME_BYTES, WORDS + 80

    .text
    .globl barswap_thunk_stubs
    .hidden barswap_thunk_stubs
    .type barswap_thunk_stubs, %object
    .p2align 4
barswap_thunk_stubs:
    .set number, 0
    .rept STUBS
    .p2align 4
    .cfi_startproc
    hint #34                        // bti c
    mov w17, #number
    b barswap_thunk_common
    .cfi_endproc
    .set number, number + 1
    .endr
    .size barswap_thunk_stubs, . - barswap_thunk_stubs

    .type barswap_thunk_common, %function
    .p2align 4
barswap_thunk_common:
    .cfi_startproc
    sub sp, sp, #FRAME_BYTES
    .cfi_def_cfa_offset FRAME_BYTES
    stp x29, x30, [sp]
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    mov x29, sp
    .cfi_def_cfa_register x29
    stp q0, q1, [x29, #VECTORS]
    stp q2, q3, [x29, #VECTORS + 32]
    stp q4, q5, [x29, #VECTORS + 64]
    stp q6, q7, [x29, #VECTORS + 96]
    stp x0, x1, [x29, #WORDS]
    stp x2, x3, [x29, #WORDS + 16]
    stp x4, x5, [x29, #WORDS + 32]
    stp x6, x7, [x29, #WORDS + 48]
    str x8, [x29, #WORDS + 64]

    mov w0, w17
    add x1, x29, #GUARD
    bl barswap_thunk_enter
    mov x16, x0

    sub sp, sp, #COPIED_BYTES
    add x9, x29, #FRAME_BYTES
    mov x10, sp
    mov w11, #COPIED_BYTES / 16
1:  ldp x12, x13, [x9], #16
    stp x12, x13, [x10], #16
    subs w11, w11, #1
    b.ne 1b

    ldp q0, q1, [x29, #VECTORS]
    ldp q2, q3, [x29, #VECTORS + 32]
    ldp q4, q5, [x29, #VECTORS + 64]
    ldp q6, q7, [x29, #VECTORS + 96]
    ldp x0, x1, [x29, #WORDS]
    ldp x2, x3, [x29, #WORDS + 16]
    ldp x4, x5, [x29, #WORDS + 32]
    ldp x6, x7, [x29, #WORDS + 48]
    ldr x8, [x29, #WORDS + 64]
    blr x16
    add sp, sp, #COPIED_BYTES

    stp x0, x1, [x29, #WORDS]
    stp q0, q1, [x29, #VECTORS]
    stp q2, q3, [x29, #VECTORS + 32]
    add x0, x29, #GUARD
    bl barswap_thunk_leave
    ldp x0, x1, [x29, #WORDS]
    ldp q0, q1, [x29, #VECTORS]
    ldp q2, q3, [x29, #VECTORS + 32]

    ldp x29, x30, [sp]
    add sp, sp, #FRAME_BYTES
    .cfi_def_cfa sp, 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size barswap_thunk_common, . - barswap_thunk_common

    .hidden barswap_thunk_enter
    .hidden barswap_thunk_leave

    .section .note.GNU-stack, "", %progbits
