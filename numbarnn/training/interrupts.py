"""Ctrl-C and SIGTERM while training: noted, and answered after the step at hand."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def deferred_interrupt(terminated):
    """Let the first Ctrl-C only be noted, and SIGTERM too if `terminated`; give a function that says whether there was one.

    A process that SIGTERM would have ended ends with the block.
    """
    seen, before = [], {}
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number, frame):
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number in seen:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        seen.append(number)

    before[signal.SIGINT] = signal.signal(signal.SIGINT, note)
    if terminated and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGTERM in seen:
        signal.raise_signal(signal.SIGTERM)
