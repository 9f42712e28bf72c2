"""Cells of ONNX' operators on a device against the same on the CPU, which ONNX' equations judge (test_onnx_activations.py)."""

import cuda_device  # noqa: F401 - chooses the device before Numba is imported
import pytest
from conftest import normal, recurrent_model
from test_cuda_model import LENGTHS, compare_passes

from numbarnn.cells import CELLS, contract, curves

GATES = {"f": curves.HARD_SIGMOID, "f_alpha": 0.3, "f_beta": 0.4, "g": curves.SOFTSIGN, "clip": 0.9}
RECORDS = {
    "OnnxRNN": {"f": curves.SOFTPLUS, "clip": 0.5},
    "OnnxLSTM": GATES | {"h": curves.ELU, "h_alpha": 0.7, "coupled": 1},
    "OnnxPeepholeLSTM": GATES | {"h": curves.SCALED_TANH, "h_alpha": 1.2, "h_beta": 0.8},
    "OnnxGRU": GATES,
    "OnnxResetBeforeGRU": GATES | {"g": curves.LEAKY_RELU, "g_alpha": 0.2},
}


@pytest.mark.parametrize("name", RECORDS)
def test_passes_equal_the_cpu(name):
    try:
        record = contract.cell_record({"type": name, **RECORDS[name]})
        compare_passes(recurrent_model(record, 2, 3), normal(1, 3, 4, 2), LENGTHS)
    finally:
        CELLS.pop(name, None)  # for tests that go through the registry
