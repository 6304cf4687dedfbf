"""Where a process gets children from quickly: zygotes that it keeps from one run to the next."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import SettingsError
from opgrid.zygote.birth import LEARNS, Child, Descriptors, Imports, Modules, Wanted, vitals
from opgrid.zygote.modules import installed, loaded_from, top

_SWITCH: Final = "OPGRID_ZYGOTE"
_ON, _OFF = "on", "off"

#: Codes that have a zygote at a time.
_KEPT: Final = 4
#: Zygotes in a row that may end before they have made a child.
_TRIES: Final = 3

#: What a process hands down to those that it starts, beside its environment and the rest that is asked for by name.
_HANDED_DOWN: Final = (
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "Cap",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
)

_encode = msgspec.json.Encoder().encode


def nursery(
    doors: Sequence[str],
    code: CodeTarget | None,
    preload: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Nursery | None:
    """That of this process for the code. ``doors``: what children do. None where they have to be started from nothing.

    ``environ`` is for them, in place of that of this process. Raises SettingsError.
    """
    if not is_on() or not _supported():
        return None
    key = (tuple(doors), code, tuple(preload), None if environ is None else tuple(sorted(environ.items())))
    with _all.lock:
        found = _all.nurseries.pop(key, None) or Nursery(doors, code, preload, environ)
        _all.nurseries[key] = found
        unused = [_all.nurseries.popitem(last=False)[1] for _ in range(len(_all.nurseries) - _KEPT)]
    for each in unused:
        each.close()
    return found


def is_on() -> bool:
    """False where OPGRID_ZYGOTE says that every child is to start from nothing. Raises SettingsError."""
    said = os.environ.get(_SWITCH) or _ON
    if said not in (_ON, _OFF):
        raise SettingsError(f"{_SWITCH} is {said!r}: it has to be {_ON!r} or {_OFF!r}.")
    return said == _ON


class Nursery:
    """May be used by several threads. A zygote is made for the state that this process is in, and by another one when
    that has changed: children are to find it as if they had been started from here.
    """

    def __init__(
        self,
        doors: Sequence[str],
        code: CodeTarget | None,
        preload: Sequence[str],
        environ: Mapping[str, str] | None,
    ) -> None:
        self._doors = tuple(doors)
        self._environ = environ
        self._code = code
        self._preload = tuple(preload)
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._learned: Modules = {}
        self._learns = True
        self._failures = 0

    def prepare(self) -> None:
        """A child will be wanted soon."""
        with self._lock:
            self._current()

    def birth(
        self,
        door: str,
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
        output: tuple[int, int] = (1, 2),
        asks: bool = False,
    ) -> Forked | None:
        """A child as ``python -P -m opgrid _DOOR ARGUMENTS DESCRIPTORS`` is one, leading a session. None: it has to be
        started otherwise. ``asks``: it may have children of the same zygote.
        """
        with self._lock:
            zygote = self._current()
            if zygote is None:
                return None
            ours, theirs = os.pipe()
            try:
                wanted = Child(door, list(arguments), _folders(self._code), asks)
                zygote.ask(wanted, [*Descriptors(*output, theirs), *descriptors])
            except OSError:
                os.close(ours)
                self._drop()
                return None
            finally:
                os.close(theirs)
            return Forked(ours)

    def stillborn(self) -> None:
        """A child that it promised did not come."""
        with self._lock:
            self._failures += 1
            self._drop()

    def thrives(self) -> None:
        """A child has come of it."""
        self._failures = 0

    def learn(self, modules: Modules) -> None:
        """What a child has imported; the next ones are to have it."""
        with self._lock:
            self._learned |= _but_of(self._code, modules)

    def rest(self) -> None:
        """Nobody waits for a child: a good time to pass on what was learned."""
        with self._lock:
            if self._zygote is not None and self._learned:
                with contextlib.suppress(OSError):
                    self._zygote.teach(self._learned, Imports(at_once=False))
                self._learned = {}

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _current(self) -> _Zygote | None:
        if self._failures >= _TRIES:
            return None
        try:
            state = _state(self._environ)
        except OSError:  # such as of a folder that has been deleted
            return None
        zygote = self._zygote
        if zygote is not None and (zygote.gone or zygote.state != state):
            self._drop()
        if self._zygote is None and not self._preload:
            self._zygote = _all.inherited_for(state)
        if self._zygote is None:
            try:
                self._zygote = _Zygote.start(state, self._doors, self._environ, self._learns)
                if self._preload:
                    self._zygote.teach(dict.fromkeys(self._preload, ""), Imports(_folders(self._code)))
            except OSError:
                self._failures += 1
        return self._zygote

    def _drop(self) -> None:
        """It sees its children to their end. Another one learns anew."""
        zygote, self._zygote, self._learned = self._zygote, None, {}
        if zygote is not None:
            self._learns = self._learns and not zygote.failed
            zygote.dismiss()

    def forget(self) -> None:
        """In a fork of this process, which has none."""
        self._lock = threading.Lock()
        if self._zygote is not None:
            self._zygote.forget()
            self._zygote = None


class _Zygote:
    def __init__(self, state: object, control: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        self.state = state
        self.control = control
        self.process = process  #: None: it is of this process' parent
        control.setblocking(False)

    @classmethod
    def start(cls, state: object, doors: Sequence[str], environ: Mapping[str, str] | None, learns: bool) -> Self:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nothing = subprocess.DEVNULL
        arguments = [str(theirs.fileno()), LEARNS if learns else "", *doors]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "opgrid", "_zygote", *arguments],
                env=environ,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(state, ours, process)

    @property
    def gone(self) -> bool:
        if self.process is not None:
            return self.process.poll() is not None
        waiting = select.poll()
        waiting.register(self.control, 0)
        return bool(waiting.poll(0))  # nothing but the other end's closing

    @property
    def failed(self) -> bool:
        """It ended by itself, and not as it should: of what it imported."""
        code = self.process.poll() if self.process is not None else None
        return code not in (None, 0, -signal.SIGKILL, -signal.SIGTERM)

    def ask(self, wanted: Wanted, descriptors: Sequence[int] = ()) -> None:
        socket.send_fds(self.control, [_encode(wanted)], descriptors)

    def teach(self, modules: Modules, wanted: Imports) -> None:
        with open(os.memfd_create("modules"), "w+b") as file:  # they may be too many for a message
            file.write(_encode(modules))
            file.seek(0)
            self.ask(wanted, [file.fileno()])

    def forget(self) -> None:
        """In a fork of this process."""
        self.control.close()
        if self.process is not None:
            self.process.returncode = 0  # Popen warns of one that nobody has waited for; who forked does

    def dismiss(self) -> None:
        """It goes when its last child has gone."""
        self.control.close()
        if self.process is None:
            _all.inherited = None
        else:
            _all.leaving.append(self.process)
        _all.leaving[:] = [each for each in _all.leaving if each.poll() is None]


class Forked:
    """A child of a zygote, as ``subprocess.Popen`` is one of this process; but how it ended may remain unknown."""

    def __init__(self, told: int) -> None:
        self._told = told  #: where its birth and its end are heard of
        self._heard = b""
        self._pid: int | None = None
        self._code: int | None = None
        self._pidfd = -1
        self._over = False

    @property
    def pid(self) -> int:
        """Waits for its birth. 0: there was none."""
        while self._pid is None and self._told >= 0:
            self._hear(None)
        return self._pid or 0

    @property
    def stillborn(self) -> bool:
        """Who was to fork it has died, or would not do it."""
        return not self.pid

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        if self.pid and self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def poll(self) -> bool | None:
        """None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return True if self._over else None

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, or minus the signal; None when nobody knows: the zygote died before it."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._over:
            left = None if until is None else max(0.0, until - time.monotonic())
            if self._told >= 0:
                waited_in_vain = not self._hear(left)
            else:
                waited_in_vain = self._pidfd >= 0 and not _readable(self._pidfd, left)
                self._over = not waited_in_vain
            if waited_in_vain and left == 0.0:
                assert timeout is not None
                raise subprocess.TimeoutExpired("a child of the pool", timeout)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        return self._code

    def _hear(self, timeout: float | None) -> bool:
        if not _readable(self._told, timeout):
            return False
        data = os.read(self._told, 64)
        self._heard += data
        pid, self._code = vitals(self._heard)
        if pid is not None and self._pid is None:
            self._pid = pid
            with contextlib.suppress(ProcessLookupError):
                self._pidfd = os.pidfd_open(pid)
        if not data or self._code is not None:
            os.close(self._told)
            self._told = -1
            self._over = self._code is not None or self._pidfd < 0
        return True


# ---- this process ----------------------------------------------------------------------------------------------------


class _All:
    """What this process has, to be closed when it ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.possible = False  #: zygotes are, which is known for sure
        self.nurseries: OrderedDict[object, Nursery] = OrderedDict()
        self.inherited: _Zygote | None = None
        self.born_with: tuple[frozenset[str], list[str]] = (frozenset(), [])  #: modules, and path
        self.leaving: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        for each in self.nurseries.values():
            each.close()
        for process in self.leaving:
            process.kill()  # it may be busy, and for nobody
            process.wait()

    def inherited_for(self, state: object) -> _Zygote | None:
        found = self.inherited
        return found if found is not None and found.state == state and not found.gone else None

    def forget(self) -> None:
        """In a fork of this process: zygotes are its parent's."""
        self.lock = threading.Lock()
        for each in self.nurseries.values():
            each.forget()
        self.nurseries.clear()
        if self.inherited is not None:
            self.inherited.control.close()
            self.inherited = None


_all = _All()
atexit.register(_all.close)
os.register_at_fork(after_in_child=_all.forget)


def _supported() -> bool:
    """Elsewhere to fork is not safe, or how a child ended cannot be seen from afar. That it does not work now, as where
    no file can be opened, is no reason not to try again.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    if not _all.possible:
        with contextlib.suppress(OSError):
            os.close(os.pidfd_open(os.getpid()))
            _told_by_the_system()
            _all.possible = True
    return _all.possible


def inherit(control: socket.socket) -> None:
    """In a child of a zygote: it may have children of the same, while it is in the state that it was born in."""
    _all.inherited = _Zygote(_state(None), control, None)
    _all.born_with = frozenset(sys.modules), list(sys.path)


def pass_on(code: CodeTarget | None) -> None:
    """In a child of a zygote, at its end: what it has imported, and not from the code, the next are to have."""
    if _all.inherited is not None:
        known, path = _all.born_with
        modules = _but_of(code, loaded_from(installed(path), known))
        if modules:
            with contextlib.suppress(OSError):
                _all.inherited.teach(modules, Imports(at_once=False))


def _state(environ: Mapping[str, str] | None) -> object:
    """All that a process hands down to those that it starts, and that can change while it runs."""
    here = os.stat(".")
    return (
        sys.executable,
        dict(os.environ if environ is None else environ),
        os.getcwd(),
        (here.st_dev, here.st_ino),
        _told_by_the_system(),
    )


def _told_by_the_system() -> object:
    """The part of it that does not depend on where this process is."""
    status = dict(line.split(":", 1) for line in Path("/proc/thread-self/status").read_text().splitlines())
    ignored = int(status.pop("SigIgn"), 16) & ~(1 << signal.SIGINT - 1)  # children see to that one themselves
    return (
        ignored,
        {name: value for name, value in status.items() if name.startswith(_HANDED_DOWN)},
        Path("/proc/thread-self/limits").read_text(),
        os.getpriority(os.PRIO_PROCESS, 0),
    )


def _folders(code: CodeTarget | None) -> list[str]:
    if code is None:
        return []
    folder = os.path.abspath(code.working_directory or os.getcwd())
    return [folder] if code.file is None else [folder, os.path.dirname(os.path.join(folder, code.file))]


def _but_of(code: CodeTarget | None, modules: Modules) -> Modules:
    """Without those of the user's package, which may be installed as well."""
    users = top((code.module or code.package or "") if code is not None else "")
    return {name: file for name, file in modules.items() if top(name) != users}


def _readable(descriptor: int, timeout: float | None) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout is None else timeout * 1000))
