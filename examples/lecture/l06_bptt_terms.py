"""Back-propagation through time, term by term.

    dE_3/dV = (y^_3 - y_3) outer s_3
    dE_3/dW = sum over k = 0..3 of  dE_3/ds_3  (prod over j = k+1..3 of ds_j/ds_{j-1})  d+s_k/dW
    ds_j/ds_{j-1} = diag(f'(U x_j + W s_{j-1} + b)) W

and four slips in the lecture's formulas, each with the figure that proves it.
"""

import numpy as np
from l04_unfolding import LETTERS, WORD, net

from numbarnn.diagnostics import jacobian, unfold


def main():
    """Print the terms, their sums, and what the slips would give."""
    model = net()
    tokens = np.array([[LETTERS.index(letter) for letter in WORD]])
    u = unfold(model, tokens, steps=4)
    for name, terms in (("W", u.dW[3]), ("U", u.dU[3])):
        print(
            f"dE_3/d{name}: norms of the terms k = 0..3: {', '.join(f'{np.linalg.norm(term):.2e}' for term in terms)}"
        )
    print("The term k = 0 of dE_3/dW is zero because s_{-1} is.")
    _, gradients = model.loss_and_grad(tokens[:, :-1], tokens[:, 1:], reduction="sum")
    error = np.abs(u.dW.sum((0, 1)) - gradients["rnn.weight_hh_l0"]).max() / np.abs(gradients["rnn.weight_hh_l0"]).max()
    print(f"All terms of E_0..E_3 together are the gradient of training within {error:.1e}.")

    exact = [jacobian(model, tokens[:, :-1], 3, k).matrix for k in range(3)]
    slope = [1 - s**2 for s in u.s]

    def off(wrong, right):
        return np.linalg.norm(wrong - right) / np.linalg.norm(right)

    print("ds_3/ds_k has 3 - k factors diag(f') W:")
    for k in range(3):
        product = np.eye(3)
        for j in range(k + 1, 4):
            product = slope[j][:, None] * u.W @ product
        print(f"  k = {k}: {3 - k} factors, off by {off(product, exact[k]):.1e}")
    # Inside the product over j the exponent may only be 1: W^{3-j} would give 2 + 1 + 0 factors W for k = 0.
    product = np.eye(3)
    for j in range(1, 4):
        product = slope[j][:, None] * np.linalg.matrix_power(u.W, 3 - j) @ product
    print(
        f"  with W^(3-j) for every j, k = 0: off by {off(product, exact[0]):.2f} of the whole; it is W^(3-k), all factors together"
    )
    a = u.W @ u.s[2]
    logistic = 1 / (1 + np.exp(-a))
    print("ds_3/ds_2 is diag(tanh'(U x_3 + W s_2 + b)) W, as f is tanh:")
    print(
        f"  with the logistic function's slope: off by {off((logistic * (1 - logistic))[:, None] * u.W, exact[2]):.2f}"
    )
    print(f"  with the argument W s_2, without U x_3: off by {off((1 - np.tanh(a) ** 2)[:, None] * u.W, exact[2]):.2f}")


if __name__ == "__main__":
    main()
