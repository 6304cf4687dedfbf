"""For processes that must not unpickle: where one does so, it is written down, and refused."""

import os
import pickle
import sys

_path = os.environ.get("OPGRID_TEST_UNPICKLED")


def _refuse(*_args: object, **_more: object) -> object:
    with open(_path, "a") as file:
        file.write(" ".join(sys.orig_argv) + "\n")
    raise pickle.UnpicklingError("this process must not unpickle")


if _path:
    pickle.loads = pickle.load = pickle._loads = pickle._load = pickle.Unpickler = pickle._Unpickler = _refuse
    import _pickle

    _pickle.loads = _pickle.load = _pickle.Unpickler = _refuse
