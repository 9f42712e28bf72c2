"""Vanishing and exploding: ||ds_t/ds_k|| <= (max f' ||W||)^(t-k), and what it means for learning.

With a folder as argument, draws gradient_flow.png, singular_values.png and contributions.png there.
"""

import pathlib
import sys

import numpy as np

from numbarnn import GRU, LSTM, RNN, Dense, Model
from numbarnn.diagnostics import gradient_flow, jacobian

STEPS, HIDDEN, DRAWS = 60, 32, 10


def main(folder=None):
    """Print the norm of ds_t/ds_k for W of several sizes, and how far gradients reach in three cells."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(4, STEPS, 4)), generator.integers(0, 3, (4, STEPS))
    print("Plain net, ||ds_t/ds_k|| over 50 steps (bound in brackets), W orthogonal times a factor:")
    for factor in (0.5, 0.9, 1.0, 1.1, 2.0):
        model = Model([RNN(HIDDEN, init="orthogonal"), Dense(3)], input_size=4, dtype="float64", seed=1)
        with model.params.writing() as flat:
            weights = model.params.views(flat)
            weights["rnn.weight_hh_l0"] *= factor
            weights["rnn.weight_ih_l0"] *= 0.1  # small inputs: tanh is nearly linear
        found = jacobian(model, 0.1 * x, 55, 5)
        print(f"  {factor:3.1f} W: {found.norm:8.1e}   [{found.weight_bound:8.1e}]")
    print(
        "Beyond 1 tanh saturates and holds the growth back; a bound above 1 says that gradients can explode, not that they do."
    )
    flows, models = {}, {}
    for name, layer in (("RNN", RNN), ("LSTM", LSTM), ("GRU", GRU)):
        draws = [Model([layer(HIDDEN, init="torch"), Dense(3)], input_size=4, seed=seed) for seed in range(DRAWS)]
        every = [gradient_flow(model, x, y) for model in draws]
        print(
            f"{name:4}: {np.mean([flow.decades_per_step() for flow in every]):+.3f} decades per step; "
            f"99 % of the gradient within {np.mean([flow.steps_holding(0.99) for flow in every]):.0f} steps "
            f"(means over {DRAWS} draws of initial weights)"
        )
        flows[name], models[name] = every[0], draws[0]
    if folder:
        from numbarnn.plots import plot_contributions, plot_gradient_flow, plot_singular_values

        folder = pathlib.Path(folder)
        plot_gradient_flow(flows).figure.savefig(folder / "gradient_flow.png", dpi=70)
        plot_contributions(flows["RNN"]).figure.savefig(folder / "contributions.png", dpi=70)
        found = jacobian(models["RNN"], x, STEPS - 1, 9)
        plot_singular_values(found).figure.savefig(folder / "singular_values.png", dpi=70)


if __name__ == "__main__":
    main(*sys.argv[1:])
