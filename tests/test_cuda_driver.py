"""The host's side of CUDA where there is no card, on a stand-in for the driver (cuda_stub.c): copies and launches are checked, no
kernel runs."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest
from processes import run_python

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed (extra cuda12 or cuda13)"
    ),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stand-in for the driver is Linux's"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler for the stand-in for the driver"),
]

# Kernels that a launch finds, compiled from nothing.
KERNELS = """
import types
from cuda.core import ObjectCode
from numbarnn.kernels.cuda.launch import Kernel

def load(self, real, record=None):
    kernel = ObjectCode.from_cubin(b"\\x7fELF" + bytes(60)).get_kernel(self.name)
    return types.SimpleNamespace(_codelibrary=types.SimpleNamespace(get_cufunc=lambda: types.SimpleNamespace(handle=kernel.handle)))

Kernel.load = load
import numpy as np
import numbarnn as nr
from numbarnn.errors import DeviceError

def model(layer=None, dtype="float32"):
    return nr.Model([layer or nr.LSTM(3), nr.Dense(2)], 4, dtype, device="cuda")

x, y = np.zeros((2, 5, 4)), np.zeros((2, 5), int)
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """The folder of the stand-in."""
    folder = tmp_path_factory.mktemp("stub")
    source = pathlib.Path(__file__).with_name("cuda_stub.c")
    subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", folder / "libcuda.so.1", source, "-ldl"], check=True)
    return folder


def run(stub, code, check=True, **options):
    """Run code after `KERNELS` in a process of its own; return (its output, its errors)."""
    options = {"NUMBA_ENABLE_CUDASIM": "0", "LD_LIBRARY_PATH": stub, "cache": stub} | options
    done = run_python(KERNELS + code, cwd=stub, check=check, **options)
    return done.stdout.strip(), done.stderr.strip()


PATHS = """
from numbarnn.cells import CELLS
from numbarnn.optim import OPTIMIZERS

for dtype in ("float32", "float64"):
    for cell in CELLS.values():
        for hidden in (3, 300):
            net = model(nr.Recurrent(hidden, cell=cell(), init="torch", bidirectional=True, num_layers=2, dropout=0.1), dtype)
            net.loss_and_grad(x, y, lengths=[5, 0])
    net.vjp(x)[2](np.ones((2, 5, 2)))
    net.predict(x)
labels = [[1], []]
nr.Model([nr.GRU(3), nr.Dense(3)], 4, device="cuda").loss_and_grad(x, labels, "ctc")
for loss in ("mse", "mae", "huber", "binary_cross_entropy"):
    model().loss_and_grad(x, np.zeros((2, 5, 2)), loss)
for loss in ("quantile", "gaussian", "negative_binomial"):
    each = nr.losses.make_loss(loss).outputs_per_target
    nr.Model([nr.RNN(3), nr.Dense(each)], 4, device="cuda").loss_and_grad(x, np.zeros((2, 5, 1)), loss)
for optimizer in OPTIMIZERS:
    model().fit(x, y, epochs=2, optimizer=optimizer, clip_norm=1.0, validation=(x, y), batch_size=1, verbose=0)
lm = nr.CharLM("gru", 3, device="cuda")
lm.fit("abcab" * 20, 1, batch_size=2, seq_length=5, verbose=0)
lm.score("abc")
lm.sample(3), lm.sample_many(2, 3)
nr.Forecaster(lookback=6, hidden_size=3, epochs=1, device="cuda").fit(np.arange(60.0), verbose=0).predict()
for kind, target in (
    (nr.SequenceRegressor, [0.0, 1.0]), (nr.SequenceClassifier, list("ab")), (nr.SegmentClassifier, [list("aabbb")] * 2),
    (nr.TemporalClassifier, ["ab", "a"]),
):
    kind("rnn", 3, epochs=1, device="cuda").fit(list(x), target).predict(list(x))
print("done")
"""


def test_every_path_launches_and_copies_within_the_rules(stub):
    assert run(stub, PATHS) == ("done", "")


STEPS = """
import ctypes
from numbarnn.training.steps import Steps

stub = ctypes.CDLL("libcuda.so.1")
stub.stub_calls.restype = ctypes.c_char_p
plain, name = Steps._train_chunk, None

def watched(steps, batch):
    stub.stub_forget()
    found = plain(steps, batch)
    print(name, stub.stub_calls().decode())
    return found

Steps._train_chunk = watched
generator = np.random.default_rng(0)
x, lengths = generator.normal(size=(8, 9, 4)), [9, 4, 7, 1, 9, 2, 3, 8]
samples = [values[:length] for values, length in zip(x, lengths)]
name = "charlm"
nr.CharLM("lstm", 3, num_layers=2, device="cuda").fit("abcde" * 60, 2, batch_size=4, seq_length=9, verbose=0)
name = "segments"
labels = [list("ab" * length)[:length] for length in lengths]
net = nr.SegmentClassifier("gru", 3, epochs=2, batch_size=4, class_weight="balanced", device="cuda")
net.fit(samples, labels, sample_weight=np.arange(1.0, 9.0))
name = "ctc"
nr.TemporalClassifier("lstm", 3, bidirectional=True, epochs=2, batch_size=4, infeasible="zero", device="cuda").fit(
    samples, ["ab", "a", "bb", "", "ba", "b", "a", "ab"]
)
name = "forecaster"
nr.Forecaster(lookback=6, hidden_size=3, epochs=1, batch_size=8, device="cuda").fit(np.arange(60.0), verbose=0)
name = "regression"
net = nr.Model([nr.LSTM(3, return_sequences=False, recurrent_dropout=0.1), nr.Dense(2)], 4, device="cuda")
net.fit(x, x[:, 0, :2], epochs=2, batch_size=4, loss="huber", lengths=lengths, sample_weight=np.ones(8), verbose=0)
"""


@pytest.mark.parametrize("refused", [False, True], ids=["page-locked", "refused"])
def test_nothing_is_uploaded_between_the_launches_of_a_step(stub, refused):
    """A copy from other memory waits for all that runs. Where page-locked memory is refused, it comes before the first launch."""
    # NumPy warns of what kernels have not written.
    found, _ = run(stub, STEPS, **({"STUB_LOCKED": 0} if refused else {}))
    steps = {}
    for line in found.splitlines():
        name, calls = line.split()
        steps.setdefault(name, []).append(calls)
    assert set(steps) == {"charlm", "segments", "ctc", "forecaster", "regression"}
    for name, (first, *others) in steps.items():
        assert others, name
        for calls in (first, *others):
            before, between = calls.split("L", 1)
            assert not set("PH") & set(between), (name, calls)
            assert before.count("P") == (not refused), (name, calls)
        assert all((calls.count("H") > 0) == refused for calls in others), (name, others)
        launches, *copies = (sum(map(others[-1].count, kinds)) for kinds in ("L", "PH", "D"))
        print(f"{name}: {launches} launches, copies from the host and on the device {copies}")


BATCHES = """
from numbarnn.backends.cuda.batch import Call
from numbarnn.kernels.cuda import memory

memory.MOST_LOCKED = 2**20
for page in (next(memory._pages), next(memory._pages)): page._most = memory.MOST_LOCKED
call, generator, sent = Call(np.dtype(np.float32)), np.random.default_rng(0), []
for size in (10, 30000, 7, 0, 30001, 100000, 30000, 300000, 5, 40):  # pages grow, and one batch is too large for them
    arrays = [generator.normal(size=(size, 2)).T, generator.integers(0, 9, size), np.arange(3)[::-1]]
    buffers = [call.stage(arrays[0], np.float32), call.stage(arrays[1], np.int32), call.stage(arrays[2])]
    call.send()
    sent += zip(arrays, buffers)
    assert all(buffer.pointer % 16 == 0 for buffer in buffers)
for array, buffer in sent:
    assert np.array_equal(buffer.get(), array.reshape(-1).astype(buffer.dtype))
print(sum(page._memory.size > 0 for page in (next(memory._pages), next(memory._pages))))
"""


@pytest.mark.parametrize(("most", "locked"), [(2**30, "2"), (2**16, "2"), (0, "0")])
def test_batches_arrive_whatever_the_host_writes_next(stub, most, locked):
    """The stand-in copies from page-locked memory only when it must, and finds what then stands there."""
    assert run(stub, BATCHES, STUB_LOCKED=most) == (locked, "")


def test_threads_have_a_context_each_and_free_without_one(stub):
    code = """
import gc, threading, warnings
net, found = model(), []

def work():
    for samples in (2, 3, 40):
        found.append(net.loss_and_grad(np.zeros((samples, 5, 4)), np.zeros((samples, 5), int))[0])

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
held = [model()]
thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
thread.start(); thread.join()
net.loss_and_grad(x, y)
print(len(found))
"""
    assert run(stub, code) == ("9", "")


def test_what_is_not_held_is_freed(stub):
    code = """
from numba import cuda
from numbarnn.kernels.cuda.memory import empty
for _ in range(1000):
    empty(10**6, np.float32)
free, total = cuda.current_context().get_memory_info()
print((total - free) // 10**8)
"""
    assert run(stub, code)[0] == "0"
    # And before there is said to be too little.
    assert run(stub, code, STUB_MEMORY=9 * 10**6)[0] == "0"


def test_a_forked_process_is_told(stub):
    code = """
import os, sys
from numba import cuda
held = [cuda.device_array(1) for _ in range(20)]
net = model()
net.loss_and_grad(x, y)
sys.stdout.flush()
if os.fork() == 0:
    for use in (lambda: net.loss_and_grad(x, y), model):
        try: use()
        except DeviceError as error: print("spawn" in str(error))
    sys.exit(0)
os.wait()
net.loss_and_grad(x, y)
"""
    assert run(stub, code) == ("True\nTrue", "")
    # A process that has not used CUDA may be forked.
    code = """
import os, sys
if os.fork() == 0:
    model().loss_and_grad(x, y)
    print("done")
    sys.exit(0)
os.wait()
"""
    assert run(stub, code) == ("done", "")


@pytest.mark.parametrize(
    ("failing", "named", "advice"),
    [
        ({"STUB_FAIL_LAUNCH": 3}, "kernel ", "CUDA_ERROR_ILLEGAL_ADDRESS, of this or of an earlier kernel"),
        ({"STUB_FAIL_COPY": 700}, "a copy to the host", "CUDA_LAUNCH_BLOCKING=1"),
        ({"STUB_FAIL_COPY": 1}, "a copy to the host", "CUDA_ERROR_INVALID_VALUE; see nvidia-smi"),
        ({"STUB_MEMORY": 2000}, "allocation of ", "use a smaller batch_size"),
        ({"STUB_FAIL_WAIT": 700}, "synchronisation", "start another"),
    ],
)
def test_faults_are_one_error_that_names_what_failed(stub, failing, named, advice):
    code = """
from numba import cuda
from numbarnn.kernels.cuda import driver
held = [cuda.device_array(1) for _ in range(20)]  # what Numba frees at the end, as it does modules of kernels
try:
    model().fit(x, y, epochs=2, verbose=0)
    driver.wait()
except DeviceError as error:
    print(f"{error}, {isinstance(error, MemoryError)}")
"""
    found, errors = run(stub, code, **failing)
    assert found.startswith(named)
    assert advice in found
    assert found.endswith(str("STUB_MEMORY" in failing))
    assert errors == ""  # at the end of a process that has lost its device, neither


def test_numpy_without_row_stack(stub):
    """NumPy 2.5 has none, and numba-cuda 0.30 asks for it as soon as it compiles."""
    code = """
import numpy as np
import numba.np.arrayobj  # Numba's own asks by NumPy's version
if hasattr(np, "row_stack"): del np.row_stack
import numbarnn as nr
nr.Model([nr.Dense(2)], 4, device="cuda").forward(np.zeros((2, 5, 4)))
print(hasattr(np, "row_stack"))
"""
    done = run_python(code, cwd=stub, cache=stub / "compiled", NUMBA_ENABLE_CUDASIM="0", LD_LIBRARY_PATH=stub)
    assert (done.stdout.strip(), done.stderr.strip()) == ("False", "")


def test_the_compiler_is_found_or_asked_for(stub):
    code = """
import os
from numba.cuda import cuda_paths
cuda_paths._get_distribution = lambda name: None  # as where CUDA's compiler is not installed by pip
from numbarnn.kernels.cuda import driver
driver._folder_of_wheels = lambda: os.environ["WHEELS"]
if os.environ["CUDA_HOME"]:
    cuda_paths.SEARCH_PRIORITY.sort(key="CUDA_HOME".__ne__)
seen = []
plain = cuda_paths.get_cuda_home
cuda_paths.get_cuda_home = lambda *folders: seen.append(plain(*folders)) or seen[-1]
try: model()
except DeviceError as error: print(error)
print(seen[0], repr(os.environ["CUDA_HOME"]))
"""
    assert run(stub, code, CUDA_HOME="", WHEELS="")[0].splitlines()[-1] == "None ''"
    for wheels, advice in (
        ("", "pip install 'numbarnn[cuda13]'"),
        ("/there", "set CUDA_HOME=/there, where pip put it"),
    ):
        message, seen = run(stub, code, CUDA_HOME="/nowhere", WHEELS=wheels)[0].splitlines()
        assert "CUDA's compiler was not found" in message
        assert advice in message
        assert seen.startswith("/nowhere")


def test_numba_cuda_on_a_path_of_its_own(stub):
    """`pip install --target` puts no .pth file where Python reads it, so nothing has redirected numba.cuda."""
    code = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "NumbaCudaFinder"]
sys.modules.pop("_numba_cuda_redirector", None)
if len(sys.argv) > 1:
    import numba.cuda
import numpy as np
import numbarnn as nr
from numbarnn.errors import DeviceError
try:
    nr.Model([nr.Dense(2)], 4, device="cuda")
    print("done")
except DeviceError as error:
    print(error)
"""
    options = {"cwd": stub, "cache": stub, "NUMBA_ENABLE_CUDASIM": "0", "LD_LIBRARY_PATH": stub}
    assert run_python(code, **options).stdout.strip() == "done"
    refused = run_python(code, "numba.cuda first", **options).stdout
    assert "import numbarnn before numba.cuda" in refused
