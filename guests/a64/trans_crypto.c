/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* trans_crypto.c: AES, SHA1 and SHA256. */
#include "guests/a64/trans_simd.h"

IR_HELPER(simd_sha1c, IR_HELPER_PURE);
IR_HELPER(simd_sha1p, IR_HELPER_PURE);
IR_HELPER(simd_sha1m, IR_HELPER_PURE);
IR_HELPER(simd_sha1su1, IR_HELPER_PURE);
IR_HELPER(simd_sha256h, IR_HELPER_PURE);
IR_HELPER(simd_sha256h2, IR_HELPER_PURE);
IR_HELPER(simd_sha256su0, IR_HELPER_PURE);
IR_HELPER(simd_sha256su1, IR_HELPER_PURE);
#if defined(__x86_64__)
IR_HELPER(simd_ni_sha1c, IR_HELPER_PURE);
IR_HELPER(simd_ni_sha1p, IR_HELPER_PURE);
IR_HELPER(simd_ni_sha1m, IR_HELPER_PURE);
IR_HELPER(simd_ni_sha256h, IR_HELPER_PURE);
IR_HELPER(simd_ni_sha256h2, IR_HELPER_PURE);
IR_HELPER(simd_ni_sha256su0, IR_HELPER_PURE);
IR_HELPER(simd_ni_sha256su1, IR_HELPER_PURE);
#define NI(name) &helper_simd_ni_##name
#else
#define NI(name) &helper_simd_##name
#endif
/* Without and with the host's own SHA instructions. */
#define EITHER(name) {&helper_simd_##name, NI(name)}

bool trans_AES(struct a64_trans *t, const struct arg_AES *a) {
    static const uint8_t ops[4] = {IR_VAESE, IR_VAESD, IR_VAESMC, IR_VAESIMC};
    if (a64_fp_access(t)) {
        irv v = a64_get_v(t, a->rn);
        if (a->op < 2)
            v = vop2(t, IR_VXOR, 0, a64_get_v(t, a->rd), v);
        a64_put_v(t, a->rd, vop1(t, ops[a->op], 0, v, 0));
    }
    return true;
}

bool trans_SHA_3(struct a64_trans *t, const struct arg_SHA_3 *a) {
    static const struct ir_helper *const helpers[7][2] = {EITHER(sha1c),    EITHER(sha1p),   EITHER(sha1m),
                                                          {NULL, NULL},     EITHER(sha256h), EITHER(sha256h2),
                                                          EITHER(sha256su1)};
    if (a->opcode >= ARRAY_LEN(helpers))
        return false;
    if (!a64_fp_access(t))
        return true;
    irv d = a64_get_v(t, a->rd), n = a64_get_v(t, a->rn), m = a64_get_v(t, a->rm), r;
    if (helpers[a->opcode][0])
        r = ir_callv(t->b, helpers[a->opcode][simd_host_sha()], d, n, m, 0);
    else /* SHA1SU0 */
        r = vop2(t, IR_VXOR, 0, vop2(t, IR_VXOR, 0, d, m), vext(t, d, n, 8));
    a64_put_v(t, a->rd, r);
    return true;
}

bool trans_SHA_2(struct a64_trans *t, const struct arg_SHA_2 *a) {
    static const struct ir_helper *const su0[2] = EITHER(sha256su0);
    if (a->op == 3)
        return false;
    if (!a64_fp_access(t))
        return true;
    irv n = a64_get_v(t, a->rn), r;
    if (a->op == 0) { /* SHA1H: rotate by 30 */
        r = vop2(t, IR_VOR, 0, vop1(t, IR_VSHLI, 2, n, 30), vop1(t, IR_VSHRI, 2, n, 2));
        r = vop1(t, IR_VLOW, 2, r, 0);
    } else {
        r = ir_callv(t->b, a->op == 1 ? &helper_simd_sha1su1 : su0[simd_host_sha()], a64_get_v(t, a->rd), n, 0, 0);
    }
    a64_put_v(t, a->rd, r);
    return true;
}
