"""Parameters: one flat buffer with named, read-only views into it.

One buffer makes an optimizer one loop, clipping one norm, and saving one write. The views cannot be written to by
accident; `Params.writing` is the one way, and it raises the version that packed copies of the weights are compared
with.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import check_finite, counted
from numbarnn.core.arrays import as_numeric, in_dtype
from numbarnn.errors import ShapeError


@dataclass(frozen=True)
class ParamSpec:
    """A parameter's name, shape and initialiser: ``init(generator, shape) -> array``."""

    name: str
    shape: tuple[int, ...]
    init: object

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class Params(Mapping):
    """Named views of one flat array.

    Parameters
    ----------
    specs : sequence of ParamSpec
        Names must differ.
    dtype : numpy.dtype
        float32 or float64.

    Attributes
    ----------
    size : int
        Number of values.
    version : int
        Rises with every write.
    """

    def __init__(self, specs, dtype):
        self.specs = tuple(specs)
        names = [spec.name for spec in self.specs]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"parameters of the same name: {', '.join(twice)}; give the layers different names")
        self._flat = np.zeros(sum(spec.size for spec in self.specs), dtype)
        self.size = self._flat.size
        self._visible = self._flat.view()
        self._visible.flags.writeable = False
        self._newer = None
        self.version = 0
        self.offsets, self._parts = {}, []
        first = 0
        for spec in self.specs:
            self.offsets[spec.name], last = first, first + spec.size
            self._parts.append((spec.name, first, last, spec.shape))
            first = last
        self._views = self.views(self.flat)

    @property
    def flat(self) -> np.ndarray:
        """All values, read-only, in the order of the specs."""
        self._synchronize()
        return self._visible

    def mark_stale(self, fetch) -> None:
        """Mark the array as older than a device's copy, which ``fetch()`` returns at the next access. The version rises."""
        self._newer = fetch
        self.version += 1

    def _synchronize(self):
        fetch = self._newer
        if fetch is not None:
            self._flat[...] = fetch()
            # After the copy: another thread that reads meanwhile copies the same, not the old values, and an error loses nothing.
            if self._newer is fetch:
                self._newer = None

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return views of another flat array of the same layout (gradients, moments) by name."""
        return {name: flat[first:last].reshape(shape) for name, first, last, shape in self._parts}

    def initialize(self, generator: np.random.Generator) -> None:
        """Draw every parameter from its initialiser, in the order of the specs."""
        with self.writing() as flat:
            for spec, view in zip(self.specs, self.views(flat).values(), strict=True):
                view[...] = spec.init(generator, spec.shape)

    @contextlib.contextmanager
    def writing(self) -> Iterator[np.ndarray]:
        """Give the writable flat array; the version rises when the block ends, however it ends."""
        self._synchronize()
        try:
            yield self._flat
        finally:
            self.version += 1

    def set_flat(self, values: np.ndarray) -> None:
        """Set all parameters from one array in the order of the specs.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If it does not have a finite value for every parameter; nothing is changed then.
        """
        array = as_numeric(values, "values")
        if array.shape != (self.size,):
            raise ShapeError(f"values must have shape ({self.size},), one for every parameter, got {array.shape}")
        array = in_dtype(array, self._flat.dtype)
        check_finite(array, "values", f"parameters are finite {array.dtype}")
        with self.writing() as flat:
            flat[...] = array

    def load(self, values: Mapping[str, np.ndarray]) -> None:
        """Set every parameter from a mapping of the same names and shapes, all of them or none.

        Raises
        ------
        KeyError
            If a name is missing or unknown.
        ShapeError
            If a shape differs.
        ValueError
            If a value is not a finite number.
        """
        missing = [name for name in self if name not in values]
        unknown = [name for name in values if name not in self._views]
        if missing or unknown:
            raise KeyError(
                f"values must have the names of the model: missing {missing or 'none'}, unknown {unknown or 'none'}; "
                f"this model has {list(self)}"
            )
        arrays = {}
        for name in self:
            array = np.asarray(values[name])
            if array.shape != self[name].shape:
                raise ShapeError(f"{name}: expected shape {self[name].shape}, got {array.shape}")
            if array.dtype.kind not in "fiu":
                raise ValueError(f"{name}: expected a numeric array, got dtype {array.dtype}")
            with np.errstate(over="ignore"):
                arrays[name] = array.astype(self._flat.dtype, copy=False)
            finite = np.isfinite(arrays[name])
            if not finite.all():
                raise ValueError(
                    f"{name}: {counted(np.count_nonzero(~finite), 'value')} not finite in {self._flat.dtype}"
                )
        with self.writing() as flat:
            for name, view in self.views(flat).items():
                view[...] = arrays[name]

    def for_file(self) -> dict[str, np.ndarray]:
        """Return every parameter by name; raise ValueError where one is not finite, since `load` would refuse the file."""
        for name, values in self.items():
            bad = np.count_nonzero(~np.isfinite(values))
            if bad:
                raise ValueError(
                    f"{name} has {counted(bad, 'NaN or infinite value')}, so the file could not be loaded; set finite values first "
                    "(load_state_dict)"
                )
        return dict(self)

    def __getitem__(self, name: str) -> np.ndarray:
        self._synchronize()
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return f"<Params of {counted(len(self), 'array')}, {self.size:,} values, {self._flat.dtype}>"
