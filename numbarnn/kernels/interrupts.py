"""Ctrl-C, put off while an exception in the middle would do harm."""

import _signal  # `signal` turns handlers into members of an enumeration, 3 us a call; `parallel.run` defers at every call
import contextlib
import sys

SIGINT = int(_signal.SIGINT)


class DeferredInterrupt:
    """Context manager that notes SIGINT and hands it to the handler of before when the block ends.

    Python runs signal handlers in the main thread, between two of its instructions; in other threads the block changes
    nothing. It may be nested. What the handler does then (raise KeyboardInterrupt, unless somebody installed another one), it does
    once for every Ctrl-C that was noted.

    Parameters
    ----------
    notice : str, optional
        Line for standard error at the first Ctrl-C, where a block may last for seconds.
    """

    def __init__(self, notice: str = ""):
        self.notice, self.heard, self.handler = notice, 0, None

    def __enter__(self):
        handler = _signal.getsignal(SIGINT)
        if callable(handler):  # not where SIGINT ends the process or is ignored
            self.handler = handler
            try:
                _signal.signal(SIGINT, self._note)
            except ValueError:  # another thread than the main one
                self.handler = None
        return self

    def _note(self, number, frame):
        self.heard += 1
        if self.heard == 1 and self.notice:
            with contextlib.suppress(Exception):  # standard error may be closed, or being written to
                sys.stderr.write(f"{self.notice}\n")
                sys.stderr.flush()

    def __exit__(self, *error):
        if self.handler is not None:
            _signal.signal(SIGINT, self.handler)
            for _ in range(self.heard):
                # Not the signal once more, which would wake an event loop twice.
                self.handler(SIGINT, sys._getframe(1))
