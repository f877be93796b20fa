"""Finds dev servers by their port files, and publishes one: a client of Pierhead in one file, for Python 3.8 and newer.

    import pierhead

    found = pierhead.discover()              # the server of the repo around the working directory
    print(found.url or found.reason)

    pierhead.publish(port, version="1.0.0")  # in a server, once it listens; the file goes with the process

Nothing here needs Pierhead itself, asks a daemon, or signals anybody. A port file is a claim: it is judged by the rules
that Pierhead judges it by, tested against one table of cases.

What can be seen differs. On Linux the owner of a port is found as Pierhead finds it, by `/proc/net/tcp{,6}` and the
open files of the named process and its descendants (Pierhead itself asks netlink, which is faster). Whether an IPv6
wildcard takes IPv4 as well is not in there: for such a server a connection to 127.0.0.1 is tried. From Python 3.9 on a
process is told from a later one of its number by the inode of its pidfd too, where the kernel gives it one (6.9); else
by its start in ticks of 10 ms. On every other system only this is known: whether the process is alive, and whether
anything answers on the port. So nothing is `live` there; a server that answers is `unsure`, and has an address all the
same.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import ipaddress
import json
import os
import re
import secrets
import select
import signal
import socket
import stat
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

if sys.platform != "win32":
    import fcntl

__all__ = [
    "Evidence", "Found", "Holder", "Instance", "Invalid", "Process", "Publication", "Record", "Sockets", "Taken",
    "Verdict", "discover", "judge", "parse", "publish",
]
__version__ = "0.1.0"

MAX_BYTES = 64 * 1024
MAX_PID = 4_194_304
WRITER = f"pierhead-python/{__version__}"

PathLike = Union[str, "os.PathLike[str]"]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


# ---- the port file


class Invalid(ValueError):
    """Bytes that are no port file; says why."""


@dataclass(frozen=True)
class Instance:
    """One life of one process. `None` stands for what a file or a system does not tell."""

    pid: int
    start: Optional[int] = None
    boot_id: Optional[str] = None
    pidfd_inode: Optional[int] = None
    pid_ns: Optional[int] = None

    def is_same_life(self, other: Instance) -> bool:
        """An inode decides where both have one of the same boot."""
        ours = (self.boot_id, self.start, self.pidfd_inode)
        theirs = (other.boot_id, other.start, other.pidfd_inode)
        return self.pid == other.pid and all(a is None or b is None or a == b for a, b in zip(ours, theirs))


@dataclass(frozen=True)
class Record:
    """A port file's content; every field that is not known here is in `extra`."""

    pid: int
    port: int
    host: str
    started_at: Optional[str] = None
    version: Optional[str] = None
    name: Optional[str] = None
    url: Optional[str] = None
    instance: Optional[Instance] = None
    writer: Optional[str] = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The bytes to write: known fields first, absent ones left out."""
        known: Dict[str, Any] = {name: getattr(self, name) for name in _KNOWN}
        if self.instance is not None:
            mark = {name: getattr(self.instance, name) for name in _MARK}
            known["instance"] = {name: value for name, value in mark.items() if value is not None}
        content = {name: value for name, value in known.items() if value is not None}
        return (json.dumps({**content, **self.extra}, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


_KNOWN = ("pid", "port", "host", "started_at", "version", "name", "url", "instance", "writer")
_MARK = ("start", "boot_id", "pidfd_inode", "pid_ns")


def parse(data: bytes) -> Record:
    """Reads a record from at most 64 KiB. Optional fields of a wrong type count as absent; raises `Invalid`."""
    if not data.strip(b" \t\n\r\f\0"):
        raise Invalid("it is empty")
    fields = _json(data)
    if not isinstance(fields, dict):
        raise Invalid("it is not a JSON object")
    pid = _number(fields, "pid", 2, MAX_PID)
    port = _number(fields, "port", 1, 65_535)
    if "host" not in fields:
        raise Invalid("`host` is missing")
    host = _text(fields["host"])
    if host is None:
        raise Invalid("`host` is not a text")
    texts = {name: _text(fields.get(name)) for name in ("started_at", "version", "name", "url", "writer")}
    extra = {name: value for name, value in fields.items() if name not in _KNOWN}
    return Record(pid, port, host, instance=_mark(pid, fields.get("instance")), extra=extra, **texts)


def _json(data: bytes) -> Any:
    """JSON as strict as Pierhead's: UTF-8 without a mark, finite numbers, whole characters, at most 127 levels."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Invalid(str(error)) from None
    if _depth(text) > 127:
        raise Invalid("it is nested too deep")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text[:40]} is no number")
    return number


def _depth(text: str) -> int:
    deepest = depth = 0
    for mark in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, depth)
    return deepest


def _number(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    if name not in fields:
        raise Invalid(f"`{name}` is missing")
    value = fields[name]
    if type(value) is int and least <= value <= most:
        return value
    shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise Invalid(f"{name} {shown if len(shown) <= 40 else shown[:40] + '…'} is not between {least} and {most}")


def _text(value: Any) -> Optional[str]:
    return value if isinstance(value, str) else None


def _mark(pid: int, value: Any) -> Optional[Instance]:
    if not isinstance(value, dict) or not isinstance(value.get("boot_id"), str):
        return None
    numbers = [value.get(name) for name in ("start", "pidfd_inode", "pid_ns")]
    if numbers[0] is None or not all(n is None or (type(n) is int and 0 <= n < 2**64) for n in numbers):
        return None
    return Instance(pid, numbers[0], value["boot_id"], numbers[1], numbers[2])


# ---- the judge


@dataclass(frozen=True)
class Process:
    """What lives under a number."""

    is_: str
    """`alive`, `gone`, `thread` (of another process), `zombie`, `looker` (the process that looks itself, which does not
    listen), `elsewhere` (another PID namespace's) or `unknown`."""
    instance: Optional[Instance] = None
    started_at: Optional[int] = None
    """When it started: milliseconds since 1970 by the wall clock of now."""
    how: str = ""
    """Why it is unknown."""


@dataclass(frozen=True)
class Holder:
    """A listening socket and the topmost process of the tree that holds it."""

    address: Address
    port: int
    owner: Instance


@dataclass(frozen=True)
class Sockets:
    """Who listens on the port."""

    are: str
    """`nobody`'s, the `tree`'s of the process, `others`', `unreadable` or `unknown`."""
    holder: Optional[Holder] = None
    other: Optional[Tuple[int, str]] = None
    """Number and command of who holds it outside of the tree, where that could be seen."""
    pid: int = 0
    """The process of the tree that could not be read."""
    how: str = ""
    """Why they are unknown."""


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen of what a port file claims."""

    process: Process
    sockets: Sockets
    boot_id: Optional[str] = None
    pid_ns: Optional[int] = None
    written_at: Optional[int] = None
    """When the file was written: milliseconds since 1970."""


@dataclass(frozen=True)
class Verdict:
    """What evidence says of a port file: `live`, `stale` (proven untrue) or `unsure`, and why."""

    word: str
    reason: Optional[str] = None


# A file written this long before "its" process started names an earlier one.
_REUSE_MARGIN_MS = 2_000


def judge(record: Record, evidence: Evidence) -> Verdict:
    """Weighs the evidence. A socket held by the named tree proves the file true whatever its dates say; everything that
    could not be seen is `unsure`, never `stale`."""
    pid, port, claimed, process, sockets = record.pid, record.port, record.instance, evidence.process, evidence.sockets
    if claimed and evidence.boot_id is not None and claimed.boot_id != evidence.boot_id:
        return _stale("written before the last boot")
    if claimed and None not in (claimed.pid_ns, evidence.pid_ns) and claimed.pid_ns != evidence.pid_ns:
        return _unsure(_OTHER_NAMESPACE)
    if process.is_ != "alive":
        return _judge_absence(pid, process)
    if claimed and process.instance and not claimed.is_same_life(process.instance):
        return _stale(_reused(pid))
    if sockets.are == "tree":
        return Verdict("live")
    if not claimed and _started_after_writing(process.started_at, evidence.written_at):
        return _stale(_reused(pid))
    if sockets.are == "others":
        who = f"{sockets.other[1]} (pid {sockets.other[0]})" if sockets.other else "another process"
        return _stale(f"port {port} is taken by {who}")
    if sockets.are == "nobody":
        return _unsure(f"alive, but not listening on port {port}")
    if sockets.are == "unreadable":
        return _unsure(f"not permitted to look at process {sockets.pid}")
    return _unsure(f"could not look: {sockets.how}")


def _judge_absence(pid: int, process: Process) -> Verdict:
    proofs = {
        "gone": f"process {pid} is gone",
        "thread": f"{pid} is a thread, not a process",
        "zombie": f"process {pid} has ended",
        # Whoever finds its own number did not write the file: that one has ended.
        "looker": _reused(pid),
    }
    if process.is_ in proofs:
        return _stale(proofs[process.is_])
    return _unsure(_OTHER_NAMESPACE if process.is_ == "elsewhere" else f"could not look: {process.how}")


_OTHER_NAMESPACE = "written inside another PID namespace"


def _reused(pid: int) -> str:
    return f"pid {pid} belongs to another process now"


def _stale(reason: str) -> Verdict:
    return Verdict("stale", reason)


def _unsure(reason: str) -> Verdict:
    return Verdict("unsure", reason)


def _started_after_writing(started_at: Optional[int], written_at: Optional[int]) -> bool:
    return started_at is not None and written_at is not None and started_at > written_at + _REUSE_MARGIN_MS


# ---- addresses


def _connect_host(bound: Address) -> Optional[Address]:
    """The loopback address that reaches a socket; `None` for one that is not this machine's loopback."""
    if isinstance(bound, ipaddress.IPv6Address) and bound.ipv4_mapped is not None:
        return bound.ipv4_mapped if bound.ipv4_mapped.is_loopback else None
    if bound.is_unspecified:
        return ipaddress.ip_address("127.0.0.1" if bound.version == 4 else "::1")
    return bound if bound.is_loopback else None


def _url(host: Address, port: int) -> str:
    return f"http://[{host}]:{port}/" if host.version == 6 else f"http://{host}:{port}/"


def _answers(host: Address, port: int) -> bool:
    try:
        socket.create_connection((str(host), port), timeout=1).close()
        return True
    except OSError:
        return False


# ---- the evidence


@dataclass(frozen=True)
class Listening:
    """A listening socket; its `id` is the same for all who hold it."""

    address: Address
    port: int
    id: int


class System:
    """What is asked of the system. This one is any that has no `/proc`: it knows who is alive and what answers."""

    sees_owners = False

    def boot_id(self) -> Optional[str]:
        """The name of this boot, where it can be told."""
        return None

    def pid_namespace(self) -> Optional[int]:
        """The PID namespace of this process, where there are such."""
        return None

    def own_pid(self) -> int:
        """This process."""
        return os.getpid()

    def look(self, pid: int) -> Process:
        """What lives under a number."""
        return Process("alive", Instance(pid)) if _is_alive(pid) else Process("gone")

    def inner_pid(self, pid: int) -> Optional[int]:
        """The number that a process has in a PID namespace below this one."""
        return None

    def listening(self, port: int) -> List[Listening]:
        """The sockets that listen on a port; raises `OSError` where that cannot be seen."""
        if any(_answers(host, port) for host in _LOCALHOSTS):
            raise OSError("something answers, and this system does not tell who")
        return []

    def owned_by(self, pids: List[int], sockets: List[Listening]) -> Tuple[List[Tuple[Listening, int]], Optional[int]]:
        """Each of `sockets` with the first process that holds it, and one process that could not be read."""
        return [], None

    def descendants(self, pid: int) -> List[int]:
        """The living descendants of a process, parents before children."""
        return []

    def holder_of(self, listening: Listening) -> Optional[Tuple[int, str]]:
        """Number and command of who holds a socket, found among all processes."""
        return None


_LOCALHOSTS: Tuple[Address, ...] = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        # Not `os.kill`, which ends a process there. 0x1000: PROCESS_QUERY_LIMITED_INFORMATION; 259: STILL_ACTIVE.
        import ctypes

        code, kernel = ctypes.c_ulong(), ctypes.windll.kernel32
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = ctypes.c_void_p(kernel.OpenProcess(0x1000, False, pid))
        if not handle:
            return ctypes.GetLastError() == 5  # access denied: another user's, and alive
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == 259
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's, and alive
    return True


if sys.platform == "linux":
    _TICKS = os.sysconf("SC_CLK_TCK")
else:
    _TICKS = 100


class Linux(System):
    """Linux, by `/proc`."""

    sees_owners = True
    # Milliseconds since 1970: when the wall clock was put forward, files written before seem older than they are, so
    # the earliest boot that was ever computed is what counts.
    _boot_ms: Optional[int] = None

    def boot_id(self) -> Optional[str]:
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def pid_namespace(self) -> Optional[int]:
        try:
            return os.stat("/proc/self/ns/pid").st_ino
        except OSError:
            return None

    def look(self, pid: int) -> Process:
        try:
            with _pidfd(pid) as pidfd:
                return self._look(pid, pidfd)
        except ProcessLookupError:
            return Process("gone")
        except OSError as error:
            return Process("unknown", how=str(error))

    def _look(self, pid: int, pidfd: Optional[int]) -> Process:
        try:
            # A thread has a folder as well, which is only not listed.
            group = re.search(r"^Tgid:\s*(\d+)", _proc(pid, "status"), re.MULTILINE)
            if group and int(group[1]) != pid:
                return Process("thread")
            state, threads, start = _stat(pid)
        except (FileNotFoundError, ProcessLookupError):
            # Where `/proc` hides the processes of others, it is only not to be seen.
            return Process("unknown", how=f"process {pid} is hidden") if _is_alive(pid) else Process("gone")
        # A leader that has ended is a zombie while other threads of it may hold the port.
        if state in "ZX" and threads <= 1:
            return Process("zombie" if state == "Z" else "gone")
        # The pidfd was taken first: if that life still goes on, what was read since is about it.
        if pidfd is not None and _is_readable(pidfd):
            return Process("gone")
        inode = os.fstat(pidfd).st_ino if pidfd is not None and _has_own_inode(pidfd) else None
        instance = Instance(pid, start, self.boot_id(), inode, self.pid_namespace())
        return Process("alive", instance, self._started_at(start))

    def _started_at(self, start: int) -> int:
        boot_ms = int(time.time() * 1000) - int(float(_text_of("/proc/uptime").split()[0]) * 1000)
        Linux._boot_ms = boot_ms if Linux._boot_ms is None else min(Linux._boot_ms, boot_ms)
        return Linux._boot_ms + start * 1000 // _TICKS

    def inner_pid(self, pid: int) -> Optional[int]:
        try:
            numbers = re.search(r"^NSpid:(.*)", _proc(pid, "status"), re.MULTILINE)
        except OSError:
            return None
        words = numbers[1].split() if numbers else []
        return int(words[-1]) if len(words) > 1 else None

    def listening(self, port: int) -> List[Listening]:
        found = _sockets_in("/proc/net/tcp", port)
        with contextlib.suppress(FileNotFoundError):  # no IPv6 here
            found += _sockets_in("/proc/net/tcp6", port)
        wildcard, both = ipaddress.ip_address("::"), ipaddress.ip_address("0.0.0.0")
        if any(each.address == wildcard for each in found) and all(each.address.version == 6 for each in found):
            if _answers(_LOCALHOSTS[0], port):
                found = [Listening(both, port, each.id) if each.address == wildcard else each for each in found]
        return found

    def owned_by(self, pids: List[int], sockets: List[Listening]) -> Tuple[List[Tuple[Listening, int]], Optional[int]]:
        owned: Dict[int, Tuple[Listening, int]] = {}
        unreadable = None
        for pid in pids:
            try:
                inodes = _socket_inodes(pid)
            except PermissionError:
                unreadable = pid
            except OSError:
                pass  # it has ended: what has ended holds nothing
            else:
                for each in sockets:
                    if each.id in inodes:
                        owned.setdefault(each.id, (each, pid))
        return list(owned.values()), unreadable

    def descendants(self, pid: int) -> List[int]:
        found = [pid]
        for each in found:
            found += [child for child in _children(each) if child not in found]
        return found[1:]

    def holder_of(self, listening: Listening) -> Optional[Tuple[int, str]]:
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
            with contextlib.suppress(OSError):
                if listening.id in _socket_inodes(pid):
                    return pid, _command_of(pid)
        return None


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[Optional[int]]:
    """Takes hold of a process where that is possible, so that what is read of it is read of one life."""
    pidfd = None
    if sys.platform == "linux" and sys.version_info >= (3, 9):
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            # A thread's number, or a kernel or sandbox without pidfds.
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOSYS, errno.EPERM):
                raise
    try:
        yield pidfd
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _is_readable(fd: int) -> bool:
    if sys.platform == "win32":
        return False
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


def _has_own_inode(pidfd: int) -> bool:
    """Before Linux 6.9 a pidfd is on the file system of all anonymous files and shares their inode."""
    if sys.platform != "linux":
        return False
    anonymous = select.epoll()
    try:
        return os.fstat(pidfd).st_dev != os.fstat(anonymous.fileno()).st_dev
    finally:
        anonymous.close()


def _text_of(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


def _proc(pid: int, name: str) -> str:
    return _text_of(f"/proc/{pid}/{name}")


def _stat(pid: int) -> Tuple[str, int, int]:
    """State, number of threads and start token. The name may hold spaces and parentheses: it ends at the last one."""
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    if len(fields) < 20:
        raise OSError(f"`/proc/{pid}/stat` is not as expected")
    return fields[0], int(fields[17]), int(fields[19])


def _sockets_in(path: str, port: int) -> List[Listening]:
    found = []
    for line in _text_of(path).splitlines()[1:]:
        words = line.split()
        # 0A: TCP_LISTEN.
        if len(words) < 10 or words[3] != "0A":
            continue
        address, _, its_port = words[1].partition(":")
        if int(its_port, 16) == port:
            found.append(Listening(_address(address), port, int(words[9])))
    return found


def _address(digits: str) -> Address:
    """`0100007F`: words of 32 bits, each in the machine's byte order."""
    words = [bytes.fromhex(digits[at : at + 8]) for at in range(0, len(digits), 8)]
    return ipaddress.ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words))


def _socket_inodes(pid: int) -> List[int]:
    inodes = []
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # closed meanwhile
            target = re.match(r"socket:\[(\d+)\]$", os.readlink(f"{folder}/{name}"))
            if target:
                inodes.append(int(target[1]))
    return inodes


def _children(pid: int) -> List[int]:
    found: List[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in _proc(pid, f"task/{task}/children").split()]
    return found


def _command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = [word for word in _proc(pid, "cmdline").split("\0") if word]
        if words:
            return "".join(" " if _is_control(c) else c for c in " ".join(words))[:200]
        return f"[{_proc(pid, 'comm').strip()}]"
    return "an unknown command"


def _is_control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


def evidence_of(record: Record, written_at: Optional[int], system: System) -> Evidence:
    """Looks at what a record claims."""
    process, sockets = system.look(record.pid), Sockets("nobody")
    if process.is_ == "alive" and process.instance is not None:
        sockets = _sockets_of(process.instance, record.port, system)
        if sockets.other is not None and system.inner_pid(sockets.other[0]) == record.pid:
            process = Process("elsewhere")
        elif record.pid == system.own_pid() and record.instance is None and sockets.are != "tree":
            process = Process("looker")
    elif process.is_ == "gone" and _is_elsewhere(record, system):
        process = Process("elsewhere")
    return Evidence(process, sockets, system.boot_id(), system.pid_namespace(), written_at)


def _is_elsewhere(record: Record, system: System) -> bool:
    """No such number here; it may be one inside a container whose port is seen from outside."""
    try:
        on_port = system.listening(record.port)
    except OSError:
        return False
    holder = system.holder_of(on_port[0]) if on_port else None
    return holder is not None and system.inner_pid(holder[0]) == record.pid


def _sockets_of(instance: Instance, port: int, system: System) -> Sockets:
    try:
        on_port = system.listening(port)
    except OSError as error:
        return Sockets("unknown", how=str(error))
    if not on_port:
        return Sockets("nobody")
    # The named process is the owner nearly always: its descendants are asked only when it is not.
    pids = [instance.pid]
    held, unreadable = system.owned_by(pids, on_port)
    if not held:
        pids += system.descendants(instance.pid)
        held, unreadable = system.owned_by(pids, on_port)
    if held:
        found, pid = min(held, key=lambda each: each[0].address.version)
        owner = system.look(pid).instance
        if owner is None:
            return Sockets("unknown", how="its owner ended meanwhile")
        return Sockets("tree", holder=Holder(found.address, found.port, owner))
    if unreadable is not None:
        return Sockets("unreadable", pid=unreadable)
    return Sockets("others", other=system.holder_of(on_port[0]))


_SYSTEM: System = Linux() if sys.platform == "linux" else System()


# ---- files


_FILE = "server.json"
_FOLDER = ".pm"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}\Z")
_HAS_DIR_FD = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_QUIET = 0
for _flag in ("O_CLOEXEC", "O_NOCTTY", "O_NOINHERIT", "O_BINARY"):
    _QUIET |= getattr(os, _flag, 0)
# Others write non-atomically: a file that does not parse is read again for so long.
_TORN_FOR_S = 1.0

Stamp = Tuple[int, int, int, int]
# Stands for whatever file is there: this process's own, or one that is no port file.
_ANY: Stamp = (-1, -1, -1, -1)


class _Unreadable(Exception):
    """What is there is nothing that a port file can be; says what it is."""


@dataclass(frozen=True)
class _Spot:
    """Where a port file is: a folder that may be reached by links, and folders below it that may be none."""

    base: Path
    below: Tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return self.base.joinpath(*self.below, _FILE)


class _Folder:
    """An open folder. Where the system can, everything in it is named relative to it, so that nobody exchanges a part
    of the way for a link; on Windows, which cannot, each part is looked at first."""

    def __init__(self, spot: _Spot, make: bool) -> None:
        if make and not spot.below:
            os.makedirs(spot.base, mode=0o700, exist_ok=True)
        self.path = spot.base
        self.fd: Optional[int] = os.open(spot.base, os.O_RDONLY | _QUIET | _directory()) if _HAS_DIR_FD else None
        try:
            for name in spot.below:
                self._enter(name, make)
                if make and name == _FOLDER:
                    self._keep_out_of_commits()
        except BaseException:
            self.close()
            raise

    def _enter(self, name: str, make: bool) -> None:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._at(name), 0o700, dir_fd=self.fd)
        kind = os.lstat(self._at(name), dir_fd=self.fd) if self.fd is not None else os.lstat(self._at(name))
        if _is_link(kind):
            raise _Unreadable("it is a symbolic link")
        if not stat.S_ISDIR(kind.st_mode):
            raise _Unreadable("it is not a regular file")
        if self.fd is not None:
            inner = _translated(lambda: os.open(name, os.O_RDONLY | _QUIET | _NO_LINK | _directory(), dir_fd=self.fd))
            os.close(self.fd)
            self.fd = inner
        self.path = self.path / name

    def _keep_out_of_commits(self) -> None:
        """What is in it is of this machine and this moment."""
        with contextlib.suppress(FileExistsError):
            self._create(".gitignore", b"*\n")

    def _at(self, name: str) -> str:
        return name if self.fd is not None else str(self.path / name)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def locked(self, wait: bool) -> Iterator[None]:
        """Holds the lock that Pierhead holds as well while it writes or removes. Windows has none that others see.
        Without waiting, whoever has it is not waited for: only what is still as it was is removed anyway."""
        fd = None
        if sys.platform != "win32" and self.fd is not None:
            fd = os.open(".", os.O_RDONLY | _QUIET | _directory(), dir_fd=self.fd)
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        try:
            yield
        finally:
            if fd is not None:
                os.close(fd)

    def read(self, name: str = _FILE) -> Tuple[bytes, Stamp]:
        """A regular file of at most 64 KiB. Never waits, never follows a link."""
        fd, stamp = self._open(name)
        try:
            size = stamp[2]
            data = b""
            if size <= MAX_BYTES:
                while len(data) <= MAX_BYTES:
                    more = os.read(fd, MAX_BYTES + 1 - len(data))
                    if not more:
                        return data, stamp
                    data += more
            raise _Unreadable(f"it is {max(size, len(data))} bytes long, more than {MAX_BYTES}")
        finally:
            os.close(fd)

    def _open(self, name: str) -> Tuple[int, Stamp]:
        flags = os.O_RDONLY | _QUIET | _NO_LINK | getattr(os, "O_NONBLOCK", 0)
        if not _NO_LINK and _is_link(os.lstat(self._at(name))):
            raise _Unreadable("it is a symbolic link")
        fd = _translated(lambda: os.open(self._at(name), flags, dir_fd=self.fd))
        kind = os.fstat(fd)
        if not stat.S_ISREG(kind.st_mode):
            os.close(fd)
            raise _Unreadable("it is not a regular file")
        return fd, (kind.st_dev, kind.st_ino, kind.st_size, kind.st_mtime_ns)

    def _create(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _QUIET
        fd = os.open(self._at(name), flags, 0o600, dir_fd=self.fd)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        except OSError:
            self._unlink(name)
            raise

    def _rename(self, name: str, to: str) -> None:
        _patiently(lambda: os.replace(self._at(name), self._at(to), src_dir_fd=self.fd, dst_dir_fd=self.fd))

    def _unlink(self, name: str) -> None:
        _patiently(lambda: os.unlink(self._at(name), dir_fd=self.fd))

    def put(self, data: bytes, judged: Optional[Stamp]) -> bool:
        """Writes the file whole, mode 0600, in place of the one that was judged: a reader never sees a part. False when
        another one is there by now: not everybody who writes takes the lock."""
        temp = _temp_name()
        self._create(temp, data)
        try:
            if judged == _ANY:
                self._rename(temp, _FILE)
                return True
            if judged is not None and not self.remove_if(judged):
                return False
            return self._put_new(temp)
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._unlink(temp)

    def _put_new(self, temp: str) -> bool:
        """A link fails where a rename would overwrite."""
        try:
            os.link(self._at(temp), self._at(_FILE), src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except FileExistsError:
            return False
        except OSError:
            self._rename(temp, _FILE)  # a file system without links
        return True

    def remove_if(self, stamp: Stamp) -> bool:
        """Removes the file if it is still that one. It is renamed aside before it is compared, so that one written in
        the meantime is put back and never lost. False when another one is there."""
        found = self._stamp(_FILE)
        if found != stamp:
            return found is None
        aside = _temp_name()
        try:
            self._rename(_FILE, aside)
        except FileNotFoundError:
            return True
        is_it = self._stamp(aside) == stamp
        if not is_it:
            with contextlib.suppress(OSError):
                os.link(self._at(aside), self._at(_FILE), src_dir_fd=self.fd, dst_dir_fd=self.fd)
        self._unlink(aside)
        return is_it

    def _stamp(self, name: str) -> Optional[Stamp]:
        try:
            fd, stamp = self._open(name)
        except FileNotFoundError:
            return None
        except (_Unreadable, OSError):
            return _ANY
        os.close(fd)
        return stamp


def _directory() -> int:
    return getattr(os, "O_DIRECTORY", 0)


def _temp_name() -> str:
    """Not to be guessed, so that nobody plants a link there first."""
    return f".{_FILE}.{secrets.token_hex(8)}"


def _is_link(kind: os.stat_result) -> bool:
    # 0x400: FILE_ATTRIBUTE_REPARSE_POINT, a junction for example.
    return stat.S_ISLNK(kind.st_mode) or bool(getattr(kind, "st_file_attributes", 0) & 0x400)


def _translated(open_it: Any) -> int:
    try:
        return int(open_it())
    except OSError as error:
        if error.errno in (errno.ELOOP, getattr(errno, "EMLINK", None)):
            raise _Unreadable("it is a symbolic link") from None
        if error.errno in (errno.ENOTDIR, errno.ENXIO, errno.EISDIR):
            raise _Unreadable("it is not a regular file") from None
        raise


def _patiently(act: Any) -> None:
    """On Windows whoever reads a file without sharing it stands in the way for a moment."""
    end = time.monotonic() + (0.5 if sys.platform == "win32" else 0)
    while True:
        try:
            act()
            return
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.01)


# ---- looking


@dataclass(frozen=True)
class _Sight:
    verdict: Verdict
    record: Optional[Record] = None
    stamp: Optional[Stamp] = None
    holder: Optional[Holder] = None


def _look_once(spot: _Spot, system: System) -> Optional[_Sight]:
    """Reads and judges a file as it stands; `None` when there is none. Raises `_Torn` when it does not parse."""
    try:
        with _Folder(spot, make=False) as folder:
            data, stamp = folder.read()
    except FileNotFoundError:
        return None
    except _Unreadable as why:
        return _Sight(_stale(f"invalid: {why}"))
    except OSError as error:
        return _Sight(_unsure(f"could not look: {error.strerror or error}"))
    try:
        record = parse(data)
    except Invalid as why:
        raise _Torn(stamp[3] / 1e9, _Sight(_stale(f"invalid: {why}"))) from None
    evidence = evidence_of(record, stamp[3] // 1_000_000, system)
    verdict = judge(record, evidence)
    return _Sight(verdict, record, stamp, evidence.sockets.holder if verdict.word == "live" else None)


class _Torn(Exception):
    """A file that does not parse: another format, or a writer's half-way mark."""

    def __init__(self, modified: float, sight: _Sight) -> None:
        super().__init__()
        self.modified, self.sight = modified, sight


def _look(spot: _Spot, system: System) -> Optional[_Sight]:
    end = time.monotonic() + _TORN_FOR_S
    while True:
        try:
            return _look_once(spot, system)
        except _Torn as torn:
            # Its writer has had the time to finish it: what it is now is what it was meant to be.
            if abs(time.time() - torn.modified) >= _TORN_FOR_S or time.monotonic() >= end:
                return torn.sight
        time.sleep(0.005)


@dataclass(frozen=True)
class Found:
    """What is known of a server. True when it has an address."""

    file: Path
    """The port file that was looked at."""
    verdict: Optional[str] = None
    """`live`, `stale`, `unsure`, or `None` when there is no file."""
    reason: Optional[str] = None
    """Why it has no address, or why that is not proven."""
    pid: Optional[int] = None
    """The process that holds the listening socket."""
    host: Optional[str] = None
    port: Optional[int] = None
    url: Optional[str] = None
    """Made here of a verified loopback address, never taken from the file."""
    record: Optional[Record] = None
    """What the file claims."""

    def __bool__(self) -> bool:
        return self.url is not None


def discover(path: Optional[PathLike] = None, server: Optional[str] = None) -> Found:
    """Looks for the server of a directory (the working directory, if none is given): in `$PM_CONFIG_DIR` if that is set
    and no server is named, else in `.pm` at the git top level around it, else in its own `.pm`. A file that does not
    parse is read again for up to a second."""
    return _discover(path, server, _SYSTEM)


def _discover(path: Optional[PathLike], server: Optional[str], system: System) -> Found:
    folder, top = os.environ.get("PM_CONFIG_DIR"), _top_of(path)
    if server is None:
        return _found(_Spot(Path(folder)) if folder else _Spot(top, (_FOLDER,)), system)
    found = _found(_spot_of(top, server), system)
    if found.verdict is None:
        # The default server's file is one level up, whatever its name.
        default = _found(_Spot(top, (_FOLDER,)), system)
        if default.record is not None and default.record.name == server:
            return default
    return found


def _found(spot: _Spot, system: System) -> Found:
    sight = _look(spot, system)
    if sight is None:
        return Found(spot.path, reason="there is no port file")
    found = Found(spot.path, sight.verdict.word, sight.verdict.reason, record=sight.record)
    if sight.holder is not None:
        host = _connect_host(sight.holder.address)
        pid, port = sight.holder.owner.pid, sight.holder.port
        if host is None:
            reason = f"it listens on {sight.holder.address}, which is not this machine's own loopback address"
            return Found(found.file, found.verdict, reason, pid, port=port, record=found.record)
        return Found(found.file, found.verdict, None, pid, str(host), port, _url(host, port), found.record)
    if sight.record is not None and sight.verdict.word == "unsure" and not system.sees_owners:
        hosts = (host for host in _claimed_hosts(sight.record) if _answers(host, sight.record.port))
        host = next(hosts, None)
        if host is not None:
            pid, port = sight.record.pid, sight.record.port
            return Found(found.file, found.verdict, found.reason, pid, str(host), port, _url(host, port), found.record)
    return found


def _claimed_hosts(record: Record) -> List[Address]:
    claimed = None
    with contextlib.suppress(ValueError):
        claimed = _connect_host(ipaddress.ip_address(record.host))
    return ([claimed] if claimed is not None else []) + [host for host in _LOCALHOSTS if host != claimed]


def _top_of(path: Optional[PathLike]) -> Path:
    """The git top level that holds a directory, or itself when none does. A worktree's `.git` is a file and counts."""
    directory = Path(os.path.abspath(path if path is not None else os.curdir))
    return next((each for each in (directory, *directory.parents) if (each / ".git").exists()), directory)


def _spot_of(top: Path, server: str) -> _Spot:
    if not _NAME.match(server):
        raise ValueError(f"`{server}` is no server's name")
    return _Spot(top, (_FOLDER, "servers", server))


# ---- publishing


class Taken(RuntimeError):
    """A live port file of another process is there."""

    def __init__(self, file: Path, pid: int) -> None:
        super().__init__(f"`{file}`: a live one of process {pid} is there")
        self.file, self.pid = file, pid


class Publication:
    """A published port file. It goes with `remove`, with a `with` block, or with the process: at its normal end, and by
    the signals INT, TERM, HUP and QUIT, which then end it as they would have. After a KILL it stays, and every reader
    sees that it is stale."""

    def __init__(self, spot: _Spot, record: Record) -> None:
        self.file = spot.path
        self.record = record
        self._spot = spot

    def remove(self) -> None:
        """Removes the file if it still names this process."""
        self._remove(wait=True)

    def _remove(self, wait: bool) -> None:
        if self in _published:
            _published.remove(self)
        # A forked child has this object too, and not the server.
        if os.getpid() != self.record.pid:
            return
        with contextlib.suppress(OSError, _Unreadable, Invalid), _Folder(self._spot, make=False) as folder:
            with folder.locked(wait):
                data, stamp = folder.read()
                if parse(data).pid == self.record.pid:
                    folder.remove_if(stamp)

    def __enter__(self) -> Publication:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


_published: List[Publication] = []


def publish(
    port: int,
    host: str = "127.0.0.1",
    *,
    path: Optional[PathLike] = None,
    server: Optional[str] = None,
    version: Optional[str] = None,
    name: Optional[str] = None,
    extra: Optional[Mapping[str, Any]] = None,
) -> Publication:
    """Publishes that this process listens on `port` of the address `host`. Call it once the socket is bound: readers
    look for its owner. The file is in `$PM_CONFIG_DIR` if that is set, else in `.pm` at the git top level around `path`
    (the working directory, if none is given), for a named `server` in its folder there. Fields of others in a file that
    is there are kept. Raises `Taken` when that is live and another process's, `OSError` when it cannot be written.

    Signals are seen to where nothing else handles them, and only if this is called in the main thread."""
    folder = os.environ.get("PM_CONFIG_DIR")
    top = _top_of(path)
    spot = _Spot(Path(folder)) if folder else _Spot(top, (_FOLDER,)) if server is None else _spot_of(top, server)
    record = _own_record(port, host, version, server if name is None else name, dict(extra or {}))
    publication = Publication(spot, record)
    # Before the file is there: a signal in between must find it.
    _published.append(publication)
    _end_with_the_process()
    try:
        with _undisturbed():
            publication.record = _write(spot, record, _SYSTEM)
    except BaseException:
        _published.remove(publication)
        raise
    return publication


def _own_record(port: int, host: str, version: Optional[str], name: Optional[str], extra: Dict[str, Any]) -> Record:
    if type(port) is not int or not 1 <= port <= 65_535:
        raise ValueError(f"port {port} is not between 1 and 65535")
    known = [field for field in extra if field in _KNOWN]
    if known:
        raise ValueError(f"`{known[0]}` is no extra field")
    bound = ipaddress.ip_address(host)
    reached = _connect_host(bound) or bound
    own = _SYSTEM.look(os.getpid()).instance
    instance = own if own is not None and own.start is not None and own.boot_id is not None else None
    since = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Record(os.getpid(), port, str(reached), since, version, name, _url(reached, port), instance, WRITER, extra)


def _write(spot: _Spot, record: Record, system: System) -> Record:
    for _ in range(100):
        # What is half written is waited for, before the lock is taken: its writer may need that.
        _look(spot, system)
        try:
            with _Folder(spot, make=True) as folder, folder.locked(wait=True):
                judged, kept = _judged(spot, record.pid, system)
                own = replace(record, extra={**kept, **record.extra})
                if folder.put(own.to_bytes(), judged):
                    return own
        except _Unreadable as why:
            raise OSError(errno.EINVAL, str(why), str(spot.path)) from None
    raise OSError(errno.EBUSY, "others write it all the time", str(spot.path))


def _judged(spot: _Spot, own_pid: int, system: System) -> Tuple[Optional[Stamp], Mapping[str, Any]]:
    """The file that may be replaced, if there is one, and the fields of others in it."""
    try:
        sight = _look_once(spot, system)
    except _Torn:
        return _ANY, {}
    if sight is None:
        return None, {}
    if sight.record is None or sight.record.pid == own_pid:
        return _ANY, sight.record.extra if sight.record else {}
    if _may_serve(sight, system):
        raise Taken(spot.path, sight.record.pid)
    return sight.stamp, sight.record.extra


def _may_serve(sight: _Sight, system: System) -> bool:
    """Where owners cannot be seen, what answers is believed to be what it claims: its file is not ours to take."""
    if sight.verdict.word == "live":
        return True
    record = sight.record
    if record is None or sight.verdict.word != "unsure" or system.sees_owners:
        return False
    return any(_answers(host, record.port) for host in _claimed_hosts(record))


_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
_SIGNALS = [getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name)]


def _end_with_the_process() -> None:
    atexit.unregister(_remove_all)
    atexit.register(_remove_all)
    for number in _SIGNALS:
        # Whatever else handles a signal ends the process in its own way, past `atexit`, or does not end it at all; so
        # does Python's own handler of INT.
        with contextlib.suppress(ValueError, OSError):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _end_by)


def _remove_all() -> None:
    for publication in list(_published):
        publication.remove()


def _end_by(number: int, _frame: object) -> None:
    for publication in list(_published):
        # It may have interrupted the very code that has the lock.
        publication._remove(wait=False)
    signal.signal(number, signal.SIG_DFL)
    if sys.platform == "win32":
        os._exit(128 + number)
    os.kill(os.getpid(), number)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds signals back meanwhile, so that none leaves half a work behind."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
