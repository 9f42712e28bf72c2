"""Diagnosis of a machine and an installation: what was found, what is wrong, and what to do about it."""

import ctypes
import importlib.metadata
import math
import os
import platform
import re
import sys
import time
import warnings
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numba.core.registry import cpu_target

from numbarnn import parallel
from numbarnn.__about__ import __version__
from numbarnn.backends.device import check_device
from numbarnn.cli import levels
from numbarnn.errors import DeviceError
from numbarnn.kernels import cache, prebuilt
from numbarnn.kernels.cpu import simd
from numbarnn.kernels.inventory import take_inventory
from numbarnn.layers import Dense
from numbarnn.model import Model

# Required distributions, with what does not work without them; and optional ones.
NEEDED = {
    "numpy": "nothing works",
    "numba": "nothing works",
    "pandas": "History.to_frame does not work",
    "tqdm": "there is no progress bar on a terminal",
    "safetensors": "models can be neither saved nor loaded",
}
OPTIONAL = ("torch", "keras", "scikit-learn", "matplotlib", "onnx", "onnxruntime", "openvino", "numba-cuda")

# Features whose absence from Numba's target costs much of the speed.
VECTORS = ("avx", "avx2", "fma")
SHOWN = (*VECTORS, "avx512f", "neon", "sve")


def examine() -> dict[str, Any]:
    """Return a report on the machine and the installation, as JSON values.

    Returns
    -------
    dict
        ``versions``, ``processor``, ``level``, ``threads``, ``cache``, ``denormals``, ``cuda``, ``trial``, each a dict (the cache:
        a list of folders), and ``problems``, a list of dicts ``{"serious", "what", "do"}``. With a serious problem
        something does not work; the others cost time. Where NUMBARNN_LEVEL cannot be had, ``problems`` alone.
    """
    problems: list[dict[str, Any]] = []

    def problem(serious, what, do):
        problems.append({"serious": serious, "what": what, "do": do})

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cache.CacheWarning)  # told below
            prebuilt.chosen()
    except ValueError as error:  # nothing can be computed, and no other question be answered
        return {"problems": [{"serious": True, "what": str(error), "do": f"unset {prebuilt.LEVEL}"}]}
    report = {
        "versions": _versions(problem),
        "processor": _processor(problem),
        "level": levels.examine(problem),
        "threads": _threads(problem),
        "cache": _cache(problem),
        "denormals": _denormals(),
        "cuda": _cuda(),
    }
    report["trial"] = None if any(p["serious"] for p in problems) else _trial(problem)
    return report | {"problems": problems}


def works(report: dict[str, Any]) -> bool:
    """Return whether a report names no serious problem."""
    return not any(problem["serious"] for problem in report["problems"])


def text(report: dict[str, Any]) -> str:
    """Return a report as text."""
    if "versions" not in report:
        return _problems(report)
    versions, processor, threads = report["versions"], report["processor"], report["threads"]
    arithmetic = "fused multiply-add" if processor["fma"] else "multiply + add"
    lines = [
        f"numbarnn    {versions['numbarnn']}, Python {versions['python']}, {versions['platform']}",
        f"packages    {_list(versions['needed'])}",
        f"optional    {_list(versions['optional'])}",
        f"processor   {processor['host']}; Numba compiles for {processor['target']}: "
        f"{', '.join(processor['features']) or 'no vector features known here'}",
        f"tile        {8 * processor['vector_bytes']}-bit vectors, {arithmetic}; up to {processor['rows']} rows, panels of "
        f"{processor['panel_float32']} float32 or {processor['panel_float64']} float64",
        *levels.text(report["level"]),
        f"threads     {threads['used'] or '?'} used ({threads['reason']}) of {threads['processors']} processors; "
        + threads["backend"],
    ]
    for folder in report["cache"]:
        state = "written to" if folder["written"] else "writable" if folder["writable"] else "not writable"
        state += f"; NOT TRUSTED: {folder['distrusted']}" if folder["distrusted"] else ""
        counts = f"{folder['kernels']} kernels, {folder['foreign']} for others, {folder['stale']} stale"
        kept = f"{counts}, {folder['size'] / 1e6:.1f} MB"
        lines.append(f"cache       {folder['path']}: {state}; {kept if folder['exists'] else 'does not exist'}")
    lines.append(f"denormals   {report['denormals']['handling']}")
    usable = "" if not report["cuda"]["devices"] else f"; {report['cuda']['usable']}"
    lines.append(f"CUDA        {report['cuda']['found']}{usable}")
    if report["trial"] is not None:
        trial = report["trial"]
        lines.append(
            f"trial       a product took {trial['seconds']:.2f} s; kernels compiled for it: {trial['compiled']}"
        )
    return "\n".join([*lines, "", _problems(report)] if report["problems"] else [*lines, "", "No problems found."])


def _problems(report):
    return "\n".join(
        f"{'problem' if p['serious'] else 'advice'}: {p['what']}\n    {p['do']}" for p in report["problems"]
    )


def _list(versions):
    return ", ".join(f"{name} {version}" if version else f"no {name}" for name, version in versions.items())


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(problem):
    needed = {name: _version(name) for name in (*NEEDED, "llvmlite")}
    for name, consequence in NEEDED.items():
        if needed[name] is None:
            problem(True, f"{name} is not installed: {consequence}", f"pip install {name}")
    for requirement in importlib.metadata.requires("numbarnn") or () if _version("numbarnn") else ():
        name = re.match(r"[\w-]+", requirement)[0]
        if "extra ==" not in requirement and needed.get(name) and not _within(needed[name], requirement):
            problem(True, f"{name} {needed[name]} is outside of what numbarnn supports", f"pip install '{requirement}'")
    return {
        "numbarnn": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "needed": needed,
        "optional": {name: _version(name) for name in OPTIONAL},
    }


def _within(version, requirement):
    """Return whether a version satisfies a requirement like ``numba<0.69,>=0.61``, by its leading numbers."""

    def release(text):
        return tuple(int(part) for part in re.match(r"\d+(?:\.\d+)*", text)[0].split("."))

    at_least = (release(v) <= release(version) for v in re.findall(r">=\s*([\d.]+)", requirement))
    below = (release(version) < release(v) for v in re.findall(r"<\s*([\d.]+)", requirement))
    return all((*at_least, *below))


def _processor(problem):
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    host = llvmlite.binding.get_host_cpu_name()
    present = {name for name, found in llvmlite.binding.get_host_cpu_features().items() if found}
    chosen = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    if missing := sorted(chosen - present):
        problem(
            True,
            f"kernels are compiled for {name} with {', '.join(missing)}, which this processor ({host}) does not have",
            "unset NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, or set them to what all your machines have (docs/container.md)",
        )
    if lost := [feature for feature in VECTORS if feature in present - chosen]:
        problem(
            False,
            f"kernels are compiled for {name} without {', '.join(lost)}, which this processor ({host}) has: several times slower",
            "unset NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, or set them to what all your machines have (docs/container.md)",
        )
    if numba.config.BOUNDSCHECK:
        problem(False, "NUMBA_BOUNDSCHECK is set: kernels check every index, and are slow", "unset NUMBA_BOUNDSCHECK")
    if int(numba.config.OPT) < 2:
        problem(False, "NUMBA_OPT asks for slow machine code", "unset NUMBA_OPT")
    if numba.config.CPU_NAME not in (None, "generic") and numba.config.CPU_FEATURES is None:
        problem(
            False,
            f"NUMBA_CPU_NAME={numba.config.CPU_NAME} alone does not fix the target: its features are still this processor's",
            "set NUMBA_CPU_FEATURES too (docs/container.md)",
        )
    vector, fused = simd.target()
    return {
        "host": host,
        "target": name,
        "features": [feature for feature in SHOWN if feature in chosen],
        "vector_bytes": vector,
        "fma": fused,
        "rows": simd.geometry().tallest,
        "tiles": [list(tile) for tile in simd.tile_shapes()],
        "panel_float32": simd.panel_width(np.float32),
        "panel_float64": simd.panel_width(np.float64),
    }


def _threads(problem):
    used = None
    try:
        used = parallel.default_threads()
    except ValueError as error:
        problem(True, str(error), "unset NUMBARNN_NUM_THREADS or set it to a positive integer")
    processors = os.cpu_count() or 1
    allowed, reason = parallel.usable_processors()[0], parallel.granted_threads()[1]
    quota = parallel.cpu_quota()
    if used is not None and quota is not None and used > math.ceil(quota):
        problem(
            False,
            f"this container may use {quota:g} processors at a time, but {used} threads would share them and be stopped in turn",
            f"unset NUMBARNN_NUM_THREADS, or set it to {math.ceil(quota)}",
        )
    elif used is not None and used > allowed:
        problem(
            False,
            f"NUMBARNN_NUM_THREADS={used} is more than the {allowed} processors",
            "lower it: threads would only wait for each other",
        )
    return {
        "used": used,
        "reason": "NUMBARNN_NUM_THREADS" if os.environ.get("NUMBARNN_NUM_THREADS") else reason,
        "processors": processors,
        "quota": quota,
        "backend": "own pool of Python threads over kernels that release the GIL (no threading layer)",
    }


def _cache(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cache.CacheWarning)
        written = cache.writable_directory()
    folders = []
    for path in cache.cache_directories():
        inventory = take_inventory(path)
        folders.append(
            {
                "path": os.fspath(path),
                "written": path == written,
                "writable": path == written or _writable(path),
                "exists": path.is_dir(),
                **{name: getattr(inventory, name) for name in ("kernels", "foreign", "stale", "distrusted", "size")},
            }
        )
    for folder in folders:
        if folder["distrusted"]:
            problem(
                False,
                f"compiled kernels in {folder['path']} are not used: {folder['distrusted']}",
                cache.ADVICE,
            )
    kernels = prebuilt.chosen().folders or any(folder["kernels"] for folder in folders)
    if written is None:
        problem(
            False,
            "no folder for compiled kernels is writable: kernels that are not cached are compiled again by every process",
            "set NUMBA_CACHE_DIR to a writable folder, or run `numbarnn warmup` where the folder is still writable "
            "(docs/container.md)",
        )
    if not kernels and (foreign := sum(folder["foreign"] for folder in folders)):
        problem(
            False,
            f"{foreign} kernels are cached, but for another processor or Python: the first calls compile for seconds",
            "run `numbarnn warmup` on this machine, or `numbarnn warmup --level` where the image is built (docs/container.md)",
        )
    elif not kernels:
        problem(
            False,
            "no kernels are cached: the first calls compile for seconds",
            "run `numbarnn warmup`, or just begin: compiled kernels are cached" if written else "see above",
        )
    if stale := [folder for folder in folders if folder["stale"] > 100 and folder["writable"]]:
        problem(
            False,
            f"{sum(folder['stale'] for folder in stale)} stale kernels of earlier versions lie in "
            + ", ".join(folder["path"] for folder in stale),
            "delete the folder; it is filled again when kernels are compiled",
        )
    return folders


def _writable(path):
    """Return whether a folder could be written to, without creating it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _denormals():
    """Return how kernels treat denormal numbers."""
    from numba.core.registry import cpu_target

    from numbarnn.kernels.cpu.denormals import bits_of

    if bits_of(cpu_target.target_context.codegen().magic_tuple()[0]):
        return {"flushed": True, "handling": "zero inside the kernels; the caller's mode is restored after every call"}
    return {"flushed": False, "handling": "computed with, as NumPy does; slow on most processors"}


def _cuda():
    """Ask the driver itself: `import numba.cuda` may fail, and takes its time."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return {"devices": [], "found": "no driver"}
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return {"devices": [], "found": "driver without a usable device"}
    devices = []
    for number in range(count.value):
        device, buffer = ctypes.c_int(0), ctypes.create_string_buffer(100)
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(buffer, len(buffer), device)
        devices.append(buffer.value.decode(errors="replace"))
    try:
        check_device("cuda")
        usable = 'device="cuda" can be used'
    except DeviceError as error:
        usable = str(error)
    return {"devices": devices, "found": ", ".join(devices) or "driver without a device", "usable": usable}


def _trial(problem):
    """Run a small product, compiled or from the cache, and compare it with NumPy's."""
    compiled = []
    cache.on_compile.append(compiled.append)
    started = time.perf_counter()
    try:
        model = Model([Dense(3)], input_size=5, n_threads=1)
        x = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cache.CacheWarning)
            outputs, _ = model.forward(x)
        correct = np.allclose(outputs, x @ model.params["dense.weight"].T, rtol=1e-5, atol=1e-5)
    except Exception as error:  # whatever it is, the user must see it
        problem(True, f"a small product failed: {type(error).__name__}: {error}", "please report it with this output")
        return None
    finally:
        cache.on_compile.remove(compiled.append)
    if not correct:
        problem(
            True, "a small product is wrong", "delete the folders of compiled kernels; if that does not help, report it"
        )
    return {"seconds": time.perf_counter() - started, "compiled": len(compiled)}
