"""A process that makes the machine code of a frozen model for one level of processors: Numba knows one processor a process.

`numbarnn.frozen.library` starts it with the environment of the level. It reads a pickle from its standard input and writes
an object file to the path that is its argument. The code is that of the kernels of `numbarnn.kernels.cpu.entries`, in whose
cache on disk there are those of each level.
"""

import inspect
import pathlib
import pickle
import sys
from dataclasses import dataclass

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numba
import numpy as np
from numba.core import types
from numba.core.registry import cpu_target

from numbarnn.frozen.interface import BAD_CODE
from numbarnn.kernels import records
from numbarnn.kernels.cpu import entries
from numbarnn.kernels.cpu.simd import INDEX, _tile_function, tile_shapes

# Names of what the level's code and the rest of a library share.
VALUES, CELLS = "numbarnn.values", "numbarnn.cells"
# The kernels of the functions that a level has, by the name after ``NAME_``.
KERNELS = {name: getattr(entries, f"{name}_at") for name in ("step", "forward", "probabilities", "sample")}

_CODE, _POINTER = ir.IntType(32), ir.IntType(8).as_pointer()
_FLOATS = ("temperature", "top_p")


@dataclass(frozen=True)
class Request:
    """What a level's code is made from.

    Attributes
    ----------
    name : str
        What the names of C's functions begin with.
    functions : tuple of str
        Names of `KERNELS`.
    level : str
        What the names of the level's functions end with.
    cells : structured array
        The records of the model's cells, packed.
    program : (n,) int64 array
        The addresses of the tiles in it do not count.
    values : int
        Number of the weights.
    dtype : numpy.dtype
    constants : dict of str to int
        Arguments of kernels that are always the same.
    classes : dict of str to type
        The user's own classes of cells, by the name in the dtype of `cells`.
    """

    name: str
    functions: tuple[str, ...]
    level: str
    cells: np.ndarray
    program: np.ndarray
    values: int
    dtype: np.dtype
    constants: dict[str, int]
    classes: dict[str, type]


def compile_level(request: Request) -> bytes:
    """Return the object file for Numba's target: functions ``NAME_step.LEVEL`` and so on, of the arguments of C's."""
    records._classes.update(request.classes)
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    module = ir.Module(request.level)
    module.triple, module.data_layout = triple, str(machine.target_data)
    model = _write_model(module, request)
    compiled, exported = [], set()
    for name in request.functions:
        function = f"{request.name}_{name}.{request.level}"
        compiled.append(_write_function(module, function, KERNELS[name], model, request))
        exported.add(function)
    _write_stub(module)
    linked = llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    passes.getModulePassManager().run(linked, passes)
    for library in compiled:
        linked.link_in(library._get_module_for_linking(), preserve=True)
    for value in (*linked.functions, *linked.global_variables):
        if value.name in exported:
            value.visibility = llvm.Visibility.hidden
        elif not value.is_declaration:
            value.linkage = llvm.Linkage.internal
    cleaning = llvm.create_new_module_pass_manager()
    cleaning.add_global_dead_code_eliminate_pass()
    cleaning.run(linked, passes)
    linked.verify()
    return machine.emit_object(linked)


def _write_function(module, symbol, kernel, model, request):
    """Write the C function that calls a kernel; return the kernel's library."""
    names = list(inspect.signature(kernel.py_func).parameters)
    known = {
        "cells": types.DType(numba.from_dtype(request.cells.dtype)),
        "dtype": types.DType(numba.from_dtype(request.dtype)),
    }
    kinds = tuple(known.get(name, types.float64 if name in _FLOATS else types.int64) for name in names)
    fixed = dict.fromkeys(known, _POINTER(None)) | {"model": model}
    fixed |= {name: INDEX(value) for name, value in request.constants.items()}
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    given = [ir.DoubleType() if name in _FLOATS else INDEX for name in names if name not in fixed]
    function = ir.Function(module, ir.FunctionType(INDEX, given), symbol)
    function.attributes.add("nounwind")
    builder, rest = ir.IRBuilder(function.append_basic_block("entry")), iter(function.args)
    passed = [fixed[name] if name in fixed else next(rest) for name in names]
    room, error = builder.alloca(INDEX), builder.alloca(_POINTER)
    taken = [room.type, error.type, *(value.type for value in passed)]
    own = ir.Function(module, ir.FunctionType(_CODE, taken), compiled.fndesc.llvm_func_name)
    status = builder.call(own, [room, error, *passed])
    done = builder.icmp_signed("==", status, _CODE(0))
    builder.ret(builder.select(done, builder.load(room), INDEX(BAD_CODE)))
    return compiled.library


def _write_model(module, request):
    """Write the tiles, the program, which has their addresses, and what kernels take as `model`; return its address."""
    tiles = [_tile_function(module, numba.from_dtype(request.dtype), rows, panels) for rows, panels in tile_shapes()]
    # A frozen model multiplies a row at a time: tiles of more rows are left out.
    addresses = [
        tile.ptrtoint(INDEX) if rows == 1 else INDEX(0) for tile, (rows, _) in zip(tiles, tile_shapes(), strict=True)
    ]
    program = _constant(
        module, "numbarnn.program", [*addresses, *(INDEX(int(n)) for n in request.program[len(addresses) :])]
    )
    values, cells = (ir.GlobalVariable(module, ir.IntType(8), name) for name in (VALUES, CELLS))
    arrays = (program, request.program.size), (values, request.values), (cells, request.cells.size)
    model = [number for array, size in arrays for number in (array.ptrtoint(INDEX), INDEX(size))]
    return _constant(module, "numbarnn.model", model).ptrtoint(INDEX)


def _constant(module, name, numbers):
    found = ir.GlobalVariable(module, ir.ArrayType(INDEX, len(numbers)), name)
    found.global_constant, found.align = True, 64
    found.initializer = ir.Constant(found.value_type, numbers)
    return found


def _write_stub(module):
    """Write what would free an array whose references are counted: no array here has any, so it is not called."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER]), "NRT_MemInfo_call_dtor")
    ir.IRBuilder(function.append_basic_block("entry")).ret_void()


def main() -> None:
    """Run the process."""
    request = pickle.load(sys.stdin.buffer)
    pathlib.Path(sys.argv[1]).write_bytes(compile_level(request))


if __name__ == "__main__":
    main()
