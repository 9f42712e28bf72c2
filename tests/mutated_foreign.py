"""Files of other packages that are changed at random and then converted, in a process that `test_foreign_files.py` starts.

A file is changed in its bytes, or in its description: the nodes of a graph, the values of a JSON text. It has to be refused by
InteropError, or to give a model that runs; soon, with little memory, and without running anything of the file.

Arguments: folder with foreign files, number of files, seed. Prints a line for every failure, then counts as JSON.
"""

import collections
import copy
import io
import json
import pathlib
import random
import resource
import struct
import sys
import time
import warnings
import zipfile

import numpy as np

from numbarnn import GRU, LSTM, Dense
from numbarnn.errors import InteropError
from numbarnn.interop import from_keras, from_onnx, from_torch

SECONDS = 2.0
FACTOR, SPARE = 4, 64 * 2**20  # bytes of memory for every byte of a file, and besides
LAYERS = [
    LSTM(3, bidirectional=True, name="lstm"),
    GRU(2, name="gru"),
    Dense(2, name="dense"),
]  # of files that have weights alone
READ = {
    ".onnx": lambda path: from_onnx(path.read_bytes()),
    ".keras": from_keras,
    ".h5": lambda path: from_keras(path, layers=LAYERS),
    ".safetensors": lambda path: from_torch(path, layers=LAYERS),
}
# What Python does on the way to code that is not ours; code of installed packages is told by its file.
FORBIDDEN = (
    "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pickle.find_class", "socket.connect",
    "subprocess.Popen",
)  # fmt: skip
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    7,
    2**31,
    2**62,
    -0.5,
    1e300,
    "",
    "LSTM",
    "Dense",
    "softmax",
    "\x1b[2J",
    [],
    {},
    [0, 0, -1],
)


def bytes_changed(content, rng):
    """Return content with some bytes changed, cut out or added."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(content))
        kind = rng.randrange(4)
        if kind == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at] = rng.randrange(256)
        elif kind == 2:
            del content[at : at + rng.choice((1, 4, 100))]
        else:
            content[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 8))))
        if not content:
            return b"x"
    return bytes(content)


def graph_changed(content, rng):
    """Return an ONNX file with a node, an attribute, a shape or an array changed."""
    import onnx

    proto = onnx.ModelProto()
    proto.ParseFromString(content)
    graph = proto.graph
    node = rng.choice(graph.node)
    names = [name for one in graph.node for name in (*one.input, *one.output)]
    kind = rng.randrange(7)
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 1:
        node.op_type = rng.choice(
            [one.op_type for one in graph.node] + ["Loop", "MatMul", "__init__", "Flatten", "Split", "Expand"]
        )
    elif kind == 2 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.i = rng.choice((-1, 0, 1, 2, 3, 10**9, -(2**63), 2**63 - 1))
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((-5, -1, 0, 1, 2, 3, 2**62))
        if attribute.strings:
            attribute.strings[rng.randrange(len(attribute.strings))] = rng.choice(
                (b"Tanh", b"Elu", b"Affine", b"Gelu", b"\xff")
            )
        if attribute.floats:
            attribute.floats[rng.randrange(len(attribute.floats))] = rng.choice((0.0, -1.0, 0.5, 1e38, float("nan")))
        attribute.type = rng.choice((attribute.type, attribute.type, 2, 7, 3))
    elif kind == 3 and graph.initializer:
        tensor = rng.choice(graph.initializer)
        if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((0, 1, 2, 3, 5, 2**40, -1))
    elif kind == 4 and graph.initializer:
        tensor = rng.choice(graph.initializer)
        tensor.data_type = rng.choice((1, 6, 7, 9, 10, 11, 8, 16))
    elif kind == 5:
        del graph.node[rng.randrange(len(graph.node))]
    else:
        shape = rng.choice(graph.input).type.tensor_type.shape
        if shape.dim:
            shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice((0, 1, 2, 5, 2**40, -3))
    return proto.SerializeToString()


def description_changed(content, rng):
    """Return a .keras file with a value of its description changed."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = json_changed(parts["config.json"], rng)
    if rng.random() < 0.2:
        parts["model.weights.h5"] = bytes_changed(parts["model.weights.h5"], rng)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as target:
        for name, part in parts.items():
            target.writestr(name, part)
    return written.getvalue()


def header_changed(content, rng):
    """Return a safetensors file with a value of its header changed."""
    (size,) = struct.unpack_from("<Q", content)
    header = json_changed(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def json_changed(text, rng):
    """Return a JSON text with some values changed or left out."""
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 3))):
        where, key = rng.choice(list(paths(value)))
        if rng.random() < 0.2 and isinstance(where, dict):
            del where[key]
        else:
            where[key] = copy.copy(rng.choice(VALUES))
    return json.dumps(value).encode()


CHANGES = {
    ".onnx": (bytes_changed, graph_changed), ".keras": (bytes_changed, description_changed), ".h5": (bytes_changed,),
    ".safetensors": (bytes_changed, header_changed),
}  # fmt: skip


def paths(value):
    """Yield the containers and keys within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from paths(inner)


def use(model):
    """Run a model on one small batch, unless it is large."""
    if model.params.size > 10**6 or model.signals[0].size > 10**5:
        return
    signal = model.signals[0]
    shape = (2, 3, signal.bag) if signal.bag else (2, 3)
    model.forward(np.zeros(shape, np.int64) if signal.tokens else np.zeros((2, 3, signal.size)), n_threads=1)


class Watched:
    """Notes what is run while files are converted, and the memory that it takes."""

    def __init__(self):
        self.active, self.seen = False, []
        self.folders = tuple(
            {str(pathlib.Path(path).resolve()) for path in (*sys.path, sys.prefix, sys.base_prefix) if path}
        )
        self.linux = pathlib.Path("/proc/self/clear_refs").exists()
        sys.addaudithook(self.audit)

    def audit(self, event, arguments):
        """Note an event that is none of a conversion."""
        if not self.active:
            return
        if event == "exec":
            file = getattr(arguments[0], "co_filename", "")
            if not file.startswith(("<frozen ", *self.folders)):
                self.seen.append(f"exec of {file}")
        elif event in FORBIDDEN or (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        ):
            self.seen.append(f"{event}{arguments}")

    def __enter__(self):
        if self.linux:
            pathlib.Path("/proc/self/clear_refs").write_text("5")  # the largest memory is that of now
        self.before, self.active, self.seen = self.memory("VmRSS"), True, []
        return self

    def __exit__(self, *_):
        self.active = False
        self.taken = self.memory("VmHWM") - self.before

    def memory(self, name):
        """Return the memory of the process in bytes: of now, or the largest."""
        if not self.linux:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main(folder, count, seed):
    rng, folder = random.Random(seed), pathlib.Path(folder)
    files = {path: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in READ}
    warnings.simplefilter("ignore")
    for path in files:
        use(READ[path.suffix](path))
    found, watched = collections.Counter(), Watched()
    target = folder / "changed"
    target.mkdir(exist_ok=True)
    for number in range(count):
        path, content = rng.choice(list(files.items()))
        change = rng.choice(CHANGES[path.suffix])
        changed, name = change(content, rng), f"{number} {path.name} {change.__name__}"
        file = target / f"changed{''.join(path.suffixes)}"
        file.write_bytes(changed)
        start, model, failures = time.perf_counter(), None, []
        try:
            with watched:
                model = READ[path.suffix](file)
        except InteropError:
            found["refused"] += 1
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        seconds = time.perf_counter() - start
        failures += watched.seen
        if seconds > SECONDS:
            failures.append(f"{seconds:.1f} s")
        if watched.taken > FACTOR * len(changed) + SPARE:
            failures.append(f"{watched.taken / 2**20:.0f} MB for a file of {len(changed)} bytes")
        found["most megabytes"] = max(found["most megabytes"], watched.taken // 2**20)
        if model is not None:
            found["used"] += 1
            try:
                use(model)
            except Exception as error:
                failures.append(f"in use: {type(error).__name__}: {error}")
        if failures:
            (target / f"failure{number}{''.join(path.suffixes)}").write_bytes(changed)
            print(f"{name}: {'; '.join(failures)}"[:300].replace("\n", " "), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
