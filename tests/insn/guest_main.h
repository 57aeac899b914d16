/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest_main.h: the end of a reference program: reads cases, has run_case() execute each in its slot, and writes the
 * records. */
void _start(void) {
    map(INSN_CODE, INSN_CODE_BYTES);
    map(INSN_SCRATCH, INSN_SCRATCH_BYTES);
    catch_signals();
    for (;;) {
        long count = read_all(cases, sizeof cases) / (long)sizeof cases[0];
        if (count == 0)
            fail(0);
        write_slots((unsigned)count);
        unsigned held = 0;
        for (unsigned i = 0; i < count; i++) {
            slot = INSN_CODE + (uint64_t)i * INSN_SLOT_BYTES;
            run_case(&cases[i], &records[held++]);
            if (held == 256 || i + 1 == count) {
                write_all(records, held * (long)sizeof records[0]);
                held = 0;
            }
        }
    }
}
