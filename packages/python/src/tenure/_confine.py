"""Runs a program that cannot ask for memory that no limit counts, nor reach parts of the kernel that no model needs.

``python -I -S _confine.py PROGRAM [ARGUMENT …]``, as a process without capabilities that gains no privileges. It runs before the packages of the
model are read, whose ``.pth`` files run code. ``setrlimit`` with RLIMIT_DATA counts private memory alone; shared memory and stacks that
grow are refused here, and files in memory have the limit of their file system.
"""

import ctypes
import errno
import os
import struct
import sys

#: Of seccomp(2), linux/seccomp.h and linux/audit.h.
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
#: Of linux/bpf_common.h: load a word, bitwise and, jump where equal, jump where greater, return.
_LOAD, _AND, _EQUAL, _GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
#: Where linux/seccomp.h has the number of the call, the architecture, and the lower half of an argument on a little-endian machine.
_NUMBER, _ARCHITECTURE = 0, 4
#: The latest call that this file knows (mseal). A library that meets ENOSYS uses an older call.
_LAST = 462
_SHARED_ANONYMOUS, _GROWS_DOWN = 0x21, 0x100
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}

_X64, _ARM64 = 0xC000003E, 0xC00000B7
#: The numbers of a call on x64 and on arm64.
_MMAP, _SOCKET, _SOCKETPAIR = (9, 222), (41, 198), (53, 199)
#: Memory that belongs to no file system with a limit.
_SHARED_MEMORY = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
}
_REFUSED = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
}

_Step = tuple[int, int, int, int]


def _argument(place: int) -> int:
    return 16 + 8 * place


def _refused(code: int) -> _Step:
    return (_RETURN, 0, 0, _ERRNO | code)


def steps_for(architecture: int) -> list[_Step]:
    """The filter, as (code, jump if true, jump if false, value)."""
    at = 0 if architecture == _X64 else 1
    number: _Step = (_LOAD, 0, 0, _NUMBER)
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        _refused(errno.ENOSYS),
        number,
        # Also the calls of x32, whose numbers begin at 2^30.
        (_GREATER, 0, 1, _LAST),
        _refused(errno.ENOSYS),
    ]
    for calls, code in ((_SHARED_MEMORY, errno.ENOMEM), (_REFUSED, errno.EPERM)):
        for call in calls.values():
            steps += [(_EQUAL, 0, 1, call[at]), _refused(code)]
    flags: _Step = (_LOAD, 0, 0, _argument(3))
    mmap = [
        flags,
        (_AND, 0, 0, _SHARED_ANONYMOUS),
        (_EQUAL, 0, 1, _SHARED_ANONYMOUS),
        _refused(errno.ENOMEM),
        flags,
        (_AND, 0, 0, _GROWS_DOWN),
        (_EQUAL, 0, 1, _GROWS_DOWN),
        _refused(errno.ENOMEM),
        number,
    ]
    steps += [(_EQUAL, 0, len(mmap), _MMAP[at]), *mmap]
    families: list[_Step] = [(_EQUAL, len(_FAMILIES) - i, 0, family) for i, family in enumerate(_FAMILIES.values())]
    socket = [(_LOAD, 0, 0, _argument(0)), *families, _refused(errno.EAFNOSUPPORT)]
    steps += [(_EQUAL, 1, 0, _SOCKET[at]), (_EQUAL, 0, len(socket), _SOCKETPAIR[at]), *socket]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def confine() -> None:
    """Raises ``OSError`` where the kernel has no filters of system calls."""
    machine = os.uname().machine
    architecture = {"x86_64": _X64, "aarch64": _ARM64}.get(machine)
    if architecture is None:
        raise OSError(errno.ENOSYS, f"no filter of system calls for {machine}")
    # What the server was started with, such as by a shell. The first four are its own.
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor > 3:
            try:
                os.close(descriptor)
            except OSError:
                pass  # That of the listing.
    steps = steps_for(architecture)
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


if __name__ == "__main__":
    confine()
    os.execv(sys.argv[1], sys.argv[1:])
