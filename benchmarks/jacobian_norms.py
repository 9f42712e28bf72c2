"""How far a gradient reaches before and after training: log10 ||ds_100 / ds_0||, by cell and initial weights.

python benchmarks/jacobian_norms.py [--hidden 32] [--seeds 3] [--steps 2000] [--plot docs/pictures/jacobian_norms.png]
        > benchmarks/results/jacobian_norms.md

The sequences are the adding problem's, 101 steps; training is on it too (batches of 50, Adam, gradients clipped to norm 1). s is
all that a cell carries, (h, c) of an LSTM. At 0 a gradient arrives as large as it left.
"""

import argparse

import numpy as np

from numbarnn import LSTM, RNN, Dense, Model, Trainer
from numbarnn.data import Batch
from numbarnn.data.datasets import adding
from numbarnn.diagnostics import jacobian
from numbarnn.optim import Adam

NETS = {
    "RNN": lambda hidden, init: RNN(hidden, init=init, return_sequences=False),
    "LSTM, forget bias 1": lambda hidden, init: LSTM(hidden, init=init, forget_bias=1.0, return_sequences=False),
    "LSTM, forget bias 4": lambda hidden, init: LSTM(hidden, init=init, forget_bias=4.0, return_sequences=False),
}
LENGTH = 101


def decades(model):
    """Return log10 of the norms over 1 to 100 steps, mean over four sequences."""
    found = [jacobian(model, adding(1, LENGTH, seed=seed).x, LENGTH - 1, 0).by_lag[:, 0] for seed in range(4)]
    return np.log10(found).mean(axis=0)


def train(model, steps, seed):
    """Train on fresh batches; return the mean squared error of 500 new sequences."""
    trainer = Trainer(model, "mse", Adam(3e-3), clip_norm=1.0, seed=seed)
    for step in range(steps):
        x, y, _ = adding(50, LENGTH, seed=10**6 * seed + step)
        trainer.train_batch(Batch(x, y))
    x, y, _ = adding(500, LENGTH, seed=10**9)
    return float(np.square(model.forward(x)[0][:, 0] - y).mean())


def main():
    """Print a table, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000, help="optimizer steps; 0: no training")
    parser.add_argument("--plot", help="file to draw into")
    options = parser.parse_args()
    curves = {}
    print(
        "| net | initial weights | at initialisation | after training | error after training |\n|---|---|---|---|---|"
    )
    for init in ("torch", "orthogonal"):
        for name, layer in NETS.items():
            before, after, errors = [], [], []
            for seed in range(options.seeds):
                model = Model([layer(options.hidden, init), Dense(1)], input_size=2, seed=seed)
                before.append(decades(model))
                if options.steps:
                    errors.append(train(model, options.steps, seed))
                    after.append(decades(model))
            curves[name, init] = np.mean(before, axis=0), np.mean(after, axis=0) if after else None
            ends = [f"{np.mean(c, axis=0)[-1]:+.1f}" if c else "-" for c in (before, after)]
            error = ", ".join(f"{error:.4f}" for error in errors) or "-"
            print(f"| {name} | {init} | {ends[0]} | {ends[1]} | {error} |", flush=True)
    if options.plot:
        draw(curves).figure.savefig(options.plot, dpi=150)


def draw(curves):
    """Draw all curves: before training dashed, after it solid."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for ax, init in zip(axes, ("torch", "orthogonal"), strict=True):
        for name, color in zip(NETS, ("#0072B2", "#D55E00", "#009E73"), strict=True):
            before, after = curves[name, init]
            lags = np.arange(1, len(before) + 1)
            ax.plot(lags, before, color=color, linestyle="--", label=f"{name}, at initialisation")
            if after is not None:
                ax.plot(lags, after, color=color, label=f"{name}, trained")
        ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        ax.set_title(f"initial weights: {init}", fontsize="medium")
        ax.set_xlabel("lag (time steps)")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(r"$\log_{10} \|\partial s_{100} / \partial s_{100-lag}\|$")
    axes[1].legend(frameon=False, fontsize="small", loc="lower left")
    return axes[0]


if __name__ == "__main__":
    main()
