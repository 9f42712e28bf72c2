"""Arrays of HDF5 files of weights, by the groups that Keras gives its layers."""

import re
from collections.abc import Iterator

import numpy as np

from numbarnn.interop.refusal import package

MOST = 4  # arrays of a layer


def h5py_package():
    """Return h5py, which files of Keras are read by."""
    return package("h5py", "from_keras of a file", "h5py")


def group_names(kinds) -> Iterator[str]:
    """Return the groups of layers in a file: their classes, in words with _, numbered where they repeat."""
    counts: dict[str, int] = {}
    for kind in kinds:
        base = re.sub(r"\W+", "", kind)
        base = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", base)).lower()
        counts[base] = counts.get(base, -1) + 1
        yield f"{base}_{counts[base]}" if counts[base] else base


class Arrays:
    """Arrays of an HDF5 file by the groups of layers, together not larger than the file."""

    def __init__(self, file, size):
        self.file, self.left = file, size

    def of(self, group: str) -> list[np.ndarray]:
        """Return the arrays of a layer's group, or of its cell's, in order."""
        h5py = h5py_package()
        for path in (f"{group}/cell/vars", f"{group}/vars"):
            node, found = self.file, True
            for part in path.split("/"):
                link = node.get(part, getlink=True) if isinstance(node, h5py.Group) and part in node else None
                found = found and isinstance(link, h5py.HardLink)  # no link out of the file
                if not found:
                    break
                node = node[part]
            if found and len(node) > MOST:
                raise ValueError(f"{path} has {len(node)} arrays; layers have {MOST} at most")
            if found and len(node):
                return [self._dataset(node, str(index), f"{path}/{index}") for index in range(len(node))]
        raise ValueError(f"the file has no weights {group!r}")

    def _dataset(self, group, name, where) -> np.ndarray:
        """Return the array of a dataset that is whole and within the file."""
        h5py = h5py_package()
        link = group.get(name, getlink=True)
        dataset = group[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual or dataset.dtype.kind != "f":
            raise ValueError(f"{where} is not an array of numbers in the file")
        size = dataset.size * dataset.dtype.itemsize
        if dataset.id.get_storage_size() < size:
            raise ValueError(f"{where} has fewer bytes than its shape {dataset.shape} says")
        if size > self.left:
            raise ValueError(f"{where} and the arrays before it are larger than the file")
        self.left -= size
        return dataset[()]

    def check_left(self, groups) -> None:
        """Raise ValueError if the file has arrays of layers other than those of the groups."""
        h5py, left = h5py_package(), []

        def visit(name, node):
            if isinstance(node, h5py.Dataset) and node.dtype.kind == "f" and name.partition("/")[0] not in groups:
                left.append(name.partition("/")[0])

        layers = self.file.get("layers")
        if isinstance(layers, h5py.Group):
            layers.visititems(visit)
        if left:
            raise ValueError(f"the file has weights that no layer takes: {', '.join(dict.fromkeys(left))}")
