"""The kernels for CUDA: those of `numbarnn.kernels.cpu` by name and meaning, for a device that runs thousands of threads.

What differs from the CPU's, and why:

* **Arrays are plain.** A matrix of activations is (T * N, columns), a row for every (t, n), without padding; weights are read
  where they stand in the flat parameters.
* **Arguments are pointers and scalars**, many of them in groups (`numbarnn.kernels.cuda.launch`): an array costs a launch one word
  instead of seven, and an index no check for negative ones.
* **A kernel is a function of the type of its values**: ``product(real)`` makes the one for float32 or float64, so that shared
  memory and constants have that type, and no float64 instruction strays into a float32 kernel.
* **Only what every card and the simulator have**: shared memory and barriers of a block. Threads of different blocks never wait
  for each other, so no launch depends on how many blocks run at a time.
* **Every sum has one order**, whatever the card: partial sums are added by their indices, nothing by atomics. Two runs give the
  same bits.

Importing this package imports ``numba.cuda``; `numbarnn` does so when a model with ``device="cuda"`` is made, and not before.
"""

from numbarnn.kernels.cuda import driver  # before all else

__all__ = ["driver"]
