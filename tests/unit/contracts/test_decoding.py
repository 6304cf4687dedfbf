"""Types that several threads decode into for the first time."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import sys, threading
import msgspec
from opgrid.contracts.decoding import json_decoder

sys.setswitchinterval(1e-6)


class Inner(msgspec.Struct):
    a: int = 0


for number in range(300):
    fields = [(f"of_{each}", "Inner", msgspec.field(default_factory=Inner)) for each in range(8)]
    kinds = []
    for depth in range(6):
        below = [("below", f"Kind{depth - 1} | None", None)] if depth else []
        kinds.append(msgspec.defstruct(f"Kind{depth}", fields + below, module=__name__))
        globals()[f"Kind{depth}"] = kinds[-1]
    together = threading.Barrier(4)

    def decode(kind):
        together.wait()
        assert json_decoder(kind).decode(b'{"of_1":{"a":1},"below":{"of_2":{"a":2}}}').below.of_2.a == 2

    threads = [threading.Thread(target=decode, args=[kind]) for kind in kinds[-4:]]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
print("went on")
"""


def test_threads_that_meet_a_type_at_the_same_time_go_on() -> None:
    ended = subprocess.run([sys.executable, "-P", "-c", RACE], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")
