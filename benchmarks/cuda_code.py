"""What the machine code of the CUDA kernels costs, counted without a GPU: ``python benchmarks/cuda_code.py [--help]``.

One line for each kernel, cell and architecture:

registers    of a thread, and the most threads of a block that the kernel is compiled for
stack        bytes of a thread: what registers had no room for
rest         persistent kernels: instructions per multiply-add in the loop over the recurrent weights that registers do not hold
tile         products: instructions of a thread for one slice of a tile, 256 multiply-adds, where 16-byte reads are possible

The compilers come with the extras cuda12 and cuda13; *rest* and *tile* need cuobjdump and nvdisasm, of a CUDA toolkit or of the
packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
"""

import argparse
import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # this checkout, whatever is installed
os.environ["NUMBA_ENABLE_CUDASIM"] = "0"

import cuda_build  # noqa: E402

CARDS = {"sm_75": cuda_build.OLDEST, "sm_80": cuda_build.MIDDLE, "sm_90a": cuda_build.NEWEST}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", nargs="+", choices=CARDS, default=["sm_90a"], help="default: sm_90a")
    parser.add_argument("--cell", nargs="+", default=["LSTM"], help="cells of the persistent kernels; default: LSTM")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    options = parser.parse_args()
    if importlib.util.find_spec("numba_cuda") is None:
        parser.error("numba-cuda is not installed: pip install 'numbarnn[cuda13]'")
    cuda_build.pretend(cuda_build.OLDEST)
    from numbarnn.cells import CELLS
    from numbarnn.kernels.cuda.launch import REAL

    unknown = set(options.cell) - {name for name, cell in CELLS.items() if cell().from_hidden}
    if unknown:
        parser.error(f"no cell with a recurrent product: {', '.join(sorted(unknown))}")
    real = {str(real): real for real in REAL.values()}[options.dtype]
    cards = [CARDS[name] for name in options.architecture]
    print(f"{'kernel':26}{'cell':14}{'card':8}{'registers':>10}{'threads':>9}{'stack':>7}{'rest':>7}{'tile':>6}")
    for name, kernel in cuda_build.all_kernels().items():
        if not name.startswith((*cuda_build.PERSISTENT, "matmul.multiply.")) or options.dtype not in kernel.dtypes:
            continue
        for cell in options.cell if "c" in kernel.kinds else [None]:
            for b in cuda_build.build(name, kernel, real, None if cell is None else CELLS[cell](), cards):
                rest, tile = (f"{b.rest:.2f}" if b.rest else "-"), b.tile or "-"
                print(
                    f"{name:26}{cell or '-':14}{b.card:8}{b.registers:10}{b.threads or '-':>9}{b.stack:7}{rest:>7}{tile:>6}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
