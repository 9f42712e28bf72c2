"""Vanishing and exploding: ||ds_t/ds_k|| <= (max f' ||W||)^(t-k), what decides it, and what it means for learning.

Shows: norms against their bound, that the spectral radius of W decides and not whether its entries are 1, and how far
gradients reach in an RNN, an LSTM and a GRU.
Prints: norms over 50 steps, and decades per step. With a folder as argument draws gradient_flow.png, singular_values.png and
contributions.png there.
Takes: about 30 seconds, the first time 60 (ten draws of three nets).
"""

# %%
import numpy as np
from shared import check, drawing, save

from numbarnn import GRU, LSTM, RNN, Dense, Model
from numbarnn.diagnostics import gradient_flow, jacobian

STEPS, HIDDEN, DRAWS = 60, 32, 10
generator = np.random.default_rng(0)
x, y = generator.normal(size=(4, STEPS, 4)), generator.integers(0, 3, (4, STEPS))

# %% [markdown]
# ## The bound

# %%
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

# %% [markdown]
# ## Not "1s" but the spectral radius
# The slides say that the product decays or grows exponentially fast "if W is not 1", or "not all 1s". For one unit without f
# that is so: w^n. For a matrix it is its spectral radius, the largest absolute eigenvalue, that decides how fast W^n grows or
# decays in the long run. It is the product that does so, not "the value of W", which stays what it is.


# %%
def linear(W, lag):
    """Return ||ds_t/ds_k|| over some steps of a net without an activation."""
    size = len(W)
    net = Model([RNN(size, activation="identity", bias=False)], input_size=1, dtype="float64")
    with net.params.writing() as flat:
        net.params.views(flat)["rnn.weight_hh_l0"][:] = W
    return jacobian(net, np.zeros((1, lag + 1, 1)), lag, 0).norm


angle = 0.5
MATRICES = {
    "all ones, 3 x 3": np.ones((3, 3)),
    "all ones, divided by 3": np.ones((3, 3)) / 3,
    "a rotation": np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]),
    "0.9 on the diagonal, 5 beside": np.array([[0.9, 5.0], [0.0, 0.9]]),
    "0.5 everywhere, 3 x 3": np.full((3, 3), 0.5),
}
print(
    f"{'W, identity for f':32}{'radius':>8}{'||W||':>8}{'1 step':>10}{'10 steps':>10}{'50 steps':>10}{'200 steps':>10}"
)
for name, W in MATRICES.items():
    radius, norms = np.abs(np.linalg.eigvals(W)).max(), [linear(W, lag) for lag in (1, 10, 50, 200)]
    print(f"{name:32}{radius:8.2f}{np.linalg.norm(W, 2):8.2f}" + "".join(f"{norm:10.1e}" for norm in norms))
one = Model([RNN(1, bias=False)], input_size=1, dtype="float64")
with one.params.writing() as flat:
    flat[:] = 1.0
found = jacobian(one, np.full((1, 51, 1), 0.5), 50, 0)
print(
    f"With f = tanh even w = 1 decays, as f' < 1 where the unit is not at 0: one unit, input 0.5, 50 steps: {found.norm:.1e}"
)

# %% [markdown]
# ## How far gradients reach

# %%
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
    rates = [flow.decades_per_step() for flow in every]
    print(f"      draws from {min(rates):+.2f} to {max(rates):+.2f} decades per step")

# %%
if drawing():
    from numbarnn.plots import plot_contributions, plot_gradient_flow, plot_singular_values

    save(plot_gradient_flow(flows), "gradient_flow.png")
    save(plot_contributions(flows["RNN"]), "contributions.png")
    save(plot_singular_values(jacobian(models["RNN"], x, STEPS - 1, 9)), "singular_values.png")

# %% [markdown]
# **Exercise.** At 0.9 a step, after how many steps is a gradient below a hundredth of its size? (The first such number of
# steps.)

# %% Exercise: a hundredth
answer = ...

# %%
check("a hundredth", answer, int(np.ceil(np.log(0.01) / np.log(0.9))))
