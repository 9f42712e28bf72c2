"""For how many steps of a sample products of x are taken at once, so that all sums stay as they are."""

from numbarnn.kernels.cpu.matmul import BLOCK, whole

# Steps at once: two of the tallest tiles of AVX-512, four of AVX2, few enough to stay in the second-level cache. Samples up to
# which it pays; forward on a Zen 5 core, times as fast (`benchmarks/min_cells.py --blocks`): LSTM with 256 inputs and units 1.8 of
# one sample, 1.1 of four, 1.0 of eight; with 512 units 0.93 of 16 samples.
AHEAD, FEW = 24, 4


def block_of_steps(samples: int, steps: int) -> int:
    """Return how many steps of a sample have one product of x, or of its gradient; 1: all samples of a step have."""
    return max(1, min(AHEAD, steps)) if samples <= FEW else 1


def cut_anyway(inputs: int, recurrents: int) -> bool:
    """Return whether there is a product of x, and none of h that its sum is continued by, or the two are cut there anyway."""
    if inputs == 0 or recurrents == 0:  # tokens; a cell without a product of h
        return inputs > 0
    return not whole(inputs + recurrents) and not _whole_when_alone(inputs, recurrents)


def block_of_team(samples: int, inputs: int, recurrents: int) -> int:
    """Return for how many steps threads that share units take products of x at once; they can resume a sum that h continues."""
    return AHEAD if samples == 1 and inputs > 0 and not _whole_when_alone(inputs, recurrents) else 1


def _whole_when_alone(inputs, recurrents):
    """Return whether one of two products, taken alone, would be a single sum where it is several blocks beside the other."""
    sizes = [size for size in (inputs, recurrents) if size > BLOCK]
    return not whole(inputs + recurrents) and any(map(whole, sizes))
