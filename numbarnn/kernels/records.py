"""Records of cells as one structured array, for code that outlives this package's own.

A NamedTuple's type selects a kernel's code (`numbarnn.kernels.element`), but functions that users compile and cache
cannot well take it as an argument: a cache's index would refer to the class and break where that cannot be imported,
``numba.prange`` takes no tuple inside a tuple, and nothing in such a type says which version of the sources was
compiled, with which settings, and for which level. The *names of the fields* of a structured array say all of it, and the values
of the fields are the options:

    v<stamp>, 0 <name of the first class>, 0.<its first option>, ..., 1 <name of the second class>, ...
"""

import hashlib
import importlib
import marshal

import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from numbarnn.kernels.cache import PACKAGE
from numbarnn.kernels.prebuilt import code_stamp

# A class of the user's own; its name ends with a hash of its code, so that a changed one is another type.
OWN = "own:"

_classes = {}


def _name(record_class):
    """Return the name under which compiled code finds a class."""
    name = f"{record_class.__module__}.{record_class.__qualname__}"
    if record_class.__module__.partition(".")[0] != PACKAGE.name:
        code = hashlib.sha256(marshal.dumps(record_class.forward.__code__)).hexdigest()[:16]
        name = f"{OWN}{name}:{code}"
    _classes[name] = record_class
    return name


def _class(name):
    """Return the class of a name, in a process where nothing may have been packed yet."""
    if name not in _classes and not name.startswith(OWN):
        module, _, attribute = name.rpartition(".")
        _classes[name] = getattr(importlib.import_module(module), attribute)
    if name not in _classes:
        raise TypingError(
            f"the cell {name.split(':')[1]} is not known in this process, or has other code here; call numbarnn.step_function "
            "where the weights are used"
        )
    return _classes[name]


def _version():
    return f"v{code_stamp()[:16]}"


def renewed(array) -> np.ndarray:
    """Return records that another process packed, whose kernels are of another level, as those of this process."""
    kind, names = array.dtype, array.dtype.names
    fields = {"names": [_version(), *names[1:]], "formats": [kind[name] for name in names]}
    fields |= {"offsets": [kind.fields[name][1] for name in names], "itemsize": kind.itemsize}
    return array.view(np.dtype(fields, align=True))


def pack_records(records) -> np.ndarray:
    """Return records as an array of one element.

    Raises
    ------
    TypeError
        If an option is not a number.
    """
    fields, values = [(_version(), np.int8)], [0]
    for index, record in enumerate(records):
        fields.append((f"{index} {_name(type(record))}", np.int8))
        values.append(0)
        for option, value in record._asdict().items():
            kinds = [
                dtype
                for kind, dtype in ((bool, np.bool_), (int, np.int64), (float, np.float64))
                if isinstance(value, kind)
            ]
            if not kinds:
                raise TypeError(f"option {option} of {type(record).__name__} must be a number, got {value!r}")
            fields.append((f"{index}.{option}", kinds[0]))
            values.append(value)
    array = np.zeros(1, np.dtype(fields, align=True))
    array[0] = tuple(values)
    return array


def holds_own(array_type) -> bool:
    """Return whether a Numba type is that of `pack_records` with a class of the user's own."""
    fields = getattr(getattr(array_type, "dtype", None), "fields", None)
    return isinstance(fields, dict) and any(name.partition(" ")[2].startswith(OWN) for name in fields)


@intrinsic
def unpack_records(typingctx, array):
    """Inside a kernel: return the records of `pack_records` as a tuple."""
    found = []
    for name, field in array.dtype.fields.items():
        index, space, class_name = name.partition(" ")
        if space:
            found.append((_class(class_name), []))
        elif "." in index:
            found[-1][1].append((field.type, field.offset))
    kinds = [types.BaseTuple.from_types([kind for kind, _ in fields], cls) for cls, fields in found]
    result = types.BaseTuple.from_types(kinds)

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        start = builder.bitcast(data, context.get_value_type(types.voidptr))
        records = []
        for kind, (_, fields) in zip(kinds, found, strict=True):
            values = []
            for field, offset in fields:
                address = builder.gep(start, [context.get_constant(types.intp, offset)])
                address = builder.bitcast(address, context.get_data_type(field).as_pointer())
                values.append(context.unpack_value(builder, field, address))
            records.append(context.make_tuple(builder, kind, values))
        return context.make_tuple(builder, result, records)

    return result(array), codegen
