"""The GRU, a variant of the LSTM: two gates and one state, without a cell state apart from it.

    r_t, z_t = sigmoid(W x_t + R h_{t-1} + b)
    n_t = tanh(W x_t + b + r_t * (R h_{t-1} + b'))      reset after the product (torch, Keras); before it: R (r_t * h_{t-1})
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Shows: a step with its values, the two forms of the reset, and what the update gate does to the gradient.
Prints: the step, norms of dh_35/dh_5, and parameter counts beside RNN and LSTM.
Takes: about 2 seconds, the first time 10 (kernels are compiled).
"""

# %%
import numpy as np
from shared import check

from numbarnn import GRU, LSTM, RNN, Model
from numbarnn.diagnostics import jacobian, trace

x = np.random.default_rng(0).normal(size=(1, 40, 2))
model = Model([GRU(4, init="torch")], input_size=2, dtype="float64", seed=1)
seen = trace(model, x)
r, z, n, h = (seen[f"gru.{name}_l0"][0] for name in "rznh")
print(f"Step 5, unit 0: r = {r[5, 0]:.4f}, z = {z[5, 0]:.4f}, n = {n[5, 0]:+.4f}")
print(f"  h = (1 - z) n + z h' = {1 - z[5, 0]:.4f} * {n[5, 0]:+.4f} + {z[5, 0]:.4f} * {h[4, 0]:+.4f} = {h[5, 0]:+.4f}")

# %%
weights = model.state_dict()
other = Model([GRU(4, init="torch", reset_after=False)], input_size=2, dtype="float64").load_state_dict(weights)
apart = trace(other, x)["gru.h_l0"][0, 5, 0]
print(f"Reset before the product, same weights: h_5 of unit 0 = {apart:+.4f}; the two forms are not the same net")
for fix in ({"update": 1.0}, {"update": 0.0}):
    fixed = Model([GRU(4, init="torch", fix=fix)], input_size=2, dtype="float64").load_state_dict(weights)
    found = jacobian(fixed, x, 35, 5)
    meaning = "h never changes, a perfect memory of nothing" if fix["update"] else "a plain net with a reset"
    print(f"z always {fix['update']:.0f}: ||dh_35/dh_5|| = {found.norm:.1e}, {meaning}")

# %%
for layer in (RNN, GRU, LSTM):
    count = Model([layer(64, bias="single")], input_size=32).params.flat.size
    print(f"{layer.__name__:4} of 64 units on 32 inputs, one bias: {count:6,} parameters")

# %% [markdown]
# **Exercises.** Write the new state; count the parameters of a GRU with one bias.


# %% Exercise: new state of a GRU
def gru_state(z, n, before):
    """Return h_t from the update gate, the candidate and h_{t-1}."""
    return ...


# %%
check("new state of a GRU", gru_state(z[5], n[5], h[4]), h[5])


# %% Exercise: parameters of a GRU
def gru_parameters(inputs, hidden):
    """Return the number of parameters of a GRU with one bias vector for each gate."""
    return ...


# %%
check("parameters of a GRU", gru_parameters(7, 5), Model([GRU(5, bias="single")], input_size=7).params.flat.size)
