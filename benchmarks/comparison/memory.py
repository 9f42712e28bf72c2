"""Peaks of the resident memory of processes, in MB; NaN where the system does not tell."""

import contextlib
import os
import pathlib
import subprocess
import sys

UNIT = 2**20 if sys.platform == "darwin" else 2**10  # of the operating system's figures


def reset_peak() -> None:
    """Let the peak of this process begin anew, where the system can do so."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Return the peak of this process, since `reset_peak` where that works."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 2**20


def wait(process: subprocess.Popen) -> float:
    """Wait for the end of a process and return its peak."""
    if not hasattr(os, "wait4"):
        process.wait()
        return float("nan")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * UNIT / 2**20
