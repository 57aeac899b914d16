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
