"""What `numbarnn doctor` says of prebuilt kernels: which level runs, why, and what is incompatible."""

import json
import os
from typing import Any

from numbarnn.kernels import cache, prebuilt
from numbarnn.kernels.inventory import take_inventory
from numbarnn.kernels.levels import LEVELS


def examine(problem) -> dict[str, Any]:
    """Return which level runs, why, and the folders of prebuilt kernels, as JSON values.

    Parameters
    ----------
    problem : callable
        ``problem(serious, what, do)`` is called with what is wrong.

    Returns
    -------
    dict
        ``name`` of the level or "native", ``reason``, and ``folders``: of each level's folder its ``path``, ``level``, ``obstacle``
        (what keeps it from being used), ``distrusted`` (why it or files in it are not), ``filled`` (with what, a list), ``kernels``
        that fit and ``size`` in bytes.
    """
    level, reason, used = prebuilt.chosen()
    folders = [
        _folder(folder / known.name, known)
        for folder in prebuilt.prebuilt_folders()
        for known in LEVELS.values()
        if (folder / known.name).is_dir()
    ]
    for folder in folders:
        if folder["distrusted"]:
            which = "prebuilt kernels" if folder["obstacle"] else "some prebuilt kernels"
            problem(
                False,
                f"{which} in {folder['path']} are not used: {folder['distrusted']}",
                f"make the folder and its files yours (chown, chmod go-w), or unset {prebuilt.FOLDER}",
            )
        elif not folder["obstacle"] and not folder["kernels"]:
            path, name = os.path.split(folder["path"])
            problem(
                False,
                f"{folder['path']} is said to be filled, but has no kernels that fit: all are compiled",
                f"fill it: numbarnn warmup --level {name} --output {path}",
            )
    named = os.environ.get(prebuilt.FOLDER)
    if named and not any(os.path.realpath(named) == os.path.dirname(folder["path"]) for folder in folders):
        problem(
            False,
            f"{prebuilt.FOLDER} is {named}, where there are no kernels of a level",
            f"unset it, or fill it: numbarnn warmup --level {next(reversed(LEVELS))} --output {named}",
        )
    obstacles = [folder["obstacle"] for folder in folders]
    native = "run `numbarnn warmup`, which compiles those for this processor"
    if os.environ.get(prebuilt.LEVEL):
        native = f"unset {prebuilt.LEVEL}, and {native}"
    if folders and all(obstacles) and not any(folder["distrusted"] for folder in folders):
        problem(False, f"no prebuilt kernels fit: {'; '.join(dict.fromkeys(obstacles))}", native)
    if level is not None and not used:
        problem(
            False,
            f"{prebuilt.LEVEL} is {level.name}, but no prebuilt kernels of it fit: all are compiled",
            f"unset it, or make them: numbarnn warmup --level {level.name} --output FOLDER",
        )
    if level is not None and not level.fused and "+fma" in prebuilt.host_target()[2].split(","):
        problem(
            False,
            f"kernels of {level.name} run, without AVX and FMA, which this processor has: several times slower",
            native,
        )
    return {"name": prebuilt.NATIVE if level is None else level.name, "reason": reason, "folders": folders}


def _folder(path, level):
    reason = cache.distrust(path.parent) or cache.distrust(path)
    inventory = take_inventory(path, prebuilt.level_target(level))
    return {
        "path": os.fspath(path),
        "level": level.name,
        "obstacle": reason or _obstacle(path, level),
        "distrusted": reason or inventory.distrusted,
        "filled": list(prebuilt.filled_with(path / prebuilt.ready_file(prebuilt.level_target(level)))),
        "kernels": inventory.kernels,
        "size": inventory.size,
    }


def _obstacle(path, level):
    """Return why kernels of a folder are not for this process, or nothing."""
    if not prebuilt.within(level, prebuilt.host_target()):
        return "the processor, or what Numba is told of it, lacks what they need"
    if (path / prebuilt.ready_file(prebuilt.level_target(level))).is_file():
        return ""
    made = [found for file in sorted(path.glob("*.json")) if (found := prebuilt.read_description(file))]
    if not made:
        return "they are not complete: making them was interrupted"
    return "they were made " + ", or ".join(dict.fromkeys(_difference(found) for found in made))


def _difference(made):
    """Return what tells the process that made kernels from this one."""
    own = prebuilt.description()
    if made.get("python") != own["python"]:
        return f"by another Python ({made.get('python')}, here {own['python']})"
    if made.get("compiler") != own["compiler"]:
        numba, llvmlite, *_ = (*made.get("compiler", ()), "?", "?")
        here = own["compiler"]
        if [numba, llvmlite] == here[:2]:
            return "with other settings of Numba (NUMBA_...)"
        return f"by numba {numba} and llvmlite {llvmlite} (here {here[0]} and {here[1]})"
    if made.get("sources") != own["sources"]:
        return "from other sources of numbarnn"
    return f"for another system ({json.dumps(made.get('target'))})"


def text(report: dict[str, Any]) -> list[str]:
    """Return lines of what `examine` returned."""
    lines = [f"level       {report['name']}: {report['reason']}"]
    for folder in report["folders"]:
        filled = f" ({', '.join([*folder['filled'][:3], '...'][: len(folder['filled'])])})" if folder["filled"] else ""
        state = f"not used: {folder['obstacle']}" if folder["obstacle"] else f"{folder['kernels']} kernels{filled}"
        lines.append(f"prebuilt    {folder['path']}: {state}, {folder['size'] / 1e6:.1f} MB")
    return lines
