# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
# cmake -DREADELF=... -DIMAGE=... -P relocations.cmake: fails if the engine's image has a relocation other than those that
# the monitor can do (hypervisor/image.c).
execute_process(COMMAND ${READELF} -rW ${IMAGE} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "R_X86_64_[A-Z0-9_]+" found "${text}")
list(REMOVE_DUPLICATES found)
if(NOT found STREQUAL "R_X86_64_RELATIVE")
  message(FATAL_ERROR "${IMAGE} has relocations '${found}': only R_X86_64_RELATIVE can be done")
endif()
