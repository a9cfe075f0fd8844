"""A filter of system calls for bubblewrap's --seccomp: what a learner's Python never needs, and what breaks caps.

    user namespaces    more scratch memory than promised, and most of the kernel's known holes
    memfd, io_uring    memory and work past the limits of a process
    keyrings, userfaultfd, bpf, perf, ptrace, mounts, kexec, modules    tools of exploits

The filter is a program for the kernel's packet machine (BPF): 8 bytes an instruction, assembled below. A call on the
list fails with "not permitted" (clone3, memfd_create and the like with "not implemented", so that libraries fall back).

Not here: files, networks and processes, which namespaces hide (sandbox.py).
"""

from __future__ import annotations

import platform
import struct

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # FAIL is or-ed with an errno
NOT_PERMITTED, NOT_IMPLEMENTED = 1, 38
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # places in what the kernel shows of a call
NEW_USER_NAMESPACE = 0x10000000
X32 = 0x40000000  # other numbers for the same calls, on x86-64

# name -> number on x86-64, number on ARM 64
CALLS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "mount_setattr": (442, 442),
    "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282), "kexec_load": (246, 104),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
}  # fmt: skip
MISSING = {
    "clone3": (435, 435), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip
CLONE = (56, 220)
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # name -> the kernel's, column above


def program(machine: str | None = None) -> bytes | None:
    """The filter for a machine (this one by default), or None where its numbers are not known here."""
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    architecture, column = known
    refused = [(numbers[column], FAIL | NOT_PERMITTED) for numbers in CALLS.values()]
    refused += [(numbers[column], FAIL | NOT_IMPLEMENTED) for numbers in MISSING.values()]
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, architecture),  # another one would be counted by other numbers
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, FAIL | NOT_PERMITTED),
    ]
    for number, answer in refused:
        steps += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    steps += [
        (JUMP_EQUAL, 0, 3, CLONE[column]),
        (LOAD, 0, 0, FIRST_ARGUMENT),  # the flags; what makes threads and processes stays allowed
        (JUMP_ANY_BIT, 0, 1, NEW_USER_NAMESPACE),
        (RETURN, 0, 0, FAIL | NOT_PERMITTED),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
