"""The machine and the software that figures were measured with, and the size of what is installed."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re

VECTORS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def fingerprint(engines) -> dict:
    """Return the processor, memory, and versions of Python and of everything that takes part, as JSON values.

    Parameters
    ----------
    engines : iterable of str
        Names of distributions.
    """
    import numba
    from numba.core.registry import cpu_target

    import numbarnn
    from numbarnn import parallel

    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    codegen = cpu_target.target_context.codegen().magic_tuple()
    versions = {"python": platform.python_version(), "numba": numba.__version__}
    versions |= {name: importlib.metadata.version(name) for name in ("numpy", "llvmlite", *engines)}
    return {
        "cpu": _model(info),
        "cores": parallel.usable_processors()[0],
        "clock_mhz": round(float(info["cpu MHz"])) if "cpu MHz" in info else None,
        "vectors": [name for name in VECTORS if name in flags],
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "numba_cpu": codegen[1],
        "numba_vector_bits": 512 if "+avx512f" in codegen[2] else 256 if "+avx," in f"{codegen[2]}," else 128,
        "numbarnn": numbarnn.__version__,
        "sources": source_hash(pathlib.Path(numbarnn.__file__).parent),
        "versions": versions,
    }


def same(one: dict, other: dict) -> bool:
    """Return whether two fingerprints are of one machine with the same software; a clock may change by itself."""
    return {**one, "clock_mhz": 0} == {**other, "clock_mhz": 0}


def label(about: dict) -> str:
    """Return a short name of a machine for a file: processor, cores, widest vectors that Numba uses."""
    name = re.sub(r"\((R|TM)\)|CPU|Processor|@.*", "", about["cpu"])
    text = f"{name} {about['cores']}x{about['numba_vector_bits']}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _memory_gb():
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _cpuinfo():
    path = pathlib.Path("/proc/cpuinfo")
    text = path.read_text().partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _model(info):
    """Return the name of the processor, with family and model where the name alone says little."""
    name = info.get("model name") or platform.processor() or platform.machine()
    if info.get("cpu family") and not re.search(r"\d{3}", name):
        name += f" (family {info['cpu family']}, model {info['model']})"
    return name


def source_hash(folder: pathlib.Path) -> str:
    """Return 12 digits that stand for all modules of a folder: figures of other code do not continue these."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


# Size of an installation


def _requirements(name):
    """Return the names of what a distribution needs, without its extras; what is for other systems is not installed."""
    for requirement in importlib.metadata.requires(name) or ():
        head, _, marker = requirement.partition(";")
        if "extra" not in marker:
            yield re.match(r"[\w.-]+", head)[0]


def installed_with(name: str) -> set[str]:
    """Return a distribution and all that it needs, as far as it is installed."""
    found, todo = set(), [name]
    while todo:
        one = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        try:
            importlib.metadata.distribution(one)
        except importlib.metadata.PackageNotFoundError:
            continue
        if one not in found:
            found.add(one)
            todo += _requirements(one)
    return found


def installed_bytes(name: str) -> int:
    """Return the bytes of the files of a distribution and of all that it needs; a package in a clone: of its modules."""
    total = 0
    for one in installed_with(name):
        files = importlib.metadata.files(one) or ()
        total += sum(path.stat().st_size for path in (pathlib.Path(file.locate()) for file in files) if path.is_file())
        if one == "numbarnn" and not any(file.match("numbarnn/model.py") for file in files):
            import numbarnn

            total += sum(path.stat().st_size for path in pathlib.Path(numbarnn.__file__).parent.rglob("*.py"))
    return total
