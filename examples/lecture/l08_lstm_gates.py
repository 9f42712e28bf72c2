"""The LSTM gate by gate, and why its gradient lives longer.

    i_t, f_t, o_t = sigmoid(W x_t + R h_{t-1} + b),  g_t = tanh(W x_t + R h_{t-1} + b)
    c_t = f_t * c_{t-1} + i_t * g_t,  h_t = o_t * tanh(c_t)
    dc_t/dc_j = f_{j+1} * f_{j+2} * ... * f_t      with the recurrent path through the gates cut

With a folder as argument, draws gates.png and sensitivity.png there.
"""

import pathlib
import sys

import numpy as np

from numbarnn import CharLM
from numbarnn.diagnostics import jacobian, sensitivity, trace
from numbarnn.optim import RMSprop

WORDS = ("cat", "dog", "rat", "frog"), ("mat", "log", "bog", "hill")


def story(sentences, seed=0):
    """Return sentences with two words of each drawn at random."""
    drawn = np.random.default_rng(seed).integers(0, 4, (sentences, 2))
    return "".join(f"the {WORDS[0][who]} sat on the {WORDS[1][where]}. " for who, where in drawn)


def main(folder=None):
    """Train a small character model and look inside."""
    lm = CharLM("lstm", hidden_size=32, num_layers=1, seed=1)
    lm.fit(story(500), epochs=10, batch_size=8, seq_length=40, optimizer=RMSprop(0.005), verbose=0)
    model, shown = lm.model, "the cat sat on the mat. the dog sat on the log. "
    tokens = lm.vocabulary.encode(shown)[None]
    seen = trace(model, tokens)
    i, f, g, o, c, h = (seen[f"lstm.{name}_l0"][0] for name in "ifgoch")
    t, unit = 20, int(np.abs(c[20]).argmax())
    print(f"Step {t}, letter {shown[t]!r}, unit {unit}:")
    print(f"  input gate i = {i[t, unit]:.4f}, forget gate f = {f[t, unit]:.4f}, output gate o = {o[t, unit]:.4f}")
    print(f"  candidate g = {g[t, unit]:+.4f}")
    kept, added = f"{f[t, unit]:.4f} * {c[t - 1, unit]:+.4f}", f"{i[t, unit]:.4f} * {g[t, unit]:+.4f}"
    print(f"  c = f c' + i g = {kept} + {added} = {c[t, unit]:+.4f}")
    print(f"  h = o tanh(c) = {o[t, unit]:.4f} * {np.tanh(c[t, unit]):+.4f} = {h[t, unit]:+.4f}")

    t, j = 30, 20
    found = jacobian(model, tokens, t, j)
    f = trace(model_in_double(model), tokens)["lstm.f_l0"][0]
    path = np.diag(found.carry_path)
    off = np.abs(path / np.prod(f[j + 1 : t + 1], 0) - 1).max()
    print(f"dc_{t}/dc_{j} along the carry against prod f_{j + 1} ... f_{t}: off by {off:.1e}")
    off = np.abs(np.prod(f[j : t + 1], 0) / path - 1).max()
    print(f"  the lecture's product from j on has a factor too many: off by {off:.2f}")
    added, hidden = np.linalg.norm(found.carry_added, 2), np.linalg.norm(found.block("h", "h"), 2)
    print(
        f"  it is of the carry c, norm {path.max():.3f}; the paths through the gates add a matrix of norm {added:.3f},"
    )
    print(f"  and the state s = h is another matter: ||dh_{t}/dh_{j}|| at a given carry is {hidden:.1e}")

    # How the output at step 40, for the letter that comes next, depends on every letter before.
    values = sensitivity(model, tokens, 40, int(tokens[0, 41]))
    strength = np.linalg.norm(values[0], axis=1)[40::-1]
    reach = int(np.argmax(np.cumsum(strength) >= 0.99 * strength.sum())) + 1
    print(f"The output after {shown[:41]!r} depends on the last letters: 99 % of ||dy/dx|| lies within {reach} of 41")
    if folder:
        from numbarnn.plots import plot_gates, plot_sensitivity

        folder = pathlib.Path(folder)
        labels = shown.replace(" ", "_")
        plot_gates(seen, labels=labels).figure.savefig(folder / "gates.png", dpi=70)
        plot_sensitivity(values, labels=labels).figure.savefig(folder / "sensitivity.png", dpi=70)


def model_in_double(model):
    """Return a model with the same weights that computes in float64."""
    twin = type(model)(model.layers, dtype="float64")
    return twin.load_state_dict(model.state_dict())


if __name__ == "__main__":
    main(*sys.argv[1:])
