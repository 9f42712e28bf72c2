"""Functions that kernels inline, which have no machine code of their own, and kernels that are called by their address."""

import numba
import numpy as np
import pytest

from numbarnn.kernels.cpu.by_address import address_of, by_address
from numbarnn.kernels.cpu.simd import flat
from numbarnn.kernels.groups import Floats1
from numbarnn.kernels.linked import NAMES, Compiler, JITCodeLibrary, options
from numbarnn.kernels.scalar import inlined


@inlined
def inlined_for_this_test(x):
    return x + x


def test_inlined_functions_have_no_machine_code():
    @numba.njit
    def run(x):
        return inlined_for_this_test(x) + 1.0

    assert run(2.0) == 5.0
    library = run.overloads[(numba.float64,)].library
    assert "inlined_for_this_test" not in "".join(function.name for function in library.get_defined_functions())
    known = library.codegen._engine._defined_symbols
    assert any("run" in name for name in known)
    assert not [name for name in known if "inlined_for_this_test" in name and "NumbaEnv" not in name]


@numba.njit(nogil=True, error_model="numpy")
def scale(values: Floats1, factor: int):
    if factor < 0:
        raise ValueError("a negative factor")
    for i in range(values.size):
        values[i] *= factor


call_scale = by_address(scale)


@numba.njit
def outer(address, values, factor):
    call_scale(address, values, (values, factor))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_called_by_its_address(dtype):
    values = np.arange(5, dtype=dtype)
    outer(address_of(scale, dtype), values, 3)
    assert values.tolist() == [0, 3, 6, 9, 12]
    with pytest.raises(ValueError, match="a negative factor"):
        outer(address_of(scale, dtype), values, -1)
    with pytest.raises(numba.TypingError, match="scale takes"):
        outer(address_of(scale, dtype), values, 3.0)


@numba.njit
def cleared(array):
    flat(array)[:] = 0


def test_values_along_one_axis():
    array = np.ones((2, 3, 4))
    cleared(array)
    assert not array.any()
    with pytest.raises(numba.TypingError, match="C-contiguous"):
        cleared(np.ones((3, 4)).T)


def test_numba_has_the_names_that_linked_code_rests_on():
    missing = [name for name in NAMES if not hasattr(JITCodeLibrary, name)]
    assert not missing, (
        f"Numba {numba.__version__} has renamed {', '.join(missing)} of {JITCodeLibrary.__qualname__}: see what finalizes a "
        "library in numba/core/codegen.py now, and let numbarnn/kernels/linked.py and its NAMES do the same without the optimiser"
    )
    assert hasattr(Compiler, "compile_extra"), (
        "numba/core/compiler.py has another entry: see numbarnn/kernels/linked.py"
    )


def test_without_these_names_functions_are_compiled_as_numba_does():
    with pytest.warns(RuntimeWarning, match="no _optimize_final_module.*longer"):
        assert options(type("Library", (), dict.fromkeys(NAMES[1:]))) == {"forceinline": True}
