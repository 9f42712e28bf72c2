"""Prefix beam search: the most probable label sequences of CTC's outputs."""

import math
from typing import NamedTuple

import numpy as np

from numbarnn.kernels.compile import jit
from numbarnn.kernels.groups import Floats1, Floats2, Integers1, Integers2, Tokens3
from numbarnn.kernels.scalar import inlined

NOTHING = -1


@inlined
def log_add(a, b):
    """Return log(exp(a) + exp(b)), also of -inf."""
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + math.log1p(math.exp(low - high))


@inlined
def _enter(entry, label, blank, rest, whole, froms, labels, blanks, rests, wholes, entered, width):
    """Enter a candidate among the `width` best; return their number. Of equals the one that came first stays."""
    if whole == -np.inf:
        return entered
    slot = entered
    if entered == width:
        slot = 0
        for j in range(1, width):
            if wholes[j] <= wholes[slot]:
                slot = j
        if not whole > wholes[slot]:
            return entered
    froms[slot], labels[slot], blanks[slot], rests[slot], wholes[slot] = entry, label, blank, rest, whole
    return min(entered + 1, width)


@inlined
def _child(tree, node, label, nodes):
    """Return the node of a label sequence with one label more, and the number of nodes, one more where it was not there."""
    child = tree[2, node]
    while child != NOTHING:
        if tree[1, child] == label:
            return child, nodes
        child = tree[3, child]
    tree[0, nodes], tree[1, nodes], tree[2, nodes], tree[3, nodes] = node, label, NOTHING, tree[2, node]
    tree[2, node] = nodes
    return nodes, nodes + 1


class Beam(NamedTuple):
    """Scratch of one thread.

    Attributes
    ----------
    tree : (4, steps * width + 1) parent, last label, first child and next sibling of a node
    entries : (4, width)
    sums : (5, width)
    marks : (classes,)
    """

    tree: Integers2
    entries: Integers2
    sums: Floats2
    marks: Integers1


class Found(NamedTuple):
    """The sequences found.

    Attributes
    ----------
    labels : (samples, best, steps)
    counts : (samples, best) labels of a sequence, -1 where there is none
    scores : (samples, best) log probabilities
    """

    labels: Tokens3
    counts: Integers2
    scores: Floats2


@jit
def beam_search(
    logs: Floats1, steps_of_all: int, classes: int, lengths: Integers1, blank: int, width: int, best: int, beam: Beam,
    found: Found, first: int, last: int,
):  # fmt: skip
    """Set the `best` label sequences of each sample, found among the `width` most probable prefixes of every step.

    A prefix has two probabilities, of all alignments that end in a blank and of those that end in its last label (Hannun et al.
    2014, algorithm 1). Prefixes are nodes of a tree, so that a sequence that was dropped and comes again is the same node.

    logs : log softmax, float64: step t of sample n at ``(n * steps_of_all + t) * classes``
    """
    tree, entries, sums, marks = beam
    labels, counts, scores = found
    node, froms, added, fresh = entries[0], entries[1], entries[2], entries[3]
    ends_blank, ends_label, blanks, rests, wholes = sums[0], sums[1], sums[2], sums[3], sums[4]
    mark = 0
    for c in range(classes):
        marks[c] = 0
    for n in range(first, last):
        tree[0, 0], tree[1, 0], tree[2, 0], tree[3, 0] = NOTHING, NOTHING, NOTHING, NOTHING
        nodes, size = 1, 1
        node[0], ends_blank[0], ends_label[0] = 0, 0.0, -np.inf
        for t in range(lengths[n]):
            row = (n * steps_of_all + t) * classes
            entered = 0
            for i in range(size):
                at = node[i]
                on_blank = log_add(ends_blank[i], ends_label[i]) + logs[row + blank]
                on_label = -np.inf
                if at != 0:
                    own = logs[row + tree[1, at]]
                    on_label = ends_label[i] + own
                    for j in range(size):
                        if node[j] == tree[0, at]:
                            same = tree[1, node[j]] == tree[1, at]
                            before = ends_blank[j] if same else log_add(ends_blank[j], ends_label[j])
                            on_label = log_add(on_label, before + own)
                whole = log_add(on_blank, on_label)
                entered = _enter(
                    i, NOTHING, on_blank, on_label, whole, froms, added, blanks, rests, wholes, entered, width
                )
            for i in range(size):
                mark += 1
                for j in range(size):
                    if node[j] != 0 and tree[0, node[j]] == node[i]:
                        marks[tree[1, node[j]]] = mark
                whole = log_add(ends_blank[i], ends_label[i])
                for c in range(classes):
                    if c != blank and marks[c] != mark:
                        before = ends_blank[i] if c == tree[1, node[i]] else whole
                        score = before + logs[row + c]
                        entered = _enter(
                            i, c, -np.inf, score, score, froms, added, blanks, rests, wholes, entered, width
                        )
            for j in range(entered):
                fresh[j] = node[froms[j]]
                if added[j] != NOTHING:
                    fresh[j], nodes = _child(tree, fresh[j], added[j], nodes)
            size = entered
            for j in range(size):
                node[j], ends_blank[j], ends_label[j] = fresh[j], blanks[j], rests[j]
        for slot in range(best):
            counts[n, slot], scores[n, slot] = NOTHING, -np.inf
            chosen = NOTHING
            for j in range(size):
                whole = log_add(ends_blank[j], ends_label[j])
                if whole > scores[n, slot]:
                    chosen, scores[n, slot] = j, whole
            if chosen == NOTHING:
                continue
            ends_blank[chosen], ends_label[chosen] = -np.inf, -np.inf
            count, at = 0, node[chosen]
            while at != 0:
                count, at = count + 1, tree[0, at]
            counts[n, slot], at = count, node[chosen]
            for k in range(count - 1, -1, -1):
                labels[n, slot, k], at = tree[1, at], tree[0, at]
