"""The LSTM gate by gate, and why its gradient lives longer.

    i_t, f_t, o_t = sigmoid(W x_t + R h_{t-1} + b),  g_t = tanh(W x_t + R h_{t-1} + b)
    c_t = f_t * c_{t-1} + i_t * g_t,  h_t = o_t * tanh(c_t)
    dc_t/dc_j = f_{j+1} * f_{j+2} * ... * f_t      with the recurrent path through the gates cut

Shows: a step with its values, the path of the gradient along the cell state (the lecture's carry state) and how fast it
decays, and peepholes.
Prints: gates of one unit, products of forget gates, on which letters an output depends. With a folder as argument draws
gates.png and sensitivity.png there.
Takes: about 15 seconds, the first time 40.
"""

# %%
import numpy as np
from shared import check, drawing, save

from numbarnn import LSTM, CharLM, Dense, Model
from numbarnn.diagnostics import jacobian, sensitivity, trace
from numbarnn.optim import RMSprop

WORDS = ("cat", "dog", "rat", "frog"), ("mat", "log", "bog", "hill")


def story(sentences, seed=0):
    """Return sentences with two words of each drawn at random."""
    drawn = np.random.default_rng(seed).integers(0, 4, (sentences, 2))
    return "".join(f"the {WORDS[0][who]} sat on the {WORDS[1][where]}. " for who, where in drawn)


def sigmoid(a):
    """Return 1 / (1 + exp(-a))."""
    return 1 / (1 + np.exp(-a))


lm = CharLM("lstm", hidden_size=32, num_layers=1, seed=1)
lm.fit(story(500), epochs=10, batch_size=8, seq_length=40, optimizer=RMSprop(0.005), verbose=0)
model = type(lm.model)(lm.model.layers, dtype="float64").load_state_dict(lm.model.state_dict())  # the same in float64
shown = "the cat sat on the mat. the dog sat on the log. "
tokens = lm.vocabulary.encode(shown)[None]
seen = trace(model, tokens)
i, f, g, o, c, h = (seen[f"lstm.{name}_l0"][0] for name in "ifgoch")

# %% [markdown]
# ## A step

# %%
t, unit = 20, int(np.abs(c[20]).argmax())
print(f"Step {t}, letter {shown[t]!r}, unit {unit}:")
print(f"  input gate i = {i[t, unit]:.4f}, forget gate f = {f[t, unit]:.4f}, output gate o = {o[t, unit]:.4f}")
print(f"  candidate g = {g[t, unit]:+.4f}")
kept, added = f"{f[t, unit]:.4f} * {c[t - 1, unit]:+.4f}", f"{i[t, unit]:.4f} * {g[t, unit]:+.4f}"
print(f"  c = f c' + i g = {kept} + {added} = {c[t, unit]:+.4f}")
print(f"  h = o tanh(c) = {o[t, unit]:.4f} * {np.tanh(c[t, unit]):+.4f} = {h[t, unit]:+.4f}")

p, (x_t, before) = model.params, (np.eye(len(lm.vocabulary))[tokens[0, t]], h[t - 1])
Wf, Rf = p["lstm.weight_ih_l0"][32:64], p["lstm.weight_hh_l0"][32:64]
bf = (p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"])[32:64]
row = sigmoid(x_t @ Wf.T + before @ Rf.T + bf)  # the lecture's rows: x_k U^f + s_{k-1} W^f + b_f
print(
    f"f_t = sigmoid(x_t U^f + s_(t-1) W^f + b_f) within {np.abs(row - f[t]).max():.1e}, rows times matrices: U^f is W_f transposed"
)

# %% [markdown]
# ## The path along the cell state

# %%
t, j = 30, 20
found = jacobian(model, tokens, t, j)
path = np.diag(found.carry_path)
off = np.abs(path / np.prod(f[j + 1 : t + 1], 0) - 1).max()
print(f"dc_{t}/dc_{j} along the cell state against prod f_{j + 1} ... f_{t}: off by {off:.1e}")
off = np.abs(np.prod(f[j : t + 1], 0) / path - 1).max()
print(f"  the lecture's product from j on has a factor too many: off by {off:.2f}")
added, hidden = np.linalg.norm(found.carry_added, 2), np.linalg.norm(found.block("h", "h"), 2)
print(
    f"  it is of the cell state c, norm {path.max():.3f}; the paths through the gates add a matrix of norm {added:.3f},"
)
print(f"  and the state s = h is another matter: ||dh_{t}/dh_{j}|| at a given c_{j} is {hidden:.1e}")

# %% [markdown]
# ## "No exponentially fast decaying factor"?
# The slide says so of the product of forget gates. A product of factors below 1 does decay exponentially, only that its rate is
# learned, unit by unit and step by step, and may be as near to 0 as the net wants: with f = 0.99 it takes 69 steps to halve,
# with f = 0.5 one. (The next line of the slide says that LSTMs suffer from vanishing gradients too, which is right.)

# %%
for value in (0.5, 0.9, 0.99):
    fixed = Model([LSTM(1, fix={"forget": value}), Dense(1)], input_size=1, dtype="float64")
    path = jacobian(fixed, np.zeros((1, 101, 1)), 100, 0).carry_path[0, 0]
    print(f"f = {value:4} at every step: dc_100/dc_0 = {path:.1e}, half after {np.log(0.5) / np.log(value):.0f} steps")
products = np.prod(f[j + 1 : t + 1], axis=0)
half = np.log(0.5) / np.log(f[j + 1 : t + 1]).mean(axis=0)
print(f"trained, 10 steps: products of the {len(products)} units from {products.min():.1e} to {products.max():.3f}, "
      f"median {np.median(products):.1e}; half-lives {half.min():.1f} to {half.max():.0f} steps")  # fmt: skip

# %% [markdown]
# ## Peepholes
# "The gates collect activations from inside and outside the block": from outside x_t and h_{t-1}, from inside the cell state,
# by connections called peepholes (Gers & Schmidhuber 2000), with one weight a unit: i and f see c_{t-1}, o sees the new c_t.

# %%
peep = Model([LSTM(3, peepholes=True, init="uniform(0.5)")], input_size=2, dtype="float64", seed=1)
x = np.random.default_rng(0).normal(size=(1, 6, 2))
inside, q = trace(peep, x), peep.params
hp, cp = (inside[f"lstm.{name}_l0"][0] for name in "hc")
a = q["lstm.weight_ih_l0"] @ x[0, 5] + q["lstm.weight_hh_l0"] @ hp[4] + q["lstm.bias_ih_l0"] + q["lstm.bias_hh_l0"]
a_i, a_f, a_g, a_o = a.reshape(4, 3)
i_5 = sigmoid(a_i + q["lstm.weight_ci_l0"] * cp[4])
f_5 = sigmoid(a_f + q["lstm.weight_cf_l0"] * cp[4])
c_5 = f_5 * cp[4] + i_5 * np.tanh(a_g)
h_5 = sigmoid(a_o + q["lstm.weight_co_l0"] * c_5) * np.tanh(c_5)
print(f"peepholes: i, f see c_(t-1), o sees c_t; a step by hand is off by {np.abs(h_5 - hp[5]).max():.1e}")
blind = sigmoid(a_i)
print(f"  without its peephole the input gate of unit 0 would be {blind[0]:.4f}, it is {i_5[0]:.4f}; "
      f"{sum(q[name].size for name in q if 'weight_c' in name)} weights more")  # fmt: skip

# %%
# How the output at step 40, for the letter that comes next, depends on every letter before.
values = sensitivity(model, tokens, 40, int(tokens[0, 41]))
strength = np.linalg.norm(values[0], axis=1)[40::-1]
reach = int(np.argmax(np.cumsum(strength) >= 0.99 * strength.sum())) + 1
print(f"The output after {shown[:41]!r} depends on the last letters: 99 % of ||dy/dx|| lies within {reach} of 41")

# %%
if drawing():
    from numbarnn.plots import plot_gates, plot_sensitivity

    labels = shown.replace(" ", "_")
    save(plot_gates(seen, labels=labels), "gates.png")
    save(plot_sensitivity(values, output=shown[41], t=40, labels=labels), "sensitivity.png")

# %% [markdown]
# **Exercise.** Write a step of the cell from its gates.


# %% Exercise: a step of the cell
def cell_step(i, f, o, g, c):
    """Return c_t and h_t from the gates, the candidate and c_{t-1}."""
    return ..., ...


# %%
new = cell_step(i[20], f[20], o[20], g[20], c[19])
check("a step of the cell", ... if new[0] is ... else np.array(new), np.array([c[20], h[20]]))
