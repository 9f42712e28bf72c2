"""Files of other packages that are changed at random and then converted, in a process that `test_interop_files.py` starts.

A file is changed in its bytes, or in its description: the nodes of a graph, the values of a JSON text. It has to be refused by
InteropError, or to give a model that runs; soon, and with little memory.

Arguments: folder with foreign files, number of files, seed. Prints a line for every failure, then counts as JSON.
"""

import collections
import io
import json
import pathlib
import random
import resource
import sys
import time
import warnings
import zipfile

import numpy as np

from numbarnn.errors import InteropError
from numbarnn.interop import from_keras, from_onnx

SECONDS, MEGABYTES = 2.0, 128
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
    config = json.loads(parts["config.json"])
    for _ in range(rng.choice((1, 1, 3))):
        where, key = rng.choice(list(paths(config)))
        if rng.random() < 0.2 and isinstance(where, dict):
            del where[key]
        else:
            where[key] = rng.choice(VALUES)
    parts["config.json"] = json.dumps(config).encode()
    if rng.random() < 0.2:
        parts["model.weights.h5"] = bytes_changed(parts["model.weights.h5"], rng)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as target:
        for name, part in parts.items():
            target.writestr(name, part)
    return written.getvalue()


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


def main(folder, count, seed):
    rng, folder = random.Random(seed), pathlib.Path(folder)
    files = {path: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".onnx", ".keras")}
    warnings.simplefilter("ignore")
    for path in files:
        use(from_onnx(path) if path.suffix == ".onnx" else from_keras(path))
    found, before = collections.Counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    target = folder / "changed"
    target.mkdir(exist_ok=True)
    for number in range(count):
        path, content = rng.choice(list(files.items()))
        onnx = path.suffix == ".onnx"
        change = rng.choice((bytes_changed, graph_changed if onnx else description_changed))
        changed = change(content, rng)
        start, taken = time.perf_counter(), 0.0
        try:
            if onnx:
                model = from_onnx(changed)
            else:
                (target / "model.keras").write_bytes(changed)
                model = from_keras(target / "model.keras")
            taken = time.perf_counter() - start  # without kernels that are compiled for it
            use(model)
            found["used"] += 1
        except InteropError:
            taken = time.perf_counter() - start
            found["refused"] += 1
        except Exception as error:
            (target / f"failure{number}{path.suffix}").write_bytes(changed)
            print(f"{number} {path.name} {change.__name__}: {type(error).__name__}: {error}"[:300].replace("\n", " "))
        if taken > SECONDS:
            print(f"{number} {path.name} {change.__name__}: {taken:.1f} s")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if after - before > MEGABYTES * 1024:
            print(f"{number} {path.name} {change.__name__}: {(after - before) // 1024} MB more")
            before = after
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
