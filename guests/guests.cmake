# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
# The decoders that guests/decodegen.py makes from the decode tables. Sets GRAFT_GENERATED_DIR, defines the target
# graft_generated and appends the generated sources to GRAFT_ENGINE_SOURCES.
set(GRAFT_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)
foreach(guest a64 rv64)
  file(GLOB tables CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/guests/${guest}/*.decode)
  set(outputs ${GRAFT_GENERATED_DIR}/${guest}_decode.h ${GRAFT_GENERATED_DIR}/${guest}_decode.c)
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/guests/decodegen.py --prefix ${guest} --out ${GRAFT_GENERATED_DIR} ${tables}
    DEPENDS ${CMAKE_SOURCE_DIR}/guests/decodegen.py ${tables}
    COMMENT "Decoder of ${guest}"
    VERBATIM)
  list(APPEND graft_generated_outputs ${outputs})
  list(APPEND GRAFT_ENGINE_SOURCES ${GRAFT_GENERATED_DIR}/${guest}_decode.c)
endforeach()
add_custom_target(graft_generated DEPENDS ${graft_generated_outputs})
