"""Back-propagation through time, term by term, and every formula of the slides checked by its number.

    dE_3/dV = (y^_3 - y_3) outer s_3
    dE_3/dW = sum over k = 0..3 of  dE_3/ds_3  (prod over j = k+1..3 of ds_j/ds_{j-1})  d+s_k/dW
    ds_j/ds_{j-1} = diag(f'(U x_j + W s_{j-1} + b)) W

Shows: which of the lecture's formulas hold as they stand, and what the others are off by.
Prints: the terms, their sums, and what each slip would give.
Takes: about 2 seconds, the first time 15 (kernels are compiled).
"""

# %%
import numpy as np
from shared import check, net, spelled

from numbarnn.diagnostics import jacobian, unfold

model, tokens = net(), spelled()
u = unfold(model, tokens, steps=4)


def off(wrong, right):
    """Return how far a matrix is from the right one, relative to its norm."""
    return np.linalg.norm(wrong - right) / np.linalg.norm(right)


# %% [markdown]
# ## What holds
# dE/dW = sum_t dE_t/dW;  dE_3/dz_3 = dE_3/dy^_3 dy^_3/dz_3 = y^_3 - y_3;  dE_3/dV = (y^_3 - y_3) outer s_3;
# dE_3/dW = dE_3/dy^_3 dy^_3/ds_3 ds_3/dW, with the chain rule again for ds_3/dW.

# %%
y = np.eye(4)[u.y[3]]
softmax_jacobian = np.diag(u.o[3]) - np.outer(u.o[3], u.o[3])  # dy^_3/dz_3
error = -y / u.o[3] @ softmax_jacobian  # dE_3/dy^_3 dy^_3/dz_3
print(f"dE_3/dy^_3 dy^_3/dz_3 = y^_3 - y_3 within {np.abs(error - (u.o[3] - y)).max():.1e}")
print(f"dE_3/dV = (y^_3 - y_3) outer s_3 within {np.abs(np.outer(error, u.s[3]) - u.dV[3]).max():.1e}")
_, last = model.loss_and_grad(
    tokens[:, :4], np.array([[-100, -100, -100, u.y[3]]]), reduction="sum"
)  # -100: not counted
print(f"  and of training with E_3 alone: within {np.abs(last['dense.weight'] - u.dV[3]).max():.1e}")
for name, terms in (("W", u.dW[3]), ("U", u.dU[3])):
    print(f"dE_3/d{name}: norms of the terms k = 0..3: {', '.join(f'{np.linalg.norm(term):.2e}' for term in terms)}")
print("The term k = 0 of dE_3/dW is zero because s_{-1} is.")
whole = last["rnn.weight_hh_l0"]
print(f"sum over k of the terms = dE_3/dW within {off(u.dW[3].sum(0), whole):.1e}")
_, gradients = model.loss_and_grad(tokens[:, :-1], tokens[:, 1:], reduction="sum")
apart = off(u.dW.sum((0, 1)), gradients["rnn.weight_hh_l0"])
print(f"All terms of E_0..E_3 together are the gradient of training within {apart:.1e}.")

# %% [markdown]
# ## ds_k/dW in the sum
# In the sum over k, ds_k/dW has to take s_{k-1} as a constant (the "immediate" derivative d+s_k/dW). Read as the whole
# derivative, which holds what W does through s_{k-1} too, the same contributions are counted once for every k.

# %%
exact = [jacobian(model, tokens[:, :-1], 3, k).matrix for k in range(3)] + [np.eye(3)]
slope = [1 - s**2 for s in u.s]
immediate = [np.einsum("i,ij,k->ijk", slope[k], np.eye(3), u.s_before[k]) for k in range(4)]  # ds_k[i] / dW[j, l]
total = [immediate[0]]
for k in range(1, 4):
    total.append(immediate[k] + np.einsum("ij,jkl->ikl", slope[k][:, None] * u.W, total[-1]))
by_state = error @ u.V  # dE_3/ds_3
for name, parts in (("s_{k-1} constant", immediate), ("the whole derivative", total)):
    summed = sum(np.einsum("i,ij,jkl->kl", by_state, exact[k], parts[k]) for k in range(4))
    print(f"sum over k with ds_k/dW, {name}: off by {off(summed, whole):.2g}")

# %% [markdown]
# ## The product of the Jacobians
# ds_3/ds_k = prod_{j=k+1}^3 ds_j/ds_{j-1} has 3 - k factors diag(f') W. That much the slide has right: it writes a power of W
# *before* a product over m = 1..3-j of f'(W s_{3-m}), as many of each as there should be.

# %%
print("ds_3/ds_k has 3 - k factors diag(f') W:")
for k in range(3):
    product = np.eye(3)
    for j in range(k + 1, 4):
        product = slope[j][:, None] * u.W @ product
    print(f"  k = {k}: {3 - k} factors, off by {off(product, exact[k]):.1e}")

# %% [markdown]
# Two things are not right. The index: on the left j is bound by the product, on the right it is free; it should be k. And the
# order: W and diag(f') do not commute, so the W's cannot be collected in front, except where there is one unit or one factor.

# %%
print("W^(3-k) prod_m diag(f'), with the right slopes f' and k for j:")
for k in range(3):
    diagonal = np.prod(slope[k + 1 :], axis=0)
    power = np.linalg.matrix_power(u.W, 3 - k)
    print(f"  k = {k}: {3 - k} of each, off by {off(power * diagonal, exact[k]):.2f} with W^{3 - k} in front, "
          f"by {off(diagonal[:, None] * power, exact[k]):.2f} with it at the end")  # fmt: skip
w, slopes = u.W[0, 0], [slope[j][0] for j in (1, 2, 3)]  # a net of one hidden unit: numbers commute
print(f"  one unit, k = 0: off by {abs(w**3 * np.prod(slopes) / np.prod([w * f for f in slopes]) - 1):.1e}")

# %% [markdown]
# Also, sigmoid' stands where f is tanh, and the argument lacks U x (the argument of f' is the pre-activation of the step).

# %%
a = u.W @ u.s[2]
logistic = 1 / (1 + np.exp(-(u.U @ u.x[3] + a + u.b)))
print("ds_3/ds_2 is diag(tanh'(U x_3 + W s_2 + b)) W, as f is tanh:")
print(f"  with the logistic function's slope: off by {off((logistic * (1 - logistic))[:, None] * u.W, exact[2]):.2f}")
print(
    f"  with the argument W s_2, without U x_3 and b: off by {off((1 - np.tanh(a) ** 2)[:, None] * u.W, exact[2]):.2f}"
)
arguments = [u.W @ u.s[3 - m] for m in range(1, 4)]
slopes = [np.exp(-a) / (1 + np.exp(-a)) ** 2 for a in arguments]
literal = np.linalg.matrix_power(u.W, 3) * np.prod(slopes, axis=0)
print(f"All of it, W^3 prod_m sigmoid'(W s_(3-m)) for k = 0: off by {off(literal, exact[0]):.2f}")

# %% [markdown]
# **Exercises.** Write one factor, and the product.


# %% Exercise: one factor
def step_jacobian(W, s):
    """Return ds_j/ds_{j-1} of a tanh net from W and s_j."""
    return ...


# %%
check("one factor", step_jacobian(u.W, u.s[3]), exact[2])


# %% Exercise: the product
def states_jacobian(W, s, k):
    """Return ds_3/ds_k from W and s_0, ..., s_3."""
    return ...


# %%
check("the product", states_jacobian(u.W, u.s, 0), exact[0])
