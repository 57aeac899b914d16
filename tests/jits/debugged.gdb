# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# debugged.gdb - break and watch points, conditions, single steps, a call and a changed value, in debugged.c
set pagination off
set confirm off
set disable-randomization on
set width 0
break main
run
watch watched
continue
continue
continue
break step if i == 777
delete 2
continue
print i
print step(5)
set $count = 0
set $sum = 0
while $count < 300
  stepi
  set $count = $count + 1
end
printf "stepped\n"
display/i $pc
hbreak step if i == 900
continue
print i
set variable watched = 5000
finish
rwatch watched
continue
delete
continue
quit
