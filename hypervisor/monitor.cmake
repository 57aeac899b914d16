# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
# graft_monitor: the monitor and the devices as a library, for the program and for tests. graft: the program, in the top of
# the build directory.
pkg_check_modules(MONITOR REQUIRED IMPORTED_TARGET libzstd liblzma liblz4 libseccomp zlib capstone libcjson)
find_package(BZip2 REQUIRED)
find_library(GRAFT_LIBFDT fdt REQUIRED)
find_library(GRAFT_LIBSLIRP slirp REQUIRED) # its pkg-config file wants headers that are not needed
set(monitor_dir ${CMAKE_SOURCE_DIR}/hypervisor)
file(GLOB monitor_sources CONFIGURE_DEPENDS ${monitor_dir}/*.c ${CMAKE_SOURCE_DIR}/devices/*.c
  ${CMAKE_SOURCE_DIR}/guests/boards.c ${CMAKE_SOURCE_DIR}/guests/*/board/*.c)
list(REMOVE_ITEM monitor_sources ${monitor_dir}/main.c)
# The agent of graft exec (agent/), for the guest's processor: without a C library, so any compiler for it will do.
set(agent_files ${CMAKE_SOURCE_DIR}/agent/agent.c ${CMAKE_SOURCE_DIR}/agent/sys.h ${CMAKE_SOURCE_DIR}/include/graft/agent.h)
set(agent_flags -std=gnu11 -O2 -Wall -Wextra -ffreestanding -nostdlib -static -fno-pic -fno-stack-protector -fno-builtin
    -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR} -Wl,--build-id=none -Wl,-s)
function(add_agent arch)
  find_program(GRAFT_${arch}_GCC ${arch}-linux-gnu-gcc)
  find_program(GRAFT_AGENT_CLANG NAMES clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14)
  find_program(GRAFT_LLD NAMES ld.lld)
  if(GRAFT_${arch}_GCC)
    set(compiler ${GRAFT_${arch}_GCC} -fno-tree-loop-distribute-patterns)
  elseif(GRAFT_AGENT_CLANG AND GRAFT_LLD)
    set(compiler ${GRAFT_AGENT_CLANG} --target=${arch}-linux-gnu -fuse-ld=lld)
  else()
    message(WARNING "no compiler for ${arch} (${arch}-linux-gnu-gcc, or clang with lld): graft exec will not work for such guests")
    return()
  endif()
  set(out ${CMAKE_BINARY_DIR}/agent-${arch})
  add_custom_command(OUTPUT ${out} COMMAND ${compiler} ${agent_flags} ${ARGN} ${CMAKE_SOURCE_DIR}/agent/agent.c -o ${out}
    DEPENDS ${agent_files} COMMENT "Agent for ${arch}" VERBATIM)
  string(TOUPPER ${arch} upper)
  set(agent_images ${agent_images} ${out} PARENT_SCOPE)
  set(agent_defines ${agent_defines} "-DGRAFT_AGENT_${upper}=\"${out}\"" PARENT_SCOPE)
endfunction()
add_agent(aarch64 -mno-outline-atomics)
add_agent(riscv64 -march=rv64gc -mabi=lp64d)
add_custom_target(graft_agents DEPENDS ${agent_images})
add_library(graft_monitor STATIC ${monitor_sources} ${monitor_dir}/engine_image.S ${monitor_dir}/root_image.S
  ${CMAKE_SOURCE_DIR}/guests/agents.S)
set_source_files_properties(${CMAKE_SOURCE_DIR}/guests/agents.S PROPERTIES
  COMPILE_OPTIONS "${agent_defines}" OBJECT_DEPENDS "${agent_images}")
set_source_files_properties(${monitor_dir}/root_image.S PROPERTIES
  COMPILE_OPTIONS "-DGRAFT_ROOT_SCRIPT=\"${monitor_dir}/root.sh\"" OBJECT_DEPENDS ${monitor_dir}/root.sh)
add_dependencies(graft_monitor graft_agents)
target_compile_definitions(graft_monitor PRIVATE _GNU_SOURCE= GRAFT_VERSION="${PROJECT_VERSION}")
set_source_files_properties(${monitor_dir}/engine_image.S PROPERTIES
  COMPILE_OPTIONS "-DGRAFT_ENGINE_ELF=\"${GRAFT_ENGINE_ELF}\"" OBJECT_DEPENDS ${GRAFT_ENGINE_ELF})
# Sanitizers make system calls of their own.
target_compile_definitions(graft_monitor PRIVATE GRAFT_SANDBOX=$<IF:$<BOOL:${GRAFT_SANITIZE}>,false,true>)
add_dependencies(graft_monitor graft_engine_elf)
target_link_libraries(graft_monitor PUBLIC graft_engine graft_rt_user graft_engine PkgConfig::MONITOR BZip2::BZip2 ${GRAFT_LIBFDT} ${GRAFT_LIBSLIRP} Threads::Threads)
add_executable(graft ${monitor_dir}/main.c)

# The monitor reads what a guest has made: whatever the compiler has against mistakes there. The engine in the process writes code
# that knows nothing of landing pads and shadow stacks, so there is no such mark on the program as a whole.
set(hardening -fstack-protector-strong)
foreach(flag -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero)
  string(MAKE_C_IDENTIFIER GRAFT_HAS${flag} known)
  check_c_compiler_flag(${flag} ${known})
  if(${known})
    list(APPEND hardening ${flag})
  endif()
endforeach()
if(NOT GRAFT_SANITIZE)
  list(APPEND hardening $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE> # it needs an optimizer
       $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=3>)
endif()
target_compile_options(graft_monitor PRIVATE $<$<COMPILE_LANGUAGE:C>:${hardening}>)
target_compile_options(graft PRIVATE ${hardening})
foreach(target graft_engine graft_rt_user graft_monitor graft)
  target_compile_options(${target} PRIVATE -fPIE)
endforeach()
target_link_options(graft PRIVATE -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)

target_compile_definitions(graft PRIVATE _GNU_SOURCE=)
target_link_libraries(graft PRIVATE graft_monitor)
set_target_properties(graft PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# The manual pages and the completions, from the table of options.
set(manuals)
set(manual_templates)
foreach(page graft graft-exec graft-info graft-root graft-run graft-snapshot)
  list(APPEND manuals ${CMAKE_BINARY_DIR}/${page}.1)
  list(APPEND manual_templates ${CMAKE_SOURCE_DIR}/docs/${page}.1.in)
endforeach()
set(option_tables ${monitor_dir}/options.def ${CMAKE_SOURCE_DIR}/dbt/mmu/mmu.def)
set(from_options ${manuals} ${CMAKE_BINARY_DIR}/graft.bash ${CMAKE_BINARY_DIR}/_graft)
add_custom_command(
  OUTPUT ${from_options}
  COMMAND ${Python3_EXECUTABLE} ${monitor_dir}/optiongen.py --options ${monitor_dir}/options.def
          --mmu ${CMAKE_SOURCE_DIR}/dbt/mmu/mmu.def --manuals ${CMAKE_SOURCE_DIR}/docs
          --version ${PROJECT_VERSION} --out ${CMAKE_BINARY_DIR}
  DEPENDS ${monitor_dir}/optiongen.py ${option_tables} ${manual_templates}
  COMMENT "Manual pages and completions"
  VERBATIM)
add_custom_target(graft_manual ALL DEPENDS ${from_options})
add_dependencies(graft graft_manual) # so that 'ninja graft' is all that is to be installed

set(GRAFT_ZSH_DIR ${CMAKE_INSTALL_DATADIR}/zsh/site-functions CACHE STRING "Where zsh looks for completions")
install(TARGETS graft RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${manuals} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_BINARY_DIR}/graft.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME graft)
install(FILES ${CMAKE_BINARY_DIR}/_graft DESTINATION ${GRAFT_ZSH_DIR})
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
