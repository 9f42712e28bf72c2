"""What training raises and what it lowers: the green and the red numbers of the lecture's character model.

    z_t = V s_t + c,  y^_t = softmax(z_t),  dE_t/dz_t = y^_t - y_t

Shows: the logit of the letter that comes (green on the slide) has a negative gradient, so a step of gradient descent raises
it; all others (red) have a positive one, and are lowered.
Prints: logits before, gradient, and logits after one step and after 200. With a folder as argument draws training_raises.png
there.
Takes: about 2 seconds, the first time 15.
"""

# %%
import numpy as np
from shared import LETTERS, check, drawing, net, save, spelled

model, tokens = net(), spelled()
x, y = tokens[:, :-1], tokens[:, 1:]
target = np.eye(4, dtype=bool)[y[0]]  # the green ones, (time steps, letters)
RATE = 0.1


def descend(model, steps):
    """Take steps of gradient descent on E, the sum over the four letters; return E before each."""
    losses = []
    for _ in range(steps):
        loss, gradients = model.loss_and_grad(x, y, reduction="sum")
        flat = np.concatenate([g.ravel() for g in gradients.values()])
        model.set_flat(model.params.flat - RATE * flat)
        losses.append(loss)
    return losses


before, probabilities = model.forward(x)[0][0], model.predict_proba(x)[0]
gradient = probabilities - target  # dE_t/dz_t
losses = descend(model, 1)
after = model.forward(x)[0][0]
losses += descend(model, 199)
trained, final = model.forward(x)[0][0], model.predict_proba(x)[0]

print("logits z_t; the letter that comes is marked by *, green on the slide; the others are red")
print("t  input  letter     z_t  dE_t/dz_t  after 1 step  after 200 steps")
for t, k in np.ndindex(4, 4):
    mark = "*" if target[t, k] else " "
    print(f"{t}    {LETTERS[x[0, t]]}      {LETTERS[k]} {mark}  {before[t, k]:+7.3f} {gradient[t, k]:+10.3f} "
          f"{after[t, k]:+13.3f} {trained[t, k]:+16.3f}")  # fmt: skip

# %% [markdown]
# The gradient of the green ones is y^ - 1 < 0, that of the red ones y^ - 0 > 0, and those of a step sum to zero. Descent
# changes weights, which all steps share, so one step of it does not move every single logit its own way; on average the green
# ones rise against the red ones at once, and in the end every green one is above every red one.

# %%
print(f"gradients: green from {gradient[target].min():+.3f} to {gradient[target].max():+.3f}, "
      f"red from {gradient[~target].min():+.3f} to {gradient[~target].max():+.3f}")  # fmt: skip
margins = [np.mean(z[target]) - np.mean(z[~target]) for z in (before, after, trained)]
print(
    f"green minus red logits, on average: {margins[0]:+.3f}, after one step {margins[1]:+.3f}, after 200 {margins[2]:+.3f}"
)
print(f"E = {losses[0]:.3f} before, {losses[1]:.3f} after one step, {losses[-1]:.3f} after 199")
print(f"200 steps: green logits from {trained[target].min():+.2f}, red logits up to {trained[~target].max():+.2f}; "
      f"probabilities of the green ones {', '.join(f'{p:.2f}' for p in final[target])}")  # fmt: skip

# %%
if drawing():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(9, 3.2), sharey=True, layout="constrained")
    for t, ax in enumerate(axes):
        colors = np.where(target[t], "#0072B2", "#D55E00")
        ax.bar(np.arange(4) - 0.2, before[t], 0.36, color="white", edgecolor=colors, linewidth=1.2, hatch="///")
        ax.bar(np.arange(4) + 0.2, trained[t], 0.36, color=colors, edgecolor=colors)
        ax.axhline(0, color="0.4", linewidth=0.8)
        ax.set_xticks(np.arange(4), LETTERS, family="monospace")
        ax.set_title(f"t = {t}: after {LETTERS[x[0, t]]!r} comes {LETTERS[y[0, t]]!r}", fontsize="medium")
        ax.set_xlabel("output letter")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("logit $z_t$")
    handles = [
        pyplot.Rectangle((0, 0), 1, 1, color="#0072B2", label="target (green on the slide)"),
        pyplot.Rectangle((0, 0), 1, 1, color="#D55E00", label="other letters (red on the slide)"),
        pyplot.Rectangle((0, 0), 1, 1, facecolor="white", edgecolor="0.3", hatch="///", label="before training"),
        pyplot.Rectangle((0, 0), 1, 1, color="0.3", label="after 200 steps"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    save(axes[0], "training_raises.png")


# %% [markdown]
# **Exercise.** Write dE_t/dz_t, and see that it is the derivative: of -log softmax(z)[y] by z.


# %% Exercise: gradient by the logits
def gradient_by_logits(z, y):
    """Return dE/dz of E = -log softmax(z)[y]."""
    return ...


# %%
z, h = before[2], 1e-6
loss_of = lambda z: np.log(np.exp(z).sum()) - z[y[0, 2]]  # noqa: E731
central = [(loss_of(z + h * unit) - loss_of(z - h * unit)) / (2 * h) for unit in np.eye(4)]
check("gradient by the logits", gradient_by_logits(z, y[0, 2]), central)
