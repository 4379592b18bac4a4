"""Runs a program with the system calls that a systemd unit leaves it: confine.py UNIT PROGRAM ARG...

What SystemCallFilter, SystemCallErrorNumber and RestrictAddressFamilies say is loaded with libseccomp, which
every systemd needs. Exits with 77 where libseccomp or systemd-analyze is not there."""

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys

ALLOW = ctypes.c_uint32(0x7FFF0000)
EQUAL = 4


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def error(name):
    return ctypes.c_uint32(0x00050000 | getattr(errno, name))


def settings(unit):
    lines = [line.strip().partition("=") for line in open(unit) if not line.startswith("#")]
    return [(name, value.split()) for name, mark, value in lines if mark]


def expand(names):
    """The system calls of sets, which may hold sets."""
    calls = set()
    for name in names:
        if name.startswith("@"):
            listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
            lines = [line.strip() for line in listed.stdout.splitlines()[1:]]
            calls |= expand([line for line in lines if line and not line.startswith("#")])
        else:
            calls.add(name)
    return calls


def confine(unit):
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    allowed, denial, families = expand(["@default"]), error("EPERM"), []
    for name, words in settings(unit):
        if name == "SystemCallFilter" and words[0].startswith("~"):
            allowed -= expand([words[0][1:], *words[1:]])
        elif name == "SystemCallFilter":
            allowed |= expand(words)
        elif name == "SystemCallErrorNumber":
            denial = error(words[0])
        elif name == "RestrictAddressFamilies":
            families = [getattr(socket, word) for word in words]
    # The program that is confined takes the place of this one.
    allowed.add("execve")
    context = ctypes.c_void_p(lib.seccomp_init(denial))

    def add(action, name, *compare):
        number = lib.seccomp_syscall_resolve_name(name.encode())
        pointer = ctypes.byref(compare[0]) if compare else None
        # A negative number is that of a call which this machine does not have.
        if number >= 0 and lib.seccomp_rule_add_array(context, action, number, len(compare), pointer):
            sys.exit(f"no rule for {name}")

    for name in allowed - ({"socket"} if families else set()):
        add(ALLOW, name)
    for family in range(64) if families else ():
        add(ALLOW if family in families else error("EAFNOSUPPORT"), "socket", Compare(0, EQUAL, family, 0))
    if lib.seccomp_load(context):
        sys.exit("the filter can't be loaded")


if not shutil.which("systemd-analyze"):
    sys.exit(77)
try:
    confine(sys.argv[1])
except OSError:
    sys.exit(77)
os.execv(sys.argv[2], sys.argv[2:])
