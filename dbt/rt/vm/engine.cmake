# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
# graft_engine_elf: the engine as a freestanding image for the VM, from ${GRAFT_ENGINE_SOURCES} and the VM runtime. It never
# has sanitizers, whatever the rest has. Sets GRAFT_ENGINE_ELF, the file that the monitor embeds.
set(vm_dir ${CMAKE_SOURCE_DIR}/dbt/rt/vm)
add_executable(graft_engine_elf ${GRAFT_ENGINE_SOURCES} ${vm_dir}/start.S ${vm_dir}/trap.S ${vm_dir}/trap.c
  ${vm_dir}/ring3.S ${vm_dir}/ring3.c ${vm_dir}/paging.c ${vm_dir}/call.c ${vm_dir}/string.c ${vm_dir}/probe.c)
set_target_properties(graft_engine_elf PROPERTIES OUTPUT_NAME graft-engine.elf
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} LINK_DEPENDS "${vm_dir}/engine.lds;${vm_dir}/relocations.cmake")
target_include_directories(graft_engine_elf PRIVATE ${GRAFT_GENERATED_DIR})
add_dependencies(graft_engine_elf graft_generated)
# The compiler must not make calls of memcpy() and its like out of the loops in string.c. gcc and clang each have their own
# word for that; -fno-builtin is not gcc's. Sets GRAFT_STRING_FLAGS, for the tests, too.
check_c_compiler_flag(-fno-tree-loop-distribute-patterns GRAFT_HAS_NO_LOOP_PATTERNS)
if(GRAFT_HAS_NO_LOOP_PATTERNS)
  set(GRAFT_STRING_FLAGS -fno-tree-loop-distribute-patterns)
  target_compile_options(graft_engine_elf PRIVATE ${GRAFT_STRING_FLAGS})
else()
  set(GRAFT_STRING_FLAGS -fno-builtin)
  set_source_files_properties(${vm_dir}/string.c PROPERTIES COMPILE_OPTIONS ${GRAFT_STRING_FLAGS})
endif()
# -O3 for the CPUs that the backend wants anyway: translating is a third of the time of programs that run for a second.
# -fbuiltin: the memcpy() of a few bytes is a load and a store, not a call. What distributions add to CFLAGS and LDFLAGS
# to harden programs goes: there is no thread pointer for a canary, no library for checked functions, no loader.
target_compile_options(graft_engine_elf PRIVATE -fno-sanitize=all -g $<$<NOT:$<CONFIG:Debug>>:-O3> -march=x86-64-v3 -ffp-contract=off
  -ffreestanding -fbuiltin -fpie -fvisibility=hidden -fno-lto -mcmodel=small -mno-red-zone -fno-stack-protector
  -fno-stack-clash-protection -fcf-protection=none -fno-asynchronous-unwind-tables -U_FORTIFY_SOURCE)
# Undefined symbols fail the link: the engine has no library to take them from.
target_link_options(graft_engine_elf PRIVATE -fno-sanitize=all -fno-lto -nostdlib -static-pie
  $<$<C_COMPILER_ID:Clang>:-Wno-unused-command-line-argument> -Wl,-T,${vm_dir}/engine.lds
  -Wl,--no-undefined -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,-z,norelro)
check_linker_flag(C -Wl,--no-warn-rwx-segments GRAFT_HAS_RWX_WARNING) # binutils 2.39 and later
if(GRAFT_HAS_RWX_WARNING)
  target_link_options(graft_engine_elf PRIVATE -Wl,--no-warn-rwx-segments)
endif()
# graft carries it without what is for a debugger alone.
set(GRAFT_ENGINE_ELF ${CMAKE_BINARY_DIR}/graft-engine.stripped)
add_custom_command(TARGET graft_engine_elf POST_BUILD BYPRODUCTS ${GRAFT_ENGINE_ELF}
  COMMAND ${CMAKE_COMMAND} -DREADELF=${CMAKE_READELF} -DIMAGE=$<TARGET_FILE:graft_engine_elf> -P ${vm_dir}/relocations.cmake
  COMMAND ${CMAKE_OBJCOPY} --strip-debug $<TARGET_FILE:graft_engine_elf> ${GRAFT_ENGINE_ELF} VERBATIM)
