"""A process that makes the machine code of a frozen model for one level of processors: Numba knows one processor a process.

`numbarnn.frozen.build` starts it with the environment of the level. It reads a pickle from its standard input and writes an object file
to the path that is its argument.
"""

import pathlib
import pickle
import sys

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba.core import types
from numba.core.registry import cpu_target

from numbarnn.frozen.entries import ADVANCE, PROGRAM, Frozen, jit, make_entries
from numbarnn.frozen.interface import BAD_CODE
from numbarnn.kernels.cpu.denormals import FLUSH, bits_of, write_exchange
from numbarnn.kernels.cpu.simd import INDEX, _tile_function, target, tile_shapes
from numbarnn.kernels.cpu.step import FIRST, HEADER

CODE, ADDRESS, ROOM = ir.IntType(32), ir.IntType(8).as_pointer(), ir.IntType(64).as_pointer()
_ARGUMENTS = {types.int64: INDEX, types.uint64: INDEX, types.float64: ir.DoubleType()}


def compile_level(frozen: Frozen, level: str) -> bytes:
    """Return the object file for Numba's target, with a function ``NAME_step.LEVEL`` for ``NAME_step`` in C, and so on."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    entries = make_entries(frozen, target()[1])
    compiled = {}
    for name, (kernel, arguments) in entries.items():
        dispatcher = jit(kernel)
        dispatcher.compile(types.int64(*arguments))
        compiled[name] = dispatcher.overloads[arguments]
    module = ir.Module(level)
    module.triple, module.data_layout = triple, str(machine.target_data)
    for name, result in compiled.items():
        _write_wrapper(module, name, result, entries[name][1], 0 if name == ADVANCE else bits_of(triple))
    _write_stub(module)
    _write_program(module, frozen)
    linked = llvm.parse_assembly(str(module))
    _optimize(linked, machine)
    for result in compiled.values():
        own = llvm.parse_bitcode(result.library._final_module.as_bitcode())
        linked.link_in(own)
    exported = {name: f"{frozen.interface.name}_{name.removeprefix('numbarnn.')}.{level}" for name in entries if name != ADVANCE}
    for value in (*linked.functions, *linked.global_variables):
        if value.name in exported:
            value.name = exported[value.name]
            value.visibility = llvm.Visibility.hidden
        elif not value.is_declaration:
            value.linkage = llvm.Linkage.internal
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(linked, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3)))
    linked.verify()
    return machine.emit_object(linked)


def _write_wrapper(module, name, result, arguments, bits):
    """Write the C function that calls a kernel in the mode in which denormal numbers are zero; return its name."""
    given = [_ARGUMENTS[kind] for kind in arguments]
    value = _ARGUMENTS[result.signature.return_type]
    kernel = ir.Function(
        module, ir.FunctionType(CODE, [value.as_pointer(), ADDRESS.as_pointer(), *given]), result.fndesc.llvm_func_name
    )
    function = ir.Function(module, ir.FunctionType(value, given), name)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    room, error = builder.alloca(value), builder.alloca(ADDRESS)
    before = write_exchange(builder, bits, INDEX(FLUSH))
    status = builder.call(kernel, [room, error, *function.args])
    write_exchange(builder, bits, before)
    found = builder.load(room)
    builder.ret(builder.select(builder.icmp_signed("==", status, CODE(0)), found, value(BAD_CODE)))
    return name


def _write_stub(module):
    """Write what would free an array that counts its references: none here does, so it is not called."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ADDRESS]), "NRT_MemInfo_call_dtor")
    ir.IRBuilder(function.append_basic_block("entry")).ret_void()


def _write_program(module, frozen):
    """Write the tiles and the program, which has their addresses."""
    scalar = types.float32 if frozen.interface.dtype == "float32" else types.float64
    tiles = [_tile_function(module, scalar, rows, panels) for rows, panels in tile_shapes()]
    addresses = [tile.ptrtoint(INDEX) for tile in tiles]
    assert len(addresses) <= HEADER < FIRST
    values = [*addresses, *(INDEX(int(value)) for value in frozen.program[len(addresses) :])]
    program = ir.GlobalVariable(module, ir.ArrayType(INDEX, len(values)), PROGRAM)
    program.global_constant = True
    program.initializer = ir.Constant(program.value_type, values)
    program.align = 64


def _optimize(module, machine):
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)


def main() -> None:
    """Run the process."""
    request = pickle.load(sys.stdin.buffer)
    frozen = pickle.loads(request["frozen"])
    pathlib.Path(sys.argv[1]).write_bytes(compile_level(frozen, request["level"]))


if __name__ == "__main__":
    main()
