"""Build every kernel for CUDA as a launch would, but for cards that are not there: numba-cuda needs no driver for that.

Run as a program, ``python cuda_build.py PART PARTS``, it builds every PARTS-th kernel from number PART on and prints a list in
JSON, one `Build` for each. It imports neither pytest nor the tests' own modules, since those choose the simulator.
"""

import dataclasses
import importlib
import json
import pkgutil
import re
import struct
import subprocess
import sys
import tempfile
import types

# As numba-cuda builds for cards of a capability.
OLDEST, MIDDLE, NEWEST = (7, 5, ""), (8, 0, ""), (9, 0, "a")
# Kernels that run a cell with a recurrent product through all steps.
PERSISTENT = "persistent.forward.", "persistent.backward."


def cards_for(name, real, cell):
    """Return the cards that a kernel is built for: a build takes one to three seconds, and all of them four minutes."""
    if cell in (None, "LSTM") or name.startswith(("persistent.", "losses.")) or "inner" in name:
        return {"float32": [OLDEST, NEWEST] + [MIDDLE] * name.startswith("matmul.multiply."), "float64": [OLDEST]}[real]
    return {"float32": [OLDEST], "float64": []}[real]


@dataclasses.dataclass(frozen=True)
class Build:
    """One kernel for one card.

    words : which of syncthreads and shared the source has
    registers, stack, shared : of a thread, bytes of a thread, bytes of a block without the dynamic ones
    ptx, sass : counts of instructions by name, in PTX of declarations too; sass is None without cuobjdump, ptx for all but
        the oldest card
    rest : of a persistent kernel, instructions per multiply-add in the loop over weights that registers do not hold
    tile : of a product, instructions of a thread for one slice of a tile
    """

    kernel: str
    real: str
    cell: str | None
    card: str
    threads: int | None
    words: list
    registers: int
    stack: int
    shared: int
    ptx: dict | None
    sass: dict | None
    rest: float | None
    tile: int | None


def pretend(capability):
    """Let numba-cuda believe that a card of a capability is there, on which kernels are built and never run."""
    from numba.cuda import api, codegen, compiler, dispatcher
    from numba.cuda.cudadrv import devices

    card = types.SimpleNamespace(compute_capability=capability[:2], id=0)
    devices.get_context = lambda number=None: types.SimpleNamespace(device=card)
    for module in (api, compiler, dispatcher):
        module.get_current_device = lambda: card
    codegen.CUDACodeLibrary._ensure_cc = lambda self, cc: capability if cc is None else cc
    dispatcher._Kernel.bind = lambda self: self.library.get_cubin()


def all_kernels():
    """Return every `Kernel` of the package as {module.name: kernel}, those in a module's tables as module.name.key."""
    import numbarnn.kernels.cuda as package
    from numbarnn.kernels.cuda.launch import Kernel

    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        own = f"{package.__name__}.{module.name}"
        for name, value in vars(importlib.import_module(own)).items():
            table = (
                value.items()
                if isinstance(value, dict)
                else enumerate(value)
                if isinstance(value, (list, tuple))
                else ()
            )
            entries = [(name, value), *((f"{name}.{key}", entry) for key, entry in table)]
            # A kernel that a module imports from another is that one's.
            found |= {
                f"{module.name}.{entry}": kernel
                for entry, kernel in entries
                if isinstance(kernel, Kernel) and kernel.make.__module__ == own
            }
    return found


def all_builds(kernels):
    """Return (name, type of numbers, record or None) for all that is to be built."""
    from numbarnn.cells import CELLS
    from numbarnn.cells.contract import has_inner
    from numbarnn.kernels.cuda.launch import REAL
    from numbarnn.kernels.equations import TERMS

    wanted = []
    for name, kernel in kernels.items():
        records = [None]
        if "c" in kernel.kinds:
            names = names_of(kernel.make.__code__)
            inner = any(word.startswith("cell_inner") for word in names)
            records = [cell() for cell in CELLS.values() if has_inner(cell()) or not inner]
            if "loss_term" in names:
                records = list(TERMS.values())
        if name.startswith(PERSISTENT):
            # One with all cells, and those with other numbers of registers with the cell that needs most.
            fits = [r for r in records if r.from_hidden and not has_inner(r)]
            records = fits if name.endswith(".64") else [r for r in fits if r.diagonal]
        wanted += [(name, real, r) for dtype, real in REAL.items() if dtype.name in kernel.dtypes for r in records]
    return [(name, real, record) for name, real, record in wanted if cards_for(name, str(real), class_name(record))]


def class_name(record):
    """Return the name of a record's class, or None."""
    return None if record is None else type(record).__name__


def build(name, kernel, real, record, cards=None):
    """Return a `Build` for each of some cards, without them for those of `cards_for`."""
    from numba.cuda.dispatcher import _Kernel

    function = kernel.dispatcher(real)
    compiled = _Kernel(function.py_func, kernel.signature(real, record), **function.targetoptions)
    builds = []
    for card in cards or cards_for(name, str(real), class_name(record)):
        cubin = compiled.library.get_cubin(cc=card)
        cubin = bytes(getattr(cubin, "code", cubin))
        registers, stack, shared = resources(cubin)
        text = disassembled(cubin)
        builds.append(
            Build(
                kernel=name,
                real=str(real),
                cell=class_name(record),
                card="sm_{}{}{}".format(*card),
                threads=kernel.options.get("launch_bounds", (None,))[0],
                words=sorted(names_of(kernel.make.__code__) & {"syncthreads", "shared"}),
                registers=registers,
                stack=stack,
                shared=shared,
                ptx=ptx_instructions(compiled.library.get_asm_str(cc=card)) if card == OLDEST else None,
                sass=None if text is None else sass_instructions(text),
                rest=rest_of(text) if text and name.startswith(PERSISTENT) else None,
                tile=tile_of(text) if text and name.startswith("matmul.multiply.") else None,
            )
        )
    return builds


def names_of(code):
    """Return all names that a code object and those within it use."""
    inner = [names_of(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def resources(cubin):
    """Return registers, bytes of stack and bytes of shared memory: the largest of any function in an ELF file of one kernel."""
    (at,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, at + i * size) for i in range(count)]
    found = {0x2F: 0, 0x11: 0, 0x12: 0}  # registers; frame; frames of what is called, too
    shared = 0
    for header in headers:
        start = headers[names][4] + header[0]
        section = cubin[start : cubin.index(b"\0", start)].decode()
        if section.startswith(".nv.shared."):
            shared += header[5]
        if section != ".nv.info":
            continue
        at, end = header[4], header[4] + header[5]
        while at < end:
            form, attribute, length = struct.unpack_from("<BBH", cubin, at)
            if form == 4 and attribute in found:
                found[attribute] = max(found[attribute], struct.unpack_from("<I", cubin, at + 8)[0])
            at += 4 + (length if form == 4 else 0)
    return found[0x2F], max(found[0x11], found[0x12]), shared


def ptx_instructions(ptx):
    """Count the instructions of PTX by their full names, declarations of local memory, and those of shared memory by alignment."""
    counts = {}
    for line in ptx.splitlines():
        match = re.match(r"\s*(?:@!?%p\d+\s+)?([a-z][\w.:]*)\s.*;", line)
        declared = re.match(r"\s*(?:\.\w+\s+)?(\.local\b|\.shared \.align \d+)", line)
        name = match[1] if match else declared[1] if declared else None
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return counts


def disassembled(cubin):
    """Return the machine code as text; None where cuobjdump and nvdisasm are not found."""
    from cuda import pathfinder

    tools = [pathfinder.find_nvidia_binary_utility(tool) for tool in ("cuobjdump", "nvdisasm")]
    if None in tools:
        return None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([tools[0], "-sass", file.name], capture_output=True, text=True, check=True).stdout


def sass_instructions(text):
    """Count the machine's instructions by their full names."""
    counts = {}
    for _, _, name, _ in _instructions(text):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _instructions(text):
    """Return (address, guard or "", full name, operands) of every instruction."""
    found = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z0-9_.]+)([^;]*);", text)
    return [(int(address, 16), guard, name, operands) for address, guard, name, operands in found]


def _target(instruction):
    """Return where a branch goes, else None."""
    match = instruction[2].startswith("BRA") and re.search(r"0x([0-9a-f]+)", instruction[3])
    return int(match[1], 16) if match else None


def _loops(code):
    """Return the bodies of loops, each with what stands between a branch back and its target."""
    back = [(_target(one), one[0]) for one in code if _target(one) is not None and _target(one) <= one[0]]
    return [[one for one in code if first <= one[0] <= last] for first, last in back]


def _adds(code):
    """Return how many instructions are multiply-adds."""
    return sum(name.startswith(("FFMA", "DFMA")) for _, _, name, _ in code)


def rest_of(text):
    """Return instructions per multiply-add of the innermost loop that multiplies by what it reads from global memory."""
    loops = _loops(_instructions(text))
    found = [loop for loop in loops if _adds(loop) and any(name.startswith("LDG") for _, _, name, _ in loop)]
    loop = min(found, key=len)
    return len(loop) / _adds(loop)


def tile_of(text, products=256):
    """Return the instructions of a thread for the 4 x 4 numbers by 16 of a slice, where factors are read in 16 bytes.

    Of the ways through the loop of two barriers, that with most multiply-adds, then with most reads of 16 bytes from global
    memory, then with fewest instructions. What is left of the multiply-adds are further rounds of the loop within.
    """
    loops = _loops(_instructions(text))
    whole = next(loop for loop in loops if sum(name.startswith("BAR") for _, _, name, _ in loop) == 2)
    ways = {}  # from an address on
    for n, one in reversed(list(enumerate(whole))):
        address, guard, name, operands = one
        own = (name.startswith(("FFMA", "DFMA")), name.startswith("LDG") and ".128" in name, -1)
        target = _target(one)
        following = [whole[n + 1][0]] if n + 1 < len(whole) else []
        if target is not None and address < target:
            following = [target] + (following if guard or "P" in operands.split("0x")[0] else [])
        known = [ways[a] for a in following if a in ways]
        ways[address] = tuple(x + y for x, y in zip(own, max(known, default=(0, 0, 0)), strict=True))
    adds, _, count = ways[whole[0][0]]
    inner = min((loop for loop in loops if _adds(loop)), key=len)
    return -count + (products - adds) // _adds(inner) * len(inner)


if __name__ == "__main__":
    part, parts = map(int, sys.argv[1:])
    pretend(OLDEST)
    kernels = all_kernels()
    builds = []
    for name, real, record in all_builds(kernels)[part::parts]:
        builds += build(name, kernels[name], real, record)
    json.dump([dataclasses.asdict(one) for one in builds], sys.stdout)
