"""What computes: one backend for each device; `numbarnn.backends.device` chooses.

Layers, losses, networks, training steps and sampling are written once, against a backend. The backends have the same files,
functions and signatures (tests/test_backends.py compares them):

==============  ========================================================================================================
`batch`         `Call` (how a pass runs, and its memory), rows and geometry of a batch: `to_rows`, `as_rows`, `from_rows`, ...;
                `parameters`, `take_arena`, `lent_arena`, `upload_states`, `download_states`, `hold_states`, `to_host`, ...
layers          a module for each kind of layer, found by class name in `LAYERS`, with three functions:

                ``prepare(call, layer, params, prefix, signal, old=None)`` returns the weights as passes take them, and may use
                the memory of `old`, what it returned for earlier values;
                ``forward(call, layer, weights, x, layout, state, number)`` returns (output, its layout, final states, tape);
                ``backward(call, layer, weights, tape, dy, layout, dfinal, gradient, need_dx, number)`` writes the gradients of
                the parameters into the flat `gradient` and returns (gradient of x or None, of the initial states).

                `number` is the layer's index in the model, a key of dropout masks; `layout` that of the input.
`losses`        ``prepare(call, loss, size, target, layout, reduction, sample_weight)`` checks targets and weights, before
                `as_rows`: both go to a device together. It returns ``run(outputs)``, which returns (loss, gradient of the
                outputs, weight of all rows); `value_and_gradient` does both.
`optim`         `Updates`: what a training run keeps beside the parameters, and its optimizer steps; `LossSum`
`sampling`      `pack` the weights of a language model, `Streams` of tokens that are sampled from it
`segments`      AVAILABLE: whether passes can go by segments (`numbarnn.network.segments`); what gradients are carried in
==============  ========================================================================================================
"""
