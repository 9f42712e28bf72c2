"""Restricting a process to some processors, for engines that take as many threads as it may use."""

import os


def hold_to(count: int) -> None:
    """Let this process and its later threads run on that many processors only, where the system can do so."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) > count:
            os.sched_setaffinity(0, allowed[-count:])
