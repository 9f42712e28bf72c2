"""Programs of kernel calls, which run in compiled code with the memory of one net after the other.

A pass from Python calls some twenty kernels, and what lies between the calls takes as long as the kernels of a small net. So the
calls of a step are written down once (`numbarnn.backends.recorded`): which kernel, at which address, and where its arguments lie.
`execute` reads this program and calls the kernels, the compiled ones that passes from Python call: no kernel is compiled again,
and results are equal to the bit. Only the types of the kernels' arguments select code.

Memory is divided into *regions*, and an argument is an offset in one: so the same program serves every net and every step.

``program``, int64::

    number of calls, then for each: index of the kernel's types, its address, words of its arguments, these words

The words of an array are region, offset in bytes, and its shape; of a scalar either `INLINE` and its bits, or region and offset; of
a group of arguments those of its fields.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import NativeValue, intrinsic, models, register_model, unbox
from numba.np.arrayobj import populate_array

from numbarnn.kernels.compile import bare
from numbarnn.kernels.cpu.barrier import fetch_add
from numbarnn.kernels.cpu.matmul import ZERO
from numbarnn.kernels.cpu.simd import INDEX

# Regions: addresses as they are, scratch memory of a thread, and from there on what differs by net or by step.
ABSOLUTE, SCRATCH, OWN = range(3)
INLINE = -1


@dataclass(frozen=True)
class Ref:
    """A C-contiguous array of a program.

    Attributes
    ----------
    region, at : int
        Where it begins, in bytes.
    shape : tuple of int
    dtype : numpy.dtype
    readonly : bool
        Whether kernels have it as a read-only array, which is a type of its own.
    owner : array or None
        What has the memory of an absolute address.
    """

    region: int
    at: int
    shape: tuple[int, ...]
    dtype: np.dtype
    readonly: bool = False
    owner: Any = None

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def part(self, first: int, *shape: int) -> "Ref":
        """Return an array of another shape that begins `first` values later."""
        return Ref(self.region, self.at + first * self.dtype.itemsize, shape, self.dtype, self.readonly, self.owner)

    def flat(self) -> "Ref":
        """Return the array with one axis."""
        return self.part(0, self.size)


def constant(array: np.ndarray) -> Ref:
    """Return an array of the host as an argument of all nets; raise ValueError unless it is C-contiguous and aligned."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"an argument of a program must be a C-contiguous, aligned array, got strides {array.strides}")
    return Ref(ABSOLUTE, array.ctypes.data, array.shape, array.dtype, not array.flags.writeable, array)


@dataclass(frozen=True)
class Value:
    """A scalar that lies in memory, the first value of an array."""

    ref: Ref


class KernelType(types.Type):
    """The types of a kernel's arguments and of its result; nothing is passed but them."""

    def __init__(self, arguments, result):
        self.types, self.result = tuple(arguments), result  # `numbarnn.kernels.compile.foreign` looks at `types`
        super().__init__(f"kernel({', '.join(map(str, arguments))}) -> {result}")

    @property
    def key(self):
        """What makes two of them equal."""
        return self.types, self.result


@register_model(KernelType)
class _KernelModel(models.OpaqueModel):
    pass


@unbox(KernelType)
def _unbox_kernel(kind, value, c):
    return NativeValue(c.context.get_dummy_value())


def _type_of(argument):
    if isinstance(argument, np.ndarray):
        argument = constant(argument)
    if isinstance(argument, Ref):
        kind = numba.from_dtype(argument.dtype)
        return types.Array(kind, len(argument.shape), "C", readonly=argument.readonly)
    if isinstance(argument, Value):
        return numba.from_dtype(argument.ref.dtype)
    if isinstance(argument, tuple):
        kinds = [_type_of(part) for part in argument]
        own = type(argument) if hasattr(argument, "_fields") else None
        return types.BaseTuple.from_types(kinds, own)
    return numba.typeof(argument)


def _leaves(argument):
    """Yield what an argument is made of: `Ref`, `Value` and scalars."""
    if isinstance(argument, tuple):
        for part in argument:
            yield from _leaves(part)
    else:
        yield constant(argument) if isinstance(argument, np.ndarray) else argument


def refs(*arguments: Any) -> list[Ref]:
    """Return the memory of arguments."""
    found = (leaf.ref if isinstance(leaf, Value) else leaf for leaf in _leaves(arguments))
    return [leaf for leaf in found if isinstance(leaf, Ref)]


def _words_of(leaf):
    if isinstance(leaf, Ref):
        return [leaf.region, leaf.at, *leaf.shape]
    if isinstance(leaf, Value):
        return [leaf.ref.region, leaf.ref.at]
    # A word has the bits of a value of eight bytes: a float32, which has a type of its own, would be read from half of them.
    if isinstance(leaf, (bool, int, np.int64)):
        kind = "q"
    elif isinstance(leaf, float):
        kind = "d"
    else:
        raise TypeError(
            f"a scalar of a program must be a bool, int or float, got {leaf!r} of type {type(leaf).__name__}"
        )
    return [INLINE, struct.unpack("q", struct.pack(kind, leaf))[0]]


class Library:
    """The kernels that some programs call; `kinds` are their types in the order of their indices."""

    def __init__(self):
        self.kinds: list[KernelType] = []
        self._indices: dict[Any, tuple[int, int]] = {}
        self._kept: list[Any] = []
        self._entry: tuple[int, Any] | None = None

    def call(self, kernel: Any, *arguments: Any) -> list[int]:
        """Return the words of a call."""
        words = [word for leaf in _leaves(arguments) for word in _words_of(leaf)]
        self._kept += [ref.owner for ref in refs(*arguments) if ref.owner is not None]
        index, address = self._find(kernel, tuple(map(_type_of, arguments)))
        return [index, address, len(words), *words]

    def _find(self, kernel, kinds):
        key = id(kernel), kinds
        if key not in self._indices:
            kernel.compile(kinds)
            compiled = kernel.overloads[kinds]
            kind = KernelType(kinds, compiled.signature.return_type)
            if kind not in self.kinds:
                self.kinds.append(kind)
            address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
            self._indices[key] = self.kinds.index(kind), address
            self._kept.append(compiled)
        return self._indices[key]

    def entry(self) -> Any:
        """Return `execute` compiled for the kernels; its first argument is `arguments`."""
        if self._entry is not None and self._entry[0] == len(self.kinds):
            return self._entry[1]
        array, table = types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
        kinds = types.BaseTuple.from_types(self.kinds)
        entry = execute.compile((kinds, array, table, table, array, array, array))
        self._entry = len(self.kinds), entry
        return entry

    @property
    def arguments(self) -> tuple[None, ...]:
        """What stands for the kernels in a call of `execute`."""
        return (None,) * len(self.kinds)


@bare
def execute(kernels, program, starts, table, strides, bases, taken):
    """Run the programs of nets that no other thread has taken, one net after the other, all steps of a net together.

    A kernel that returns False ends the steps of its net; one that raises ends the call.

    starts   (steps, nets), in: where the program of a step of a net begins; -1: it has no such step
    table    (nets, regions), in: addresses of the regions at step 0; strides : (regions,) by which they move on at each step
    bases    (regions,) scratch of this thread, with the first `OWN` addresses
    taken    (1,) number of nets that threads have taken, in and out
    """
    while True:
        net = fetch_add(taken, ZERO, 1)
        if net >= starts.shape[1]:
            return
        good = True
        for step in range(starts.shape[0]):
            at = starts[step, net]
            if at >= 0 and good:
                for region in range(OWN, bases.size):
                    bases[region] = table[net, region] + step * strides[region]
                at += 1
                for _ in range(program[starts[step, net]]):
                    if good:
                        good = _invoke(kernels, program[at], program[at + 1], program, at + 3, bases)
                        at += 3 + program[at + 2]


@intrinsic
def _invoke(typingctx, kernels, index, address, program, at, bases):
    """Call the kernel at an address, whose types are those of an index; return whether it did not return False."""

    def codegen(context, builder, signature, args):
        _, index, address, program_value, at, bases_value = args
        words = builder.gep(context.make_array(program)(context, builder, program_value).data, [at])
        start = context.make_array(bases)(context, builder, bases_value).data
        good = cgutils.alloca_once_value(builder, cgutils.true_bit)
        end = builder.append_basic_block("end")
        switch = builder.switch(index, end)
        for number, kind in enumerate(kernels):
            block = builder.append_basic_block(f"kernel_{number}")
            switch.add_case(INDEX(number), block)
            builder.position_at_end(block)
            reader = _Reader(context, builder, words, start)
            values = [reader.read(own) for own in kind.types]
            convention = context.call_conv
            function = convention.get_function_type(kind.result, kind.types).as_pointer()
            given = builder.inttoptr(address, function), kind.result, kind.types, values
            status, found = convention.call_function(builder, *given)
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            if kind.result == types.boolean:
                builder.store(found, good)
            builder.branch(end)
        builder.position_at_end(end)
        return builder.load(good)

    return types.boolean(kernels, types.intp, types.intp, program, types.intp, bases), codegen


class _Reader:
    """Emits code that reads the arguments of a call from its words, one after the other."""

    def __init__(self, context, builder, words, bases):
        self.context, self.builder, self.words, self.bases, self.at = context, builder, words, bases, 0

    def word(self):
        """Return the next word, and its address."""
        pointer = self.builder.gep(self.words, [INDEX(self.at)])
        self.at += 1
        return self.builder.load(pointer), pointer

    def address(self):
        """Return an address of a region and offset."""
        region, _ = self.word()
        offset, own = self.word()
        inline = self.builder.icmp_signed("<", region, INDEX(0))
        base = self.builder.load(self.builder.gep(self.bases, [self.builder.select(inline, INDEX(0), region)]))
        inside = self.builder.ptrtoint(own, INDEX)
        return self.builder.select(inline, inside, self.builder.add(base, offset))

    def read(self, kind):
        """Return the next argument."""
        context, builder = self.context, self.builder
        if isinstance(kind, types.Array):
            return self.array(kind)
        if isinstance(kind, types.BaseTuple):
            return context.make_tuple(builder, kind, [self.read(own) for own in kind.types])
        pointer = builder.inttoptr(self.address(), context.get_data_type(kind).as_pointer())
        return context.unpack_value(builder, kind, pointer)

    def array(self, kind):
        """Return the next array."""
        context, builder = self.context, self.builder
        array, item = context.make_array(kind)(context, builder), context.get_data_type(kind.dtype)
        size = context.get_abi_sizeof(item)
        data = builder.inttoptr(self.address(), item.as_pointer())
        shape = [self.word()[0] for _ in range(kind.ndim)]
        strides = [INDEX(size)]
        for extent in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], extent))
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=INDEX(size), meminfo=None)
        return array._getvalue()
