"""Processes that start in milliseconds: forked from one that has imported what they need, a *zygote*.

``nursery`` is the side of who wants them, ``server`` the zygote; see ``docs/adr/0019-children-are-forked.md``.
"""
