"""Colours, dashes and axes of all plots."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), "-")


def make_axes(ax, width=9.0, height=4.0):
    """Return `ax`, or the axes of a new figure of pyplot."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'numbarnn[plot]'") from None
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def line_style(index):
    """Return colour, dashes and width of one of several lines."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.8}


def bare(ax):
    """Return axes without the lines above and on the right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
