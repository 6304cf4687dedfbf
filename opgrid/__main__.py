"""``python -m opgrid`` is ``opgrid``. With a name that begins with ``_``, it is a process that opgrid starts for itself
and needs nothing of the command line: to import that takes half as long as a child of a pool takes to start.
"""

import sys

if sys.argv[1:2] and sys.argv[1].startswith("_"):
    from opgrid.doors import through

    through(sys.argv[1][1:])(sys.argv[2:])
else:
    from opgrid.cli import main

    main()
