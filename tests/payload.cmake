# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
# add_payload(BIN SOURCE DEPENDS...): a bare-metal guest from one C file and tests/payloads/lib.
set(payload_lib ${CMAKE_CURRENT_LIST_DIR}/payloads/lib)
function(add_payload bin source)
  file(GLOB sources CONFIGURE_DEPENDS ${payload_lib}/*.c ${payload_lib}/*.S ${payload_lib}/*.h ${payload_lib}/*.lds)
  set(units ${sources})
  list(FILTER units INCLUDE REGEX "[.][cS]$")
  string(REGEX REPLACE "[.]bin$" ".elf" elf ${bin})
  add_custom_command(OUTPUT ${bin}
    COMMAND aarch64-linux-gnu-gcc -O2 -g -ffreestanding -nostdlib -static -fno-pic -mgeneral-regs-only -mstrict-align
            -mno-outline-atomics -fno-stack-protector -march=armv8-a+lse -Wall -Wextra -I${payload_lib} ${units} ${source}
            -Wl,-T,${payload_lib}/payload.lds -Wl,--build-id=none -Wl,--no-warn-rwx-segments -o ${elf}
    COMMAND aarch64-linux-gnu-objcopy -O binary ${elf} ${bin}
    DEPENDS ${source} ${ARGN} ${sources} VERBATIM)
endfunction()

# add_rv64_payload(ELF SOURCE [FLAGS...]): the same for RISC-V, with tests/payloads/rv64/lib, if there is clang, which has all targets, and lld.
find_program(GRAFT_RISCV_CLANG NAMES clang clang-19)
find_program(GRAFT_RISCV_LLD NAMES ld.lld ld.lld-19)
function(add_rv64_payload elf source)
  set(lib ${payload_lib}/../rv64/lib)
  file(GLOB sources CONFIGURE_DEPENDS ${lib}/*)
  add_custom_command(OUTPUT ${elf}
    COMMAND ${GRAFT_RISCV_CLANG} --target=riscv64-unknown-elf -march=rv64gc -mabi=lp64d -mcmodel=medany -mno-relax -O2 -g -ffreestanding
            -nostdlib -static -fno-pic -fuse-ld=lld -Wall -Wextra -Wno-unused-command-line-argument -I${lib} -I${payload_lib}
            ${lib}/start.S ${lib}/rv64_lib.c ${payload_lib}/tests.c ${source} -Wl,-T,${lib}/payload.lds ${ARGN} -o ${elf}
    DEPENDS ${source} ${sources} ${payload_lib}/tests.c ${payload_lib}/tests.h VERBATIM)
endfunction()
