"""A network: layers, parameters, and the passes through them. `numbarnn.Model` adds training and files."""

import contextlib
import copy
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn import inputs, parallel
from numbarnn.backends.device import backend, host, passes_of
from numbarnn.checks import (
    COUNTED,
    brief,
    check_dtype,
    check_flag,
    check_integer,
    check_lengths,
    check_seed,
    naming,
    refuse_mask,
)
from numbarnn.core import seeds
from numbarnn.core.arrays import as_array
from numbarnn.core.html import Shown, html_table
from numbarnn.core.params import Params, ParamSpec
from numbarnn.core.ragged import length_groups
from numbarnn.data.ragged import as_ragged
from numbarnn.errors import ModelFileError, ShapeError
from numbarnn.layers.base import Layer
from numbarnn.layers.pool import Pool
from numbarnn.layers.recurrent import PROJECTION
from numbarnn.losses.base import Loss, loss_config, loss_from_config, make_loss
from numbarnn.network import answers, segments
from numbarnn.network.memory import Memory, checked_limit, memory, segment_length
from numbarnn.network.program import Plan, has_step, make_plan, without_step
from numbarnn.network.single import single_step, takes_single
from numbarnn.network.states import State, checked_states
from numbarnn.network.stream import Stream
from numbarnn.network.streams import Streams
from numbarnn.network.summary import HEADER, as_text, layer_rows
from numbarnn.network.wiring import check_parameter, checked_layers, names_of, signals_of
from numbarnn.words import Suggesting, no_attribute

# What predictions run at once: at most that many steps and values, so that a file of samples needs little memory, and at least
# that many samples, for threads to share.
MOST_STEPS, MOST_VALUES, LEAST_SAMPLES = 1 << 18, 1 << 23, 64


@dataclass(frozen=True)
class Gradients:
    """Gradients of a pullback: by parameter name, of the input (None for tokens), and of the initial states."""

    params: dict[str, np.ndarray]
    x: np.ndarray | None
    state: State


class Network(Suggesting):
    """Layers, their parameters, and the passes through them; documented as `numbarnn.Model`."""

    def __init__(
        self,
        layers: Sequence[Layer],
        input_size: int | None = None,
        dtype: Any = "float32",
        seed: int = 0,
        n_threads: int | None = None,
        device: str = "cpu",
    ):
        self._build(layers, input_size, dtype, seed, n_threads, device)
        self.params.initialize(seeds.generator(self.seed, "weights"))

    @classmethod
    def without_weights(cls, *options: Any, arrays: Mapping[str, np.ndarray] | None = None) -> "Network":
        """Return a network whose weights are yet to be set: none are drawn.

        Parameters
        ----------
        *options
            The arguments of the constructor, all of them.
        arrays : mapping of str to array, optional
            Parameters that are going to be set. Names, shapes and dtypes are compared before anything of their size is made.

        Raises
        ------
        ModelFileError
            If the arrays are not those of such a network.
        """
        network = object.__new__(cls)
        network._build(*options, arrays)
        return network

    def _build(self, layers, input_size, dtype, seed, n_threads, device, arrays=None):
        self.backend, self.device = backend(device), device
        self.layers = checked_layers(layers)
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        self.n_threads = parallel.check_threads(n_threads) if n_threads is not None else None
        self.input_size = input_size
        self.names = names_of(self.layers)
        self._passes = [(layer, passes_of(self.backend, layer)) for layer in self.layers]
        self.signals = signals_of(self.layers, input_size)
        specs, self._learning_below = [], []
        for name, layer, signal in zip(self.names, self.layers, self.signals, strict=False):
            self._learning_below.append(bool(specs))
            for spec in layer.specs(signal):
                specs.append(ParamSpec(f"{name}.{spec.name}", spec.shape, spec.init))
                if arrays is not None:
                    check_parameter(arrays, specs[-1], self.dtype)
        unknown = [] if arrays is None else sorted(set(arrays) - {spec.name for spec in specs})
        if unknown:
            raise ModelFileError(f"the file's parameters do not match its description: unknown {unknown[:12]}")
        self.params = Params(specs, self.dtype)
        self.recurrent_layers = [layer for layer in self.layers if layer.state_names]
        self._packed, self._costs = {}, {}
        self.device_params = self.backend.batch.parameters(self.params)
        self.loss: Loss | None = None
        self.metadata: dict[str, Any] = {}
        self._activation = "softmax"

    # Passes

    def forward(
        self, x: Any, state: State | None = None, lengths: Any = None, *, n_threads: int | None = None
    ) -> tuple[np.ndarray, State]:
        """Run a batch through the model.

        Parameters
        ----------
        x : array-like
            (samples, time steps, features) values, or (samples, time steps) integer tokens; of a model that begins with
            `EmbeddingBag`, (samples, time steps, bag).
        state : tuple, optional
            Initial states as another call returned them, or None for zeros: one entry a recurrent layer, each a tuple
            of arrays (num_layers * directions, samples, hidden_size) in the order of the cell's states (LSTM: h, c),
            as in torch.
        lengths : (samples,) integers, optional
            Valid steps of each sample; 0 is legal. Outputs past them are zero, final states are those of the last
            valid step, and the reverse direction starts there.
        n_threads : int, optional
            For this call instead of the model's.

        Returns
        -------
        outputs : (samples, time steps, features) array, or (samples, features) after ``return_sequences=False``
            Of a classifier, logits.
        state : tuple
            Final states, in the form of the argument.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value.

        Notes
        -----
        NaN in x spreads to the outputs that depend on it.
        """
        backend = self.backend.batch
        with backend.lent_arena() as arena:
            call = self._call(n_threads, arena=arena, direct=True, last=len(self.layers) - 1)
            rows, layout = backend.to_rows(call, x, self.signals[0], lengths)
            start = self._start(state, layout.samples)
            out, out_layout, final, _ = self._forward(call, self._weights(call), rows, layout, start)
            outputs = self._outputs(call, out, out_layout)
            return outputs, backend.download_states(self.recurrent_layers, final, layout.samples)

    def __call__(self, x, state: State | None = None, lengths=None, *, n_threads: int | None = None):
        """Run a batch through the model: `forward` by the name that torch and Keras call models by."""
        return self.forward(x, state, lengths, n_threads=n_threads)

    def predict_proba(
        self, x: Any, state: State | None = None, lengths: Any = None, *, loss: Any = None, n_threads: int | None = None
    ) -> Any:
        """Return probabilities: the softmax of the outputs, o_t = softmax(V s_t), or what the loss of training makes of them.

        After training with binary cross-entropy each output is the logit of a question of its own, and its probability
        s(y) = 1 / (1 + exp(-y)). A model that was not trained has the softmax.

        Parameters are those of `predict`.

        Returns
        -------
        array of the outputs' shape and dtype
            Zero past each length. Of a list of samples of different lengths a list, where there are outputs at every step.

        Raises
        ------
        ValueError
            If the model was trained with a regression loss (squared error and its kin): its outputs are not logits.
        ShapeError, TokenError, TypeError, ValueError
            As `forward`.
        """
        if self._meaning(loss) is None:
            known = make_loss(loss) if loss is not None else self.loss
            raise ValueError(
                f"predict_proba needs a model whose outputs are logits; this one was trained with the loss "
                f"{known.name if known else 'of values'}, and its outputs are values: use forward"
            )
        return self._answers(self.probabilities_of, x, state, lengths, loss, n_threads)

    def predict(
        self, x: Any, state: State | None = None, lengths: Any = None, *, loss: Any = None, n_threads: int | None = None
    ) -> Any:
        """Return predictions: classes, answers to questions of yes and no, or values, as the loss of training says.

        Parameters
        ----------
        x, state, lengths, n_threads
            As of `forward`. x may also be a list of samples of different lengths, arrays (time steps, features) or (time steps,);
            then `state` and `lengths` are left out.
        loss : str or Loss, optional
            What the outputs are trained for, of a model whose weights come from elsewhere; None: the loss of the last `fit`, which
            files contain.

        Returns
        -------
        array
            After training with a cross-entropy or CTC, and of a model that was not trained, the index of the largest output,
            int64 (samples, time steps), or (samples,) of a model with one output vector a sample; -1 past each length. (With
            CTC that is the best path, blanks and repetitions included: `numbarnn.decoding.best_path` removes them.) After
            binary cross-entropy 1 where the probability of an output is at least 1/2, else 0, int64 in the outputs' shape; -1
            past each length. After a regression loss the outputs themselves, zero past each length. Of a list of samples of
            different lengths a list of arrays, each as long as its sample, where there are outputs at every step.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            As `forward`; ValueError too if the model has a single output and no loss says what it is.

        Notes
        -----
        Outputs that are NaN (`forward` says when) give a class or an answer that means nothing.

        Examples
        --------
        >>> from numbarnn import LSTM, Dense, Model
        >>> model = Model([LSTM(32), Dense(3)], input_size=5)
        >>> model.predict(np.zeros((8, 20, 5))).shape
        (8, 20)
        """
        if self._meaning(loss) == "softmax" and self.signals[-1].size == 1:
            unknown = loss is None and self.loss is None
            raise ValueError(
                "loss must be given, for example loss='mse' or 'binary_cross_entropy': the model has one output, was not trained "
                "here, and of one class there is nothing to predict; forward returns the output itself"
                if unknown
                else "loss must be one of values or of yes and no, such as 'mse' or 'binary_cross_entropy', for a model with one "
                f"output, got {(make_loss(loss) if loss is not None else self.loss).name!r}; forward returns the output itself"
            )
        return self._answers(self.predictions_of, x, state, lengths, loss, n_threads)

    def _answers(self, answer, x, state, lengths, loss, n_threads):
        """Return what a function makes of the outputs for x, which may be a list of samples of different lengths."""
        samples, meaning = as_ragged(x), self._meaning(loss)
        if samples is None:
            parts = self._parts(x, lengths) if state is None else None
            if parts is None:
                outputs, _ = self.forward(x, state, lengths, n_threads=n_threads)
                return answer(outputs, lengths, meaning)
            found = None
            for rows, own in parts:
                values = answer(self.forward(x[rows], None, own, n_threads=n_threads)[0], own, meaning)
                found = np.empty((len(x), *values.shape[1:]), values.dtype) if found is None else found
                found[rows] = values
            return found
        for name, given in (("state", state), ("lengths", lengths)):
            if given is not None:
                raise ValueError(
                    f"{name} must be left out with a list of samples of different lengths, got {brief(given)}"
                )
        found = [None] * len(samples)
        for group in length_groups(samples.lengths):
            own = samples.lengths[group]
            outputs, _ = self.forward(samples.padded(group), lengths=own, n_threads=n_threads)
            for sample, length, values in zip(group, own, answer(outputs, own, meaning), strict=True):
                found[sample] = values[:length] if self.signals[-1].sequence else values
        return found if self.signals[-1].sequence else np.stack(found)

    def _parts(self, x, lengths):
        """Return (rows, their lengths) of parts of many samples, which may be a file; None of few samples, and of tokens."""
        if type(x) not in (np.ndarray, np.memmap) or x.ndim != 3 or x.shape[2] != self.signals[0].size:
            return None
        most = min(MOST_STEPS, MOST_VALUES // max(1, x.shape[2]))
        size = max(LEAST_SAMPLES, most // max(1, x.shape[1]))
        if self.signals[0].tokens or len(x) <= size:
            return None
        lengths = check_lengths(lengths, *x.shape[:2])
        rows = (slice(first, first + size) for first in range(0, len(x), size))
        return ((part, None if lengths is None else lengths[part]) for part in rows)

    def _meaning(self, loss):
        """Return what makes probabilities of the outputs under a loss; None stands for that of the last training."""
        return self.output_activation if loss is None else make_loss(loss).output_activation

    def _lengths(self, lengths):
        """Return the lengths of outputs; None of a model with one output vector a sample."""
        return lengths if self.signals[-1].sequence else None

    def probabilities_of(self, outputs: Any, lengths: Any = None, activation: str | None = "softmax") -> np.ndarray:
        """Return the probabilities of outputs, zero past each length."""
        return answers.probabilities(outputs, self._lengths(lengths), activation)

    def predictions_of(self, outputs: Any, lengths: Any = None, activation: str | None = "softmax") -> np.ndarray:
        """Return the predictions of outputs, -1 past each length; outputs that are values are returned as they are."""
        return answers.predictions(outputs, self._lengths(lengths), activation)

    if not TYPE_CHECKING:  # which would take any name

        def __getattr__(self, name):
            raise no_attribute(repr(type(self).__name__), name, dir(type(self)))

    @property
    def output_activation(self) -> str | None:
        """What makes probabilities of the outputs: "softmax" or "sigmoid"; None after a regression loss."""
        return self._activation if self.loss is None else self.loss.output_activation

    def step(self, x_t: Any, state: State | None = None) -> tuple[np.ndarray, State]:
        """Run one time step.

        Parameters
        ----------
        x_t : (samples, features) values, (samples,) or (samples, bag) integer tokens
        state : tuple, optional
            States after the step before, or None at the first step.

        Returns
        -------
        y_t : (samples, features) array
        state : tuple
            States after this step.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            As `forward`, and where a layer pools over all steps.
        """
        x_t = as_array(x_t, "x_t")
        one = self.signals[0].tokens and not self.signals[0].bag
        width = self.signals[0].bag or self.signals[0].size
        if x_t.ndim != (1 if one else 2) or not (one or x_t.shape[1] == width):
            expected = "(samples,) tokens" if one else f"(samples, {width})"
            raise ShapeError(f"x_t must have shape {expected}, got {x_t.shape}")
        if takes_single(self.signals[0], x_t) and has_step(self.layers):
            return single_step(self.step_plan(), x_t[0], self._states(state, 1))
        for layer in self.layers:
            if isinstance(layer, Pool):
                raise without_step(layer)
        with naming("x_t", "x"):
            outputs, state = self.forward(x_t[:, None], state)
        return (outputs[:, 0] if outputs.ndim == 3 else outputs), state

    def stream(self) -> Stream:
        """Return a `Stream`: a sequence that arrives step by step, with the state stored; it can learn from every step.

        Raises
        ------
        ValueError
            If a layer reads the sequence from its end.
        """
        return Stream(self)

    def streams(self, n: int, *, n_threads: int | None = None) -> Streams:
        """Return `Streams`: many sequences that arrive step by step, advanced together.

        Parameters
        ----------
        n : int
            Sequences that can be open at the same time; memory for their states is taken now.
        n_threads : int, optional
            Threads that a step may use; None: those of the model. Results do not depend on it.

        Returns
        -------
        Streams
            None is open yet.

        Raises
        ------
        ValueError
            If a layer reads the sequence from its end.

        Examples
        --------
        >>> import numpy as np
        >>> from numbarnn import LSTM, Dense, Model
        >>> streams = Model([LSTM(32), Dense(1)], input_size=16).streams(10_000)
        >>> rows = streams.open(2000)
        >>> streams.step(np.zeros((1000, 16)), rows[::2]).shape
        (1000, 1)
        """
        return Streams(self, n, n_threads)

    def loss_and_grad(
        self,
        x: Any,
        target: Any,
        loss: Any = "softmax_cross_entropy",
        lengths: Any = None,
        state: State | None = None,
        reduction: str = "mean",
        *,
        sample_weight: Any = None,
        memory_limit: int | str | None = None,
        n_threads: int | None = None,
    ) -> tuple[float | np.ndarray, dict[str, np.ndarray]]:
        """Return the loss of a batch and its gradient with respect to every parameter. Dropout does not act.

        Parameters
        ----------
        x, lengths, state, n_threads : as in `forward`
        target : array-like
            As the loss wants it.
        loss : str or Loss
            A name of `numbarnn.losses.LOSSES` or a loss.
        reduction : {"mean", "sum", "none"}
            Mean over the valid steps, or their sum; "none": the loss of every step by itself, times its weight, with the gradient
            of their sum.
        sample_weight : (samples,) or (samples, time steps) array, optional
            Weights; 0 masks.
        memory_limit : int or str, optional
            Bytes that activations may take, or a str such as "300 MB": the pass goes through the steps by segments and makes the
            tape of each again on the way back. Loss and gradients are equal to the bit. `memory` says what a pass needs.

        Returns
        -------
        loss : float
            Under "none" an array, (samples, time steps), or (samples,) of a model with one output a sample and of a loss of whole
            sequences; zero past each length. The loss of a segment stands at its first step.
        gradients : dict
            Arrays by parameter name, in the shapes of `params`.
        """
        loss, limit = make_loss(loss), checked_limit(self, memory_limit)
        backend = self.backend.batch
        gradient = backend.new_vector(self.params.size, self.dtype)
        with backend.lent_arena() as arena:
            call = self._call(n_threads, keep=True, arena=arena)
            array, layout = inputs.check(x, self.signals[0], lengths)
            start = self._start(state, layout.samples)
            value, _, _ = self.differentiate(
                call, array, layout, target, loss, start, gradient, reduction, sample_weight, limit
            )
            if reduction == "none":
                value = backend.by_sample(value, layout)
                value = value if self.signals[-1].sequence and not loss.per_sample else value[:, 0]
            else:
                value = backend.to_host(value)
            return value, self.params.views(backend.to_host(gradient))

    def vjp(
        self, x: Any, state: State | None = None, lengths: Any = None, *, n_threads: int | None = None
    ) -> tuple[np.ndarray, State, Any]:
        """Run a batch and return a function that back-propagates any gradient of its results.

        Parameters are those of `forward`.

        Returns
        -------
        outputs, state : as `forward`
        pullback : callable
            ``pullback(doutputs, dstate=None) -> Gradients``: vector-Jacobian products, with doutputs in the shape of
            the outputs and dstate in the form of the states (entries may be None).
        """
        backend = self.backend.batch
        call = self._call(n_threads, keep=True, arena=backend.take_arena())
        rows, layout = backend.to_rows(call, x, self.signals[0], lengths)
        start = self._start(state, layout.samples)
        # The tape outlives other calls, so it shares neither memory nor weights with them.
        weights = self._prepare(call, backend.parameters(self.params))
        out, out_layout, final, tape = self._forward(call, weights, rows, layout, start)
        outputs = self._outputs(call, out, out_layout)

        def pullback(doutputs, dstate=None) -> Gradients:
            doutputs = _check_doutputs(doutputs, outputs)
            dfinal = self._start(dstate, layout.samples)
            gradient = backend.new_vector(self.params.size, self.dtype)
            with backend.lent_arena() as arena:  # not the tape's, which would grow with every pullback
                own = replace(call, arena=arena)
                shape = out_layout.samples, out_layout.steps, out.size
                dy = backend.feature_rows(own, doutputs.reshape(shape), out_layout)
                dx, dstart = self._backward(own, weights, tape, dy, gradient, dfinal, need_dx=not rows.tokens)
                dx = None if rows.tokens else backend.from_rows(own, dx, layout)
                dstart = backend.download_states(self.recurrent_layers, dstart, layout.samples)
            return Gradients(self.params.views(backend.to_host(gradient)), dx, dstart)

        weakref.finalize(pullback, backend.give_arena, call.arena)
        return outputs, backend.download_states(self.recurrent_layers, final, layout.samples), pullback

    def differentiate(
        self,
        call: Any,
        array: Any,
        layout: Any,
        target: Any,
        loss: Any,
        state: Any,
        gradient: Any,
        reduction: Any = "mean",
        sample_weight: Any = None,
        memory_limit: int | None = None,
    ) -> Any:
        """Write the flat gradient of a checked batch (`numbarnn.inputs.check`), unless it is None; training's every step.

        Returns (loss, final states, weight of the rows).
        """
        length = None
        if memory_limit is not None:
            length = segment_length(self, layout, loss, memory_limit, gradient is not None, call.n_threads)
        if length is not None:
            given = call, array, layout, target, loss, state, gradient, reduction, sample_weight
            return segments.differentiate(self, *given, length)
        refuse_mask(target, "target")
        end = self.signals[-1]
        # All that a device needs of the host's goes there before the first launch: weights, targets, then the batch.
        with self.lent_weights(call) as weights:
            outputs_layout = layout if end.sequence else layout.last()
            run = self.backend.losses.prepare(call, loss, end.size, target, outputs_layout, reduction, sample_weight)
            rows, layout = self.backend.batch.as_rows(call, self.signals[0], array, layout)
            out, _, final, tape = self._forward(call, weights, rows, layout, state)
            value, doutputs, total = run(out)
            if gradient is not None:
                self._backward(call, weights, tape, doutputs, gradient)
            return value, final, total

    def evaluate_rows(
        self,
        call: Any,
        array: Any,
        layout: Any,
        target: Any,
        loss: Any,
        state: Any,
        sample_weight: Any = None,
        memory_limit: int | None = None,
    ) -> Any:
        """Return (mean loss, final states, weight of the rows) of a checked batch, without a gradient of the parameters."""
        given = call, array, layout, target, loss, state, None, "mean", sample_weight, memory_limit
        return self.differentiate(*given)

    def memory(
        self,
        samples: int,
        steps: int,
        *,
        training: bool = True,
        loss: Any = None,
        memory_limit: int | str | None = None,
    ) -> Memory:
        """Return how many bytes a pass through a batch needs; nothing is computed.

        Parameters
        ----------
        samples, steps : int
            Of the batch; of samples of different lengths the longest counts.
        training : bool
            Whether the pass is a step of training, or of `loss_and_grad`; else it is `forward`.
        loss : str or Loss, optional
            None: the loss of the last `fit`, or cross-entropy.
        memory_limit : int or str, optional
            As of `loss_and_grad`: what the pass needs under it.

        Returns
        -------
        Memory
            With the attributes `weights`, `gradient`, `activations` and `total`, ints of bytes, and `segments`; a str of it is
            made for people. The batch itself is not counted, nor are the arrays of the optimizer, one or two more of the
            gradient's size, nor what a loss of your own takes.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or value, the limit cannot be met, or the model is on a GPU.

        Examples
        --------
        >>> from numbarnn import LSTM, Dense, Model
        >>> model = Model([LSTM(128), Dense(4)], input_size=8)
        >>> needed = model.memory(samples=32, steps=1000)
        >>> model.memory(32, 1000, memory_limit=needed.activations // 10).segments > 10
        True
        """
        samples = check_integer(samples, "samples", 1, COUNTED)
        steps = check_integer(steps, "steps", 1, COUNTED)
        check_flag("memory", "training", training)
        loss = make_loss(loss if loss is not None else self.loss or "softmax_cross_entropy")
        return memory(self, samples, steps, bool(training), loss, checked_limit(self, memory_limit))

    def _call(self, n_threads=None, keep=False, **options):
        n_threads = self.n_threads if n_threads is None else n_threads
        return self.backend.batch.Call(self.dtype, parallel.check_threads(n_threads), keep=keep, **options)

    def _start(self, state, samples):
        """Check states and return them as passes take them."""
        return self.backend.batch.upload_states(self._states(state, samples))

    def _forward(self, call, weights, rows, layout, state, first=0, last=None):
        """Run rows through the layers [first, last), whose recurrent ones begin with `state`."""
        final, tape = [], []
        state = iter(state or ())
        for number, (layer, passes) in enumerate(self._passes[first:last], first):
            start = next(state, None) if layer.state_names else None
            before = layout
            rows, layout, end, saved = passes.forward(call, layer, weights[number], rows, layout, start, number)
            if layer.state_names:
                final.append(end)
            tape.append((saved, before))
        return rows, layout, tuple(final), tape

    def _backward(self, call, weights, tape, dy, gradient, dfinal=None, need_dx=False, first=0):
        """Go back through the layers from `first` on that a tape is of."""
        dfinal, dstart = list(dfinal or ()), []
        for number in reversed(range(first, first + len(tape))):
            (layer, passes), (saved, layout) = self._passes[number], tape[number - first]
            ends = dfinal.pop() if layer.state_names and dfinal else None
            wanted = need_dx or self._learning_below[number]
            dy, start = passes.backward(call, layer, weights[number], saved, dy, layout, ends, gradient, wanted, number)
            if layer.state_names:
                dstart.append(start)
        return dy, tuple(reversed(dstart))

    def _weights(self, call):
        """Return every layer's packed weights, packed again where the parameters have changed since: for inference."""
        version = self.params.version
        known, weights = self._packed.get("forward", (None, None))
        if known != version:
            # Into memory of their own: other threads may still read what was packed before.
            weights = self._prepare(call, self.device_params)
            self._packed["forward"] = version, weights
        return weights

    @contextlib.contextmanager
    def lent_weights(self, call: Any) -> Iterator[list[Any]]:
        """Lend every layer's packed weights for a pass, packed again where the parameters have changed since.

        Training packs at every step, into the same memory, which a pass has for itself: of threads that train together each has
        its own (a pop is atomic). Where a pass fails, its memory is not used again.
        """
        if not call.keep:
            yield self._weights(call)
            return
        version, idle = self.params.version, self._packed.setdefault("backward", [])
        try:
            known, weights = idle.pop()
        except IndexError:
            known, weights = None, None
        if known != version:
            weights = self._prepare(call, self.device_params, weights)
        yield weights
        idle.append((version, weights))

    def step_plan(self) -> Plan:
        """Return the weights as single steps read them; `numbarnn.step_function` and streams share them."""
        version = self.params.version
        known, plan = self._packed.get("step", (None, None))
        if known != version:
            call = host().batch.Call(self.dtype, parallel.check_threads(self.n_threads))
            weights = [weights for _, weights in self.host_passes(call)]
            plan = make_plan(self.layers, self.signals, weights, self.dtype)
            self._packed["step"] = version, plan
        return plan

    def host_passes(self, call: Any) -> list[Any]:
        """Return (passes, weights) of every layer for work on the host, whatever the device: single steps, diagnostics."""
        passes = [(layer, passes_of(host(), layer)) for layer in self.layers]
        weights = self._prepare(call, self.params, passes=passes)
        return [(own, packed) for (_, own), packed in zip(passes, weights, strict=True)]

    def _prepare(self, call, params, old=None, passes=None):
        old = old or [None] * len(self.layers)
        described = zip(passes or self._passes, self.names, self.signals, old, strict=False)
        return [own.prepare(call, layer, params, f"{name}.", signal, o) for (layer, own), name, signal, o in described]

    def _outputs(self, call, rows, layout):
        values = self.backend.batch.from_rows(call, rows, layout)
        return values if self.signals[-1].sequence else values[:, 0]

    # States

    def initial_state(self, samples: int) -> State:
        """Return zero states for a batch."""
        samples = check_integer(samples, "samples", 1, COUNTED)
        return tuple(
            tuple(np.zeros(layer.state_shape(samples), self.dtype) for _ in layer.state_names)
            for layer in self.recurrent_layers
        )

    def check_state(self, state: State | None, samples: int = 1) -> State | None:
        """Return a state in the model's dtype; raise ShapeError or TypeError if its shape or dtype is wrong. None stays None."""
        return self._states(state, samples)

    def _states(self, state, samples):
        """Check states and return them in the model's dtype; None stays None, and inside stands for zeros."""
        return None if state is None else checked_states(state, self.recurrent_layers, samples, self.dtype)

    # Parameters

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters by name, in torch's names and shapes within each layer."""
        return {name: values.copy() for name, values in self.params.items()}

    def load_state_dict(self, values: Mapping[str, Any]) -> "Network":
        """Set all parameters from a mapping of names to arrays, and return the model.

        The names are those of `params`; where one layer alone has parameters, its name may be left out. From torch:
        ``model.load_state_dict({k: v.numpy() for k, v in net.state_dict().items()})``, with the layers' `name`
        options set to the names of the torch modules.

        Raises
        ------
        KeyError, ShapeError, ValueError
            If a name is missing or unknown, a shape differs or a value is not finite; nothing is changed then.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"values must be a mapping of names to arrays, got {brief(values)}")
        values = dict(values)
        prefixes = {name.partition(".")[0] for name in self.params}
        if len(prefixes) == 1 and values and not any("." in name for name in values):
            (prefix,) = prefixes
            values = {f"{prefix}.{name}": array for name, array in values.items()}
        for name in values:
            if name not in self.params and re.search(r"(^|\.)weight_hr_l\d", name):
                raise KeyError(f"{name} is of an LSTM with proj_size, which must be left out: {PROJECTION}")
        self.params.load(values)
        return self

    def set_flat(self, values: np.ndarray) -> None:
        """Set all parameters from a flat array in the order of `params`.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If it does not have a finite value for every parameter; nothing is changed then.
        """
        self.params.set_flat(values)

    def __reduce__(self):
        # Neither may be copied as it is: packed weights hold addresses of this process, and the views of the parameters would
        # become arrays of their own, which training does not change.
        options = self.layers, self.input_size, self.dtype, self.seed, self.n_threads, self.device
        # The loss by its name: its class may be one that cannot be pickled.
        about = loss_config(self.loss), self.output_activation, self.metadata
        return _revived, (type(self), options, self.params.flat, *about)

    def copy(self) -> "Network":
        """Return a model with the same layers and a copy of the parameters."""
        model = _revived(*self.__reduce__()[1])
        model.loss = self.loss
        return model

    def summary(self) -> str:
        """Return a table of the layers, their outputs and parameter counts; a prompt shows it as a table too."""
        return Shown(as_text(layer_rows(self)))

    def _repr_html_(self) -> str:
        about = f"{self.dtype.name}, device {self.device}, " + (
            f"trained with {self.loss.name}" if self.loss else "no loss known"
        )
        return html_table(type(self).__name__, HEADER, layer_rows(self), about)

    def __repr__(self) -> str:
        tokens, dtype = self.signals[0].tokens, self.dtype.name
        options = [
            "" if tokens else f", input_size={self.signals[0].size}",
            f", dtype={dtype!r}" * (dtype != "float32"),
        ]
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}]{''.join(options)})"


def _check_doutputs(doutputs, outputs):
    """Return gradients of outputs as an array; raise ShapeError unless they have their shape, TypeError unless they are numeric."""
    doutputs = np.asarray(doutputs)
    if doutputs.dtype.kind not in "fiub":
        raise TypeError(f"doutputs must be a numeric array, got dtype {doutputs.dtype}")
    if doutputs.shape != outputs.shape:
        raise ShapeError(f"doutputs must have the outputs' shape {outputs.shape}, got {doutputs.shape}")
    return doutputs


def _revived(kind, options, flat, loss=None, activation="softmax", metadata=None):
    """Return a copied or unpickled model; one that was pickled before models stored their loss has none."""
    model = kind.without_weights(*options)
    with model.params.writing() as values:  # which may be NaN
        values[...] = flat
    model.loss, model._activation = loss_from_config(loss), activation
    model.metadata = copy.deepcopy(metadata or {})
    return model
