"""Solutions of the exercises, cell by cell; the title of a cell is that of the exercise in the lecture's scripts.

`notebooks.py --solutions` puts them into the notebooks, where the cell after each checks them.
"""

# %%
import itertools

import numpy as np

# %% Exercise: three nouns
answer = 1 / 3  # the bag holds the three nouns; nothing says which was first

# %% Exercise: half of the order
answer = np.log(2)  # two of four classes are left, each with probability 1/2

# %% Exercise: three of four
a, b = np.random.default_rng(0).normal(size=(2, 100_000))
answer = ((a < 0) == (b > a)).mean()

# %% Exercise: paths to aa
answer = len(list(itertools.combinations(range(6), 4)))  # of the six borders of five steps, four end the runs of a


# %% Exercise: least steps
def least_steps(labels):
    """Return how many steps a string of labels needs at least."""
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels))


# %% Exercise: paths of one label
def paths_of_one_label(steps):
    """Return how many paths over some steps lead to a sequence of one label."""
    return steps * (steps + 1) // 2  # its first and its last step, first <= last


# %% Exercise: next state
def next_state(U, W, b, x, before):
    """Return s_t from x_t and s_{t-1}."""
    return np.tanh(U @ x + W @ before + b)


# %% Exercise: loss of a step
def loss_of_step(V, c, s, y):
    """Return E_t from s_t and the index y of the target."""
    z = V @ s + c
    return np.log(np.exp(z).sum()) - z[y]


# %% Exercise: gradient by the logits
def gradient_by_logits(z, y):
    """Return dE/dz of E = -log softmax(z)[y]."""
    return np.exp(z) / np.exp(z).sum() - np.eye(len(z))[y]


# %% Exercise: entropy of the text
answer = np.log(4 * 3 * 4) / 24.5


# %% Exercise: one factor
def step_jacobian(W, s):
    """Return ds_j/ds_{j-1} of a tanh net from W and s_j."""
    return np.diag(1 - s**2) @ W


# %% Exercise: the product
def states_jacobian(W, s, k):
    """Return ds_3/ds_k from W and s_0, ..., s_3."""
    product = np.eye(len(W))
    for j in range(k + 1, 4):
        product = step_jacobian(W, s[j]) @ product  # the latest factor is the leftmost
    return product


# %% Exercise: a hundredth
answer = int(np.ceil(np.log(0.01) / np.log(0.9)))  # 0.9^43 = 0.0108, 0.9^44 = 0.0097


# %% Exercise: a step of the cell
def cell_step(i, f, o, g, c):
    """Return c_t and h_t from the gates, the candidate and c_{t-1}."""
    new = f * c + i * g
    return new, o * np.tanh(new)


# %% Exercise: always answering one
answer = 2 / 12  # a uniform value has variance 1/12, a sum of two independent ones twice that


# %% Exercise: new state of a GRU
def gru_state(z, n, before):
    """Return h_t from the update gate, the candidate and h_{t-1}."""
    return (1 - z) * n + z * before


# %% Exercise: parameters of a GRU
def gru_parameters(inputs, hidden):
    """Return the number of parameters of a GRU with one bias vector for each gate."""
    return 3 * (hidden * inputs + hidden * hidden + hidden)


# %% Exercise: number of samples
def number_of_samples(rows, lookback, delay):
    """Return how many windows have all their rows, and their target, in the table."""
    return rows - lookback - delay + 1
