"""A zygote: it has imported what its children need, and runs no thread of its own.

It holds no code of the user's: each child loads that itself, as it is on the disk when the child starts.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import random
import select
import signal
import socket
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from opgrid.contracts.decoding import json_decoder
from opgrid.doors import through
from opgrid.loading import check_packages
from opgrid.zygote import modules, nursery
from opgrid.zygote.birth import LEARNS, Child, Descriptors, Modules, Wanted, born, ended

#: Seconds without a child after which it goes.
IDLE: Final = 300.0
#: Seconds without a wish after which it takes in what children have imported: many runs are the last of their process.
_CALM: Final = 0.1
#: Seconds that it may take to get ready, or to import what it is told; then it ends itself, and is replaced.
_PATIENCE: Final = 30

_LONGEST: Final = 1 << 16
_NAME: Final = 15  #: characters of the name of a process
_MOST_DESCRIPTORS: Final = 16

_wanted: msgspec.json.Decoder[Wanted] = json_decoder(Wanted)
_modules = json_decoder(Modules)


def main(arguments: Sequence[str]) -> None:
    """``python -P -m opgrid _zygote SOCKET LEARNS DOOR ...``: whose other end its parent has; whether it takes in what
    its children import; what these do.
    """
    signal.alarm(_PATIENCE)
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    for door in arguments[2:]:
        through(door)
    check_packages()
    zygote = Zygote(control, learns=arguments[1] == LEARNS)
    signal.alarm(0)
    wanted = zygote.serve()
    through(wanted.door)(wanted.arguments)


class Zygote:
    def __init__(self, control: socket.socket, learns: bool) -> None:
        self._learns = learns
        self._clients = {control.fileno(): control}  #: its parent, and children that may have children
        self._children: dict[int, tuple[int, int]] = {}  #: by pidfd: pid and vitals
        self._learned: Modules = {}  #: and not imported yet
        self._stamps: dict[str, modules.Stamp | None] = {}  #: of the files that it has imported
        self._own = {modules.top(name) for name in sys.modules}
        self._others: dict[str, str] = {}  #: top-level modules that it imported for its children, and their folders
        installed = modules.installed(sys.path)
        self._before = [folder for folder in sys.path if folder not in installed]
        self._unseeded: weakref.WeakSet[random.Random] = weakref.WeakSet()
        self._settle()

    def serve(self) -> Child:
        """Returns in children alone."""
        while self._clients or self._children:
            waiting = select.poll()
            for each in (*self._clients, *self._children):
                waiting.register(each, select.POLLIN)
            seconds = _CALM if self._learned else None if self._children else IDLE
            ready = waiting.poll(None if seconds is None else seconds * 1000)
            for descriptor, _ in ready:
                if descriptor in self._children:
                    self._reap(descriptor)
                elif descriptor in self._clients and (wanted := self._hear(self._clients[descriptor])) is not None:
                    return wanted
            if ready:
                continue
            if not self._learned:
                break
            self._take_in(self._learned)
            self._learned = {}
        os._exit(0)

    def _hear(self, client: socket.socket) -> Child | None:
        try:
            message, given, *_ = socket.recv_fds(client, _LONGEST, _MOST_DESCRIPTORS)
        except ConnectionError:
            message, given = b"", []
        if not message:
            self._forget(client)
            return None
        wanted = _wanted.decode(message)
        if isinstance(wanted, Child):
            return self._child(wanted, given)
        with open(given[0], "rb") as file:
            found = _modules.decode(file.read())
        if wanted.at_once:
            self._take_in(found, wanted.folders)
        elif self._learns:
            self._learned |= found
        return None

    def _forget(self, client: socket.socket) -> None:
        del self._clients[client.fileno()]
        client.close()

    def _retire(self) -> None:
        """No more children; how those end that there are is still told."""
        for client in list(self._clients.values()):
            self._forget(client)

    # ---- children ----------------------------------------------------------------------------------------------------

    def _child(self, wanted: Child, given: Sequence[int]) -> Child | None:
        """In the child, what it was wanted for."""
        descriptors, its_own = Descriptors(*given[:3]), given[3:]
        if self._outdated(wanted.folders):
            self._retire()
        elif self._fork(descriptors, wanted.asks):
            arguments = [*wanted.arguments, *map(str, its_own)]
            sys.argv[1:] = [f"_{wanted.door}", *arguments]
            Path("/proc/self/comm").write_text(f"opgrid {wanted.door}"[:_NAME])  # for ps and top
            return msgspec.structs.replace(wanted, arguments=arguments)
        for each in given:
            os.close(each)
        return None

    def _fork(self, descriptors: Descriptors, asks: bool) -> bool:
        """Whether this is the child."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if asks else (None, None)
        try:
            pid = os.fork()
        except OSError:
            pid = -1  # who asked tries it himself
        if pid == 0:
            self._become_child(descriptors)
            if theirs is not None:
                nursery.inherit(theirs)
        elif theirs is not None:
            theirs.close()
        if pid > 0:
            self._children[os.pidfd_open(pid)] = pid, os.dup(descriptors.vitals)
            if ours is not None:
                self._clients[ours.fileno()] = ours
        elif ours is not None:
            ours.close()
        return pid == 0

    def _become_child(self, descriptors: Descriptors) -> None:
        os.setsid()
        self._retire()
        for pidfd, (_, vitals) in self._children.items():
            os.close(pidfd)
            os.close(vitals)
        os.dup2(descriptors.stdout, 1)
        os.dup2(descriptors.stderr, 2)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=stream is sys.stderr or stream.isatty())  # type: ignore[union-attr]
        os.write(descriptors.vitals, born(os.getpid()))
        for each in descriptors:
            os.close(each)
        self._seed()

    def _seed(self) -> None:
        """So that children do not all draw the same numbers; ``random`` itself sees to that on its own."""
        for each in self._unseeded:
            each.seed()
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            with contextlib.suppress(Exception):  # it was given a generator that takes none
                numpy_random.seed()

    def _reap(self, pidfd: int) -> None:
        pid, vitals = self._children.pop(pidfd)
        code = _code_of(pid)
        if code is not None:
            with contextlib.suppress(OSError):  # nobody waits for it any more
                os.write(vitals, ended(code))
        os.close(vitals)
        os.close(pidfd)

    # ---- modules -----------------------------------------------------------------------------------------------------

    def _take_in(self, wanted: Modules, folders: Sequence[str] = ()) -> None:
        """Import them, each from the file that is named. Ends this process where that does not come out well."""
        signal.alarm(_PATIENCE)
        for folder in folders:
            if folder not in sys.path:
                sys.path.insert(0, folder)
        with self._seeds_noted():
            for name, file in wanted.items():
                if name in sys.modules or (file and "." not in name and _found(name) != file):
                    continue
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        if any(file and name in sys.modules and modules.file_of(name) != file for name, file in wanted.items()):
            os._exit(1)
        tops = {modules.top(name) for name in sys.modules} - self._own
        self._others = {name: modules.folder_of(name) for name in tops}
        self._settle()
        signal.alarm(0)

    def _settle(self) -> None:
        """What is here stays. Ends this process when there are threads: a fork leaves them behind, and what they hold.

        Libraries like OpenBLAS end theirs when a process forks, and start them again when they are used, so that it
        takes a fork to see.
        """
        for file in filter(None, map(modules.file_of, list(sys.modules))):
            self._stamps.setdefault(file, modules.stamp(file))
        gc.collect()
        gc.freeze()
        pid = os.fork()
        if not pid:
            os._exit(0)
        _code_of(pid)
        if len(os.listdir("/proc/self/task")) > 1:
            os._exit(1)

    def _outdated(self, folders: Sequence[str]) -> bool:
        """What it has imported has changed since, or would be found elsewhere by now."""
        return any(modules.stamp(file) != stamp for file, stamp in self._stamps.items()) or any(
            self._others.get(name, folder) != folder
            for folder in (*folders, *self._before)
            for name in modules.names_in(folder)
        )

    @contextlib.contextmanager
    def _seeds_noted(self) -> Iterator[None]:
        """Generators that modules make when they are imported, and seed with nothing."""
        seed, unseeded = random.Random.seed, self._unseeded

        def noting(self: random.Random, a: Any = None, version: int = 2) -> None:
            if a is None and not isinstance(self, random.SystemRandom):
                unseeded.add(self)
            seed(self, a, version)

        random.Random.seed = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            random.Random.seed = seed  # type: ignore[method-assign]


def _code_of(pid: int) -> int | None:
    """None where the system does not keep it: SIGCHLD is ignored by who started this process, and so here."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _found(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None else None
