"""A proxy between sockets that can go wrong: cut, say nothing, swallow answers, be slow."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum
from pathlib import Path
from typing import Final

_CHUNK: Final = 65536


class Weather(Enum):
    FAIR = "fair"
    CUT = "cut"  #: connections end, and none comes about
    SILENT = "silent"  #: connections stay, and nothing goes through
    ONE_WAY = "one way"  #: questions arrive, answers are lost


class Proxy:
    """From a socket of its own, at ``path``, to another one; ``weather`` may change at any time."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = str(target)
        self._weather = Weather.FAIR
        self._fair = threading.Event()
        self._fair.set()
        self._open: set[socket.socket] = set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        before, self._weather = self._weather, weather
        if weather is Weather.SILENT:
            self._fair.clear()
            return
        self._fair.set()
        if weather is Weather.CUT or before in (Weather.SILENT, Weather.ONE_WAY):
            for each in list(self._open):
                _end(each)

    def close(self) -> None:
        self.weather = Weather.CUT
        _end(self._listening)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if self._weather is Weather.CUT:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self._target)
                except OSError:
                    near.close()
                    continue
                self._open |= {near, far}
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._fair.wait()
                if is_answer and self._weather is Weather.ONE_WAY:
                    continue
                sink.sendall(data)
        for each in (source, sink):
            self._open.discard(each)
            _end(each)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
