"""For processes of the fault suite: ``time.time`` is as far off as the file says that ``OPGRID_TEST_CLOCK`` names."""

import mmap
import os
import struct
import time

_path = os.environ.get("OPGRID_TEST_CLOCK")
if _path:
    with open(_path, "r+b") as _file:
        _page = mmap.mmap(_file.fileno(), 8)
    _time, _time_ns = time.time, time.time_ns

    def _off() -> float:
        (seconds,) = struct.unpack("d", _page[:8])
        return seconds

    time.time = lambda: _time() + _off()
    time.time_ns = lambda: _time_ns() + int(_off() * 10**9)
