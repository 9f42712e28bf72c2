"""The functions that a frozen library exports: each chooses the code for the processor that it runs on.

They and the weights make one object file, which needs neither Numba's code nor a C compiler.
"""

import pathlib
from dataclasses import dataclass

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np

from numbarnn.frozen.check import CHECK_STEPS
from numbarnn.frozen.interface import ABI, BAD_ARGUMENT, BAD_CODE, OK, Interface

CODE, WORD, BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
# The constants of N_check, and how far code may be off that rounds products, or calls a C library: long sums are off by less,
# wrong code by more.
CHECK_X, CHECK_Y = "numbarnn.check.x", "numbarnn.check.y"
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
# What C gives the functions that each level has, "i": an integer or an address, "d": a double.
ARGUMENTS = {"step": "iii", "forward": "iiiiiiii", "probabilities": "iii", "sample": "ididiiiii"}

# Of `level`: not asked for yet, none of the library's runs here; else the number of a level, >= 1.
_UNKNOWN, _NONE = CODE(0), CODE(0xFFFFFFFF)

# Bits that CPUID must report for code of a level of x86-64: (leaf, register, bits); register 0 is EAX, 2 ECX. XCR0: states of
# registers that the operating system must save.
_V2 = ((1, 2, (0, 9, 13, 19, 20, 23)), (0x80000001, 2, (0,)))
_V3 = (*_V2, (1, 2, (12, 22, 26, 27, 28, 29)), (7, 1, (3, 5, 8)), (0x80000001, 2, (5,)))
_V4 = (*_V3, (7, 1, (16, 17, 28, 30, 31)))
_ASKED = {"x86-64-v2": (_V2, 0), "x86-64-v3": (_V3, 0x06), "x86-64-v4": (_V4, 0xE6)}


@dataclass(frozen=True)
class Sizes:
    """Bytes of memory that callers lend.

    Attributes
    ----------
    state : of the state of one sequence
    work, step : scratch memory of `forward`, and what each step adds to it
    inexact : how many levels, of those at the beginning, may differ from the model by rounding
    """

    state: int
    work: int
    step: int
    inexact: int


def write_dispatch(
    interface: Interface, levels, functions, sizes: Sizes, triple: str, data: pathlib.Path, constants: dict[str, int]
) -> bytes:
    """Return the object file of the exported functions.

    Parameters
    ----------
    interface : Interface
    levels : sequence of str
        From the least to the highest, by the names that end the names of their functions.
    functions : sequence of str
        Names (after ``NAME_``) of the functions that each level has.
    sizes : Sizes
    triple : str
        Of LLVM.
    data : path
        Of a file that has the constants one after the other.
    constants : dict of str to int
        Bytes of each constant, in the order of the file.
    """
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu="x86-64" if triple.startswith("x86_64") else "generic", opt=2, reloc="pic", codemodel="default"
    )
    module = ir.Module(interface.name)
    module.triple, module.data_layout = triple, str(machine.target_data)
    build = _Dispatch(module, interface, levels)
    for name in functions:
        build.dispatch(name, ARGUMENTS[name])
    build.number("abi", CODE(ABI))
    build.number("state_bytes", WORD(sizes.state))
    build.workspace(sizes)
    build.check(sizes)
    build.about()
    if triple.startswith("x86_64"):
        build.detect()
    for name in ("memcpy", "memmove"):
        build.move(name)
    build.fill("memset")
    parsed = llvm.parse_assembly(f"{module}\n{_assembly(data, constants)}")
    for value in (*parsed.functions, *parsed.global_variables):
        if value.name not in build.exported and not value.name.startswith("llvm."):
            value.visibility = llvm.Visibility.hidden
    return machine.emit_object(parsed)


def _assembly(data, constants):
    """Return the lines of LLVM that put a file's constants into the read-only data."""
    if not constants:
        return ""
    path = str(data).replace("\\", "\\\\").replace('"', '\\"')
    lines, at = ['.section .rodata.numbarnn,"a",@progbits'], 0
    for name, size in constants.items():
        lines += [".balign 64", f".globl {name}", f".hidden {name}", f'{name}: .incbin "{path}",{at},{size}']
        at += size
    return "".join('module asm "{}"\n'.format(line.replace("\\", "\\5C").replace('"', "\\22")) for line in lines)


class _Dispatch:
    """Writes the functions of a library."""

    def __init__(self, module, interface, levels):
        self.module, self.interface, self.levels = module, interface, levels
        self.exported = []
        self.asked = module.triple.startswith("x86_64")
        if self.asked:
            self.level = ir.GlobalVariable(module, CODE, "numbarnn.level")
            self.level.initializer = _UNKNOWN
            self.detector = ir.Function(module, ir.FunctionType(CODE, []), "numbarnn.detect")

    def function(self, name, value, given, exported=True):
        """Return a builder in a new function."""
        if exported:
            name = f"{self.interface.name}_{name}"
            self.exported.append(name)
        function = ir.Function(self.module, ir.FunctionType(value, given), name)
        function.attributes.add("nounwind")
        return ir.IRBuilder(function.append_basic_block("entry"))

    def number(self, name, value):
        """Write a function that returns a number."""
        self.function(name, value.type, []).ret(value)

    def about(self):
        """Write the function that returns the description."""
        text = bytearray(self.interface.about().encode() + b"\0")
        kept = ir.GlobalVariable(self.module, ir.ArrayType(BYTE, len(text)), "numbarnn.about")
        kept.global_constant, kept.initializer = True, ir.Constant(kept.value_type, text)
        builder = self.function("about", BYTE.as_pointer(), [])
        builder.ret(builder.bitcast(kept, BYTE.as_pointer()))

    def workspace(self, sizes):
        """Write the function that returns the size of scratch memory: 0 of negative numbers, the largest where there is none."""
        builder = self.function("workspace_bytes", WORD, [WORD, WORD])
        samples, steps = builder.function.args
        for given in (samples, steps):
            with builder.if_then(builder.icmp_signed("<", given, WORD(0))):
                builder.ret(WORD(0))
        fixed, largest = sizes.work + self.check_bytes(), 2**64 - 1
        if sizes.step:
            with builder.if_then(builder.icmp_unsigned(">", steps, WORD((largest - fixed) // sizes.step))):
                builder.ret(WORD(largest))
        some = builder.select(builder.icmp_signed(">", steps, WORD(1)), steps, WORD(1))
        builder.ret(builder.add(WORD(fixed), builder.mul(some, WORD(sizes.step))))

    def check_bytes(self):
        """Return the bytes of scratch memory for the outputs of N_check."""
        values = (CHECK_STEPS if self.interface.sequence else 1) * self.interface.outputs
        return -(-values * np.dtype(self.interface.dtype).itemsize // 64) * 64

    def check(self, sizes):
        """Write the function that compares the outputs for some steps with the model's."""
        scalar = ir.FloatType() if self.interface.dtype == "float32" else ir.DoubleType()
        builder = self.function("check", CODE, [WORD])
        function, found = builder.function, self.module.globals
        work, (x, y) = function.args[0], (ir.GlobalVariable(self.module, BYTE, name) for name in (CHECK_X, CHECK_Y))
        with builder.if_then(builder.icmp_unsigned("==", work, WORD(0))):
            builder.ret(CODE(BAD_ARGUMENT))
        outputs = builder.add(work, WORD(sizes.work + CHECK_STEPS * sizes.step))
        given = [x.ptrtoint(WORD), WORD(1), WORD(CHECK_STEPS), *[WORD(0)] * 3, outputs, work]
        code = builder.call(found[f"{self.interface.name}_forward"], given)
        with builder.if_then(builder.icmp_signed("!=", code, CODE(OK))):
            builder.ret(code)
        tolerance = scalar(TOLERANCE[self.interface.dtype])
        if self.asked:
            level = builder.load_atomic(self.level, "monotonic", 4)
            inexact = builder.icmp_signed("<=", level, CODE(sizes.inexact))
            tolerance = builder.select(inexact, tolerance, scalar(0))
        elif not sizes.inexact:
            tolerance = scalar(0)
        absolute = ir.Function(
            self.module, ir.FunctionType(scalar, [scalar]), f"llvm.fabs.f{32 if scalar == ir.FloatType() else 64}"
        )
        wrong = builder.append_basic_block("wrong")

        def compare(at):
            own, expected = (
                builder.load(builder.gep(builder.inttoptr(base, scalar.as_pointer()), [at]), typ=scalar)
                for base in (outputs, y.ptrtoint(WORD))
            )
            size = builder.call(absolute, [expected])
            most = builder.fmul(tolerance, builder.select(builder.fcmp_ordered(">", size, scalar(1)), size, scalar(1)))
            near = builder.fcmp_ordered("<=", builder.call(absolute, [builder.fsub(own, expected)]), most)
            right = builder.append_basic_block("right")
            builder.cbranch(near, right, wrong)
            builder.position_at_end(right)

        count = (CHECK_STEPS if self.interface.sequence else 1) * self.interface.outputs
        self._loop(builder, WORD(0), WORD(count), 1, compare)
        builder.ret(CODE(OK))
        builder.position_at_end(wrong)
        builder.ret(CODE(BAD_CODE))

    def dispatch(self, name, kinds):
        """Write a function that calls that of the processor's level."""
        given = [ir.DoubleType() if kind == "d" else WORD for kind in kinds]
        builder = self.function(name, CODE, given)
        function = builder.function
        owns = [
            ir.Function(self.module, ir.FunctionType(WORD, given), f"{self.interface.name}_{name}.{level}")
            for level in self.levels
        ]

        def answer(own):
            builder.ret(builder.trunc(builder.call(own, function.args), CODE))

        if not self.asked:
            answer(owns[0])
            return
        known = builder.load_atomic(self.level, "monotonic", 4)
        before, unknown, chosen = builder.block, *(builder.append_basic_block(name) for name in ("unknown", "chosen"))
        builder.cbranch(builder.icmp_signed("==", known, _UNKNOWN), unknown, chosen)
        builder.position_at_end(unknown)
        detected = builder.call(self.detector, [])
        builder.branch(chosen)
        builder.position_at_end(chosen)
        level = builder.phi(CODE)
        level.add_incoming(known, before)
        level.add_incoming(detected, unknown)
        none = builder.append_basic_block("none")
        switch = builder.switch(level, none)
        for number, own in enumerate(owns, 1):
            block = builder.append_basic_block(self.levels[number - 1])
            switch.add_case(CODE(number), block)
            builder.position_at_end(block)
            answer(own)
        builder.position_at_end(none)
        builder.ret(CODE(BAD_CODE))

    def detect(self):
        """Write the function that asks for the level; threads that do so at once write the same."""
        builder = ir.IRBuilder(self.detector.append_basic_block("entry"))
        self.detector.attributes.add("nounwind")
        most = {0: _cpuid(builder, 0)[0], 0x80000000: _cpuid(builder, 0x80000000)[0]}
        leaves = {leaf: _cpuid(builder, leaf) for leaf in (1, 7, 0x80000001)}

        def has(leaf, register, bits):
            mask = CODE(sum(1 << bit for bit in bits))
            known = builder.icmp_unsigned(">=", most[leaf & 0x80000000], CODE(leaf))
            bits = builder.and_(leaves[leaf][register], mask)
            return builder.and_(known, builder.icmp_unsigned("==", bits, mask))

        # XGETBV may be asked where OSXSAVE is set.
        saves, before = has(1, 2, (27,)), builder.block
        with builder.if_then(saves):
            asked, kind = builder.block, ir.FunctionType(ir.LiteralStructType([CODE, CODE]), [CODE])
            found = builder.asm(kind, "xgetbv", "={ax},={dx},{cx}", [CODE(0)], True)
            low = builder.extract_value(found, 0)
        saved = builder.phi(CODE)
        saved.add_incoming(CODE(0), before)
        saved.add_incoming(low, asked)
        level = _NONE
        for number, name in enumerate(self.levels, 1):
            bits, states = _ASKED[name]
            runs = builder.icmp_unsigned("==", builder.and_(saved, CODE(states)), CODE(states))
            for one in bits:
                runs = builder.and_(runs, has(*one))
            level = builder.select(runs, CODE(number), level)
        builder.store_atomic(level, self.level, "monotonic", 4)
        builder.ret(level)

    # What LLVM calls for large copies. Nothing optimizes this module, or these loops would become calls of themselves.

    def move(self, name):
        """Write memcpy or memmove: from the end where the destination begins inside the source."""
        pointer = BYTE.as_pointer()
        builder = self.function(name, pointer, [pointer, pointer, WORD], exported=False)
        dst, source, size = builder.function.args
        distance = builder.sub(builder.ptrtoint(dst, WORD), builder.ptrtoint(source, WORD))
        forward, backward = builder.append_basic_block("forward"), builder.append_basic_block("backward")
        builder.cbranch(builder.icmp_unsigned(">=", distance, size), forward, backward)
        builder.position_at_end(forward)
        words = builder.and_(size, WORD(~7))
        self._loop(builder, WORD(0), words, 8, lambda at: _copy(builder, source, dst, at, WORD))
        self._loop(builder, words, size, 1, lambda at: _copy(builder, source, dst, at, BYTE))
        builder.ret(dst)
        builder.position_at_end(backward)
        last = builder.sub(size, WORD(1))
        self._loop(builder, WORD(0), size, 1, lambda at: _copy(builder, source, dst, builder.sub(last, at), BYTE))
        builder.ret(dst)

    def fill(self, name):
        """Write memset."""
        builder = self.function(name, BYTE.as_pointer(), [BYTE.as_pointer(), CODE, WORD], exported=False)
        dst, value, size = builder.function.args
        value = builder.trunc(value, BYTE)
        word = builder.mul(builder.zext(value, WORD), WORD(0x0101010101010101))
        words = builder.and_(size, WORD(~7))
        self._loop(builder, WORD(0), words, 8, lambda at: builder.store(word, _at(builder, dst, at, WORD), align=1))
        self._loop(builder, words, size, 1, lambda at: builder.store(value, _at(builder, dst, at, BYTE), align=1))
        builder.ret(dst)

    @staticmethod
    def _loop(builder, start, stop, step, body):
        before = builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        at = builder.phi(WORD)
        at.add_incoming(start, before)
        builder.cbranch(builder.icmp_unsigned("<", at, stop), inside, after)
        builder.position_at_end(inside)
        body(at)
        at.add_incoming(builder.add(at, WORD(step)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)


def _cpuid(builder, leaf):
    """Return EAX, EBX, ECX and EDX of CPUID."""
    kind = ir.FunctionType(ir.LiteralStructType([CODE] * 4), [CODE, CODE])
    found = builder.asm(kind, "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}", [CODE(leaf), CODE(0)], True)
    return [builder.extract_value(found, register) for register in range(4)]


def _at(builder, base, at, kind):
    return builder.bitcast(builder.gep(base, [at]), kind.as_pointer())


def _copy(builder, source, dst, at, kind):
    value = builder.load(_at(builder, source, at, kind), align=1, typ=kind)
    builder.store(value, _at(builder, dst, at, kind), align=1)
