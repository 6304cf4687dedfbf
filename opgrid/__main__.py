"""``python -m opgrid`` is ``opgrid``. With a name that begins with ``_``, it is one of the processes that opgrid starts for
itself: these need nothing of the command line, which takes longer to import than a child of a pool takes to start.
"""

import sys

if sys.argv[1:2] and sys.argv[1].startswith("_"):
    from opgrid.doors import through

    through(sys.argv[1][1:])(sys.argv[2:])
else:
    from opgrid.cli import main

    main()
