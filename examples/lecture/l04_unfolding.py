"""Unfolding: a recurrent net over four steps is a net of four layers that share U, W and V.

    s_t = tanh(U x_t + W s_{t-1} + b),  o_t = softmax(V s_t + c),  E_t = -log o_t[y_t],  E = sum over t of E_t

Shows: every value of the net over four steps, of the lecture's four letters [a d i m].
Prints: weights, biases, states, outputs, losses, the terms of the gradient, and step 1 by hand. With a folder as argument draws
unfolded.png there.
Takes: about 2 seconds, the first time 15 (kernels are compiled).
"""

# %%
import numpy as np
from shared import LETTERS, WORD, check, drawing, net, save, spelled

from numbarnn.diagnostics import unfold

model, tokens = net(), spelled()
u = unfold(model, tokens, steps=4)
print(f"The letters {list(LETTERS)} as one-hot vectors; the word is {WORD!r}, each letter predicts the next.")
print(u)

# %% [markdown]
# ## By hand
# With what is printed above, and NumPy alone:

# %%
s = np.tanh(u.U @ u.x[1] + u.W @ u.s[0] + u.b)
z = u.V @ s + u.c
o = np.exp(z) / np.exp(z).sum()
print(f"s_1 = tanh(U x_1 + W s_0 + b) = {np.array2string(s, precision=3)}, off by {np.abs(s - u.s[1]).max():.0e}")
print(f"o_1 = softmax(V s_1 + c) = {np.array2string(o, precision=3)}, off by {np.abs(o - u.o[1]).max():.0e}")
print(f"E_1 = -log o_1[{LETTERS[u.y[1]]!r}] = {-np.log(o[u.y[1]]):.4f}, unfolded: {u.E[1]:.4f}")

# %% [markdown]
# ## The lecture's net has no biases
# It writes s_t = f(U x_t + W s_{t-1}) and o_t = softmax(V s_t). That is this net with `bias=False` in both layers; it has no b
# and no c, and the equations hold without them.

# %%
plain = net(bias=False)
v = unfold(plain, tokens, steps=4)
print(str(v).splitlines()[0])
s = np.tanh(v.U @ v.x[3] + v.W @ v.s[2])
print(f"s_3 = tanh(U x_3 + W s_2) off by {np.abs(s - v.s[3]).max():.0e}")
without = np.tanh(u.U @ u.x[0] + u.W @ u.s_before[0])
print(f"In the net with biases, s_0 = {np.array2string(u.s[0], precision=3)}; leaving b out would give "
      f"{np.array2string(without, precision=3)}")  # fmt: skip

# %% [markdown]
# ## Other formulas of the slides

# %%
zeros = model.forward(tokens[:, :4], model.initial_state(1))[0]
print(f"s_(-1) is all zeros unless a state is given: {np.array_equal(zeros, model.forward(tokens[:, :4])[0])}")
print(f"The same U, W and V at every step: {model.params.flat.size} parameters for a word of 4 letters or of 400.")
loss, _ = model.loss_and_grad(tokens[:, :-1], tokens[:, 1:], reduction="sum")
print(f"E = sum of E_t = {u.E.sum():.6f}, the loss of training {loss:.6f}")
one_hot = np.eye(4)[u.y[3]]
print(f"-sum y_3 log y^_3 = {-(one_hot * np.log(u.o[3])).sum():.6f} is E_3 = {u.E[3]:.6f}")
logarithm = np.log(u.o[3, u.y[3]])
print(
    f"Without the minus sign, y_3 log y^_3 = {logarithm:.4f} is a loss below zero, which training would drive to minus"
)
print(f"infinity by making the target improbable. E_3 = -y_3 log y^_3 = {u.E[3]:.4f} is what training lowers.")

# %%
if drawing():
    from numbarnn.plots import plot_unfolded

    save(plot_unfolded(u, LETTERS), "unfolded.png")

# %% [markdown]
# **Exercises.** Write a step of the net, and its loss.


# %% Exercise: next state
def next_state(U, W, b, x, before):
    """Return s_t from x_t and s_{t-1}."""
    return ...


# %%
check("next state", next_state(u.U, u.W, u.b, u.x[2], u.s[1]), u.s[2])


# %% Exercise: loss of a step
def loss_of_step(V, c, s, y):
    """Return E_t from s_t and the index y of the target."""
    return ...


# %%
check("loss of a step", loss_of_step(u.V, u.c, u.s[2], u.y[2]), u.E[2])
