"""Pure functions on arrays: no validation, no allocation of results, no Python objects but the cells' records.

Letters, one meaning everywhere:

===  =========================================================================
T    time steps
N    batch: samples
C    inputs: features of a step, or size of the vocabulary of tokens
H    hidden units
G    gates: pre-activations of a cell
S    states of a cell; state 0 is the one that recurs and is the output
K    values a cell saves for its backward step
U    diagonal weights of a cell
V    classes: columns of a dense layer
W    columns of one panel (`numbarnn.kernels.cpu.simd.panel_width`)
===  =========================================================================

Kernels are time-major. A matrix of activations has one row for every (t, n), row ``t * N + n``, and its columns are
padded to whole panels (`Cp`, `Hp`, `Vp`); what the padding holds is finite and never used. Samples are sorted by
falling length, so the samples still running at step t are the first ``active[t]``; rows past a sample's length are
zero and cost nothing.

Arrays of a recurrent layer, and who owns them:

===============  ==================  =================================================================================
states           (S, T + 1, N, Hp)   slot t holds the states before step t (forward) or after it (reverse); the output
                                     is state 0 of slots 1..T (forward) or 0..T-1 (reverse): output and tape in one;
                                     without a tape, two slots serve all steps and the outputs are written to rows
saved            (T or 1, K, N, Hp)  what the backward step needs; one slot, overwritten, without a tape
inner            (T or 1, N, Hp)     what a cell's second recurrent product sees
preactivations   (B, G, N, Hp)       pre-activations of the current step or of a block of B steps, scratch
dpreactivations  (T, G, N, Hp)       gradients of the pre-activations, read by the weight gradients
dstates          (S, N, Hp)          gradient of the final states on entry, of the initial states on exit
===============  ==================  =================================================================================

Threads share a batch by rows ``lo <= n < hi`` through the whole time loop, without a barrier per step, or the units of a wide
layer where samples are few, with one (`numbarnn.kernels.cpu.shared_units`); then each thread owns columns of the weight
gradients. No sum depends on the number of threads, so results are equal to the bit for any.
"""
