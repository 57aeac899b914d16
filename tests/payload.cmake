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
            -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/= -mno-outline-atomics -fno-stack-protector -march=armv8-a+lse -Wall -Wextra -I${payload_lib} ${units} ${source}
            -Wl,-T,${payload_lib}/payload.lds -Wl,--build-id=none -Wl,--no-warn-rwx-segments -o ${elf}
    COMMAND aarch64-linux-gnu-objcopy -O binary ${elf} ${bin}
    DEPENDS ${source} ${ARGN} ${sources} VERBATIM)
endfunction()

# add_rv64_payload(ELF SOURCE FLAGS...): the same for RISC-V, an ELF file. rv64_payload: ELF, or nothing where there is no compiler for it.
find_program(GRAFT_RISCV_CLANG NAMES clang clang-19)
find_program(GRAFT_RISCV_LLD NAMES ld.lld ld.lld-19)
function(add_rv64_payload elf source)
  set(rv64_payload PARENT_SCOPE)
  if(NOT GRAFT_RISCV_CLANG OR NOT GRAFT_RISCV_LLD)
    return()
  endif()
  set(rv64_payload ${elf} PARENT_SCOPE)
  set(rv64_lib ${payload_lib}/../rv64/lib)
  file(GLOB lib CONFIGURE_DEPENDS ${rv64_lib}/*)
  add_custom_command(OUTPUT ${elf}
    COMMAND ${GRAFT_RISCV_CLANG} --target=riscv64-unknown-elf -march=rv64gc -mabi=lp64d -mcmodel=medany -mno-relax -O2 -g -ffreestanding
            -nostdlib -static -fno-pic -fuse-ld=lld -Wall -Wextra -Wno-unused-command-line-argument -I${rv64_lib} -I${payload_lib}
            ${rv64_lib}/start.S ${rv64_lib}/rv64_lib.c ${payload_lib}/tests.c ${source} -Wl,-T,${rv64_lib}/payload.lds ${ARGN} -o ${elf}
    DEPENDS ${source} ${lib} ${payload_lib}/tests.c ${payload_lib}/tests.h VERBATIM)
endfunction()
