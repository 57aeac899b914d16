# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
# Where guests run in tests, and so what the names of those tests end in or begin with: kvm-NAME, with that memory
# strategy in a VM, which needs /dev/kvm; NAME, in the process, which every host can do. The test cli compares this
# with what `graft info` lists, so that no strategy is forgotten.
set(GRAFT_KVM_STRATEGIES window soft)
set(GRAFT_INPROC_STRATEGIES window soft process)
list(TRANSFORM GRAFT_KVM_STRATEGIES PREPEND kvm- OUTPUT_VARIABLE GRAFT_KVM_PLACES)
set(GRAFT_PLACES ${GRAFT_KVM_PLACES} ${GRAFT_INPROC_STRATEGIES})
# add_guest_script(NAME SCRIPT TIMEOUT CPUS ARGUMENT...): a script that boots guests. Status 77: it cannot run here.
function(add_guest_script name script timeout cpus)
  add_test(NAME ${name} COMMAND ${CMAKE_SOURCE_DIR}/scripts/${script} ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS linux TIMEOUT ${timeout} PROCESSORS ${cpus} SKIP_RETURN_CODE 77
    ENVIRONMENT "GRAFT=$<TARGET_FILE:graft>")
endfunction()
# What needs a KVM that runs ring 0 natively, and so is tested where there is always one: by scripts/test-hw.
set(GRAFT_HW_STRATEGIES direct)
