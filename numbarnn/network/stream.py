"""One sequence that arrives step by step."""

from typing import Any

import numpy as np
from numpy import ndarray

from numbarnn.checks import brief, check_output, check_tokens, to_array
from numbarnn.errors import ShapeError, TokenError
from numbarnn.kernels.cpu.step import step
from numbarnn.network.online import WindowLearner, check_same, checked_settings
from numbarnn.network.sensitivities import ExactLearner


class Stream:
    """A model that reads one sequence step by step, and the state it is in; made by `numbarnn.Model.stream`.

    The outputs are those of `Model.forward` on the whole sequence, to the bit. After ``return_sequences=False`` the
    output of a step is that of the sequence up to there. Dropout does not act.

    A step allocates nothing but a few Python objects, takes one thread, and lets others run. Threads need a stream each;
    the streams of a model share its packed weights. Changed parameters count from the next step on. `learn` changes them.

    Attributes
    ----------
    model : Model

    Examples
    --------
    >>> import numbarnn as nr
    >>> model = nr.Model([nr.GRU(4), nr.Dense(2)], input_size=3)
    >>> x = np.ones((10, 3), np.float32)
    >>> stream = model.stream()
    >>> for x_t in x:
    ...     y_t = stream.step(x_t)
    >>> np.array_equal(y_t, model.forward(x[None])[0][0, -1])
    True
    """

    def __init__(self, model: Any):
        self.model = model
        self._params, self._dtype = model.params, model.dtype
        plan = model.step_plan()
        self._state = plan.new_state()
        self._x = plan.new_input()
        self._y = np.zeros(plan.outputs, model.dtype)
        self._shape = None if plan.tokens else self._x.shape
        self._enter = plan.enter
        self._learner = None
        self._refresh()

    @property
    def _plan(self):
        return self._now[3][0]

    def _refresh(self):
        """Take the weights of the parameters as they are now."""
        version, plan = self._params.version, self.model.step_plan()
        plan, handle = self._learner.own(plan) if self._learner else (plan, plan.handle(self._state))
        # One object, so that a step in another thread reads weights and state of one version.
        self._now = version, plan.weights.cells, handle.ctypes.data, (plan, handle)
        return self._now

    def step(self, x_t: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Run one time step.

        Parameters
        ----------
        x_t : (features,) values, an integer token, or (bag,) integer tokens of a model that begins with `EmbeddingBag`
            A NumPy array of the model's dtype is read as it is, all else is converted. One feature may be a scalar.
        out : (outputs,) array of a floating-point dtype, optional
            Receives the output.

        Returns
        -------
        (outputs,) array
            `out`, or else an array of the stream's own which the next step overwrites: copy what you need later.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value; the state is as before then.
        """
        if out is not None:
            check_output(out, self._y.shape, self._dtype)
        now = self._now
        if now[0] != self._params.version:
            now = self._refresh()
        if x_t.__class__ is not ndarray or x_t.dtype is not self._dtype or x_t.shape != self._shape:
            x_t = self._converted(x_t)
        self._enter(now[1], now[2], x_t, self._y)
        if out is None:
            return self._y
        out[...] = self._y
        return out

    def learn(
        self,
        x_t: Any,
        y_t: Any,
        *,
        loss: Any = None,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        window: int | None = None,
    ) -> float:
        """Run one time step, and do an optimizer step for the loss of its output: online learning.

        The parameters of the model change in place; its other streams take them from their next step on.

        Parameters
        ----------
        x_t : as of `step`
            Values must be finite where there is a target.
        y_t : (targets,) values, an integer class, (classes,) probabilities, or None
            The target, as the loss wants that of one step; one value may be a scalar. None, or a class that the loss ignores: the
            state moves on, nothing is learned, and the loss is 0.
        loss : str or Loss, optional
            A loss of single steps. None: that of the last `fit`, which files contain. It becomes the model's.
        optimizer : str or Optimizer
            Its moments are kept by the stream.
        learning_rate : float, optional
            Of this step, so that a schedule may be the caller's; None: the optimizer's own.
        window : int, optional
            Steps through which the gradient goes back; None: all, exactly. See Notes.

        Returns
        -------
        float
            Loss of the step, before the update. Its output is `outputs`, its gradient `gradients`.

        Raises
        ------
        DivergedError
            If loss, gradient or new weights are not finite. The weights are those before, the state is that after the step.
        ShapeError, TokenError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value, or window=None is not exact for the model; state and weights are as
            before then. `loss`, `optimizer` and `window` must be those of the first call.

        Notes
        -----
        Losses are sums, not means: the weight of a class counts. Dropout does not act.

        **window=None** is real-time recurrent learning [1]_: the derivatives of the states by the weights are carried forward, so
        that no step is stored, and with fixed weights the gradients of all steps add up to that of `Model.loss_and_grad` over the
        whole sequence with ``reduction="sum"``. While weights change, the derivatives are those along the weights of every step
        before, as always in this method. It is for one recurrent layer (one level) without a recurrent product (`IndRNN`, `MinGRU`,
        `MinLSTM`, cells of your own), where a unit depends on its own weights alone [2]_ [3]_, so the memory is that of the
        weights. Nothing with weights may lie below it, `Dense` and `Activation` above.

        **window=k** is truncated back-propagation, BPTT(k; 1) of [4]_, of any model that streams: the gradient of the newest loss
        through the last k steps, *computed again with the present weights* from the state stored before them, which counts as a
        constant. It is that of `Model.loss_and_grad` for these steps, that state, and the newest target alone. State and outputs
        stay those of `step`. A call takes a pass forward and backward over k steps, and stores k inputs and states.

        `step` on a stream that learns moves on as `learn` without a target does. `reset` and `restore` begin at a state on which
        weights have no influence; the optimizer stays. Copies and pickles of the stream go on as it would. While a stream learns,
        no other thread may use the model.

        References
        ----------
        .. [1] R. J. Williams, D. Zipser, "A learning algorithm for continually running fully recurrent neural networks", Neural
           Computation 1 (1989).
        .. [2] M. C. Mozer, "A focused backpropagation algorithm for temporal pattern recognition", Complex Systems 3 (1989).
        .. [3] K. Irie, A. Gopalakrishnan, J. Schmidhuber, "Exploring the promise and limits of real-time recurrent learning", ICLR
           2024. N. Zucchet et al., "Online learning of long-range dependencies", NeurIPS 2023.
        .. [4] R. J. Williams, J. Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
           trajectories", Neural Computation 2 (1990).

        Examples
        --------
        >>> import numpy as np
        >>> import numbarnn as nr
        >>> model = nr.Model([nr.MinGRU(8), nr.Dense(1)], input_size=1, dtype="float64")
        >>> stream, x = model.stream(), np.sin(np.arange(2000) / 5)
        >>> losses = [stream.learn(x[t], x[t + 1], loss="mse", learning_rate=0.01) for t in range(1999)]
        >>> bool(np.mean(losses[-100:]) < 0.1 * np.mean(losses[:100]))
        True
        """
        learner = self._learner
        if learner is None or not (
            learner.given[0] is loss and learner.given[1] is optimizer and learner.given[2] is window
        ):
            learner = self._learner_for(loss, optimizer, window)
        return learner.learn(x_t, y_t, learning_rate)

    def _learner_for(self, *given):
        """Return the learner of some arguments, which begins to learn if none has yet."""
        settings = checked_settings(self.model, *given)
        if self._learner is None:
            self._begin_learning(settings)
        check_same(self._learner.settings, settings)
        self._learner.given = given
        return self._learner

    def _begin_learning(self, settings):
        learner = (ExactLearner if settings.window is None else WindowLearner)(self, settings)
        self._learner, self._enter = learner, learner.enter
        self._refresh()

    @property
    def outputs(self) -> np.ndarray:
        """Output (outputs,) of the newest step, zeros before the first; the next step overwrites it."""
        return self._y

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Gradient of the newest loss that `learn` returned, before the optimizer saw it: copies, by parameter name.

        Raises
        ------
        ValueError
            If nothing was learned.
        """
        if self._learner is None or not self._learner.steps:
            raise ValueError("gradients are those of learn; call it first, with a target")
        return self._params.views(self._learner.gradient.copy())

    def _converted(self, x_t):
        if not self._plan.tokens:
            return self._features(x_t)
        return self._bag(x_t) if self._plan.bag else self._token(x_t)

    def _features(self, x_t):
        array = to_array(x_t, "x_t")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"x_t must be numeric, got dtype {array.dtype}")
        if array.shape != self._x.shape and not (array.ndim == 0 and self._x.size == 1):
            hint = "; take x_t[0]: a stream reads one sample" if array.shape == (1, *self._x.shape) else ""
            raise ShapeError(f"x_t must have shape {self._x.shape}, one value per feature, got {array.shape}{hint}")
        self._x[...] = array
        return self._x

    def _bag(self, x_t):
        array = np.array(
            to_array(x_t, "x_t")
        )  # a copy: compiled code trusts it, and another thread may refill the caller's
        if array.dtype.kind not in "iu":
            raise TypeError(f"x_t must be integer tokens, got dtype {array.dtype}")
        if array.shape != self._x.shape:
            hint = "; take x_t[0]: a stream reads one sample" if array.shape == (1, *self._x.shape) else ""
            raise ShapeError(f"x_t must have shape {self._x.shape}, the tokens of a bag, got {array.shape}{hint}")
        check_tokens(array, self._plan.inputs, "x_t", least=-1)
        self._x[...] = array
        return self._x

    def _token(self, x_t):
        array = to_array(x_t, "x_t")
        if array.dtype.kind not in "iu":
            raise TypeError(f"x_t must be an integer token, got {brief(x_t)}")
        if array.ndim != 0:
            hint = "; take x_t[0]: a stream reads one sample" if array.shape == (1,) else ""
            raise ShapeError(f"x_t must be one token, got an array of shape {array.shape}{hint}")
        token = int(array)
        if not 0 <= token < self._plan.inputs:
            raise TokenError(
                f"x_t is {token}; the vocabulary has {self._plan.inputs} tokens, 0 to {self._plan.inputs - 1}"
            )
        return token

    def snapshot(self) -> tuple[Any, ...]:
        """Return a copy of the state, in the form that `Model.forward` takes and returns for one sample.

        Of a step that may turn out to be rejected, as those of an adaptive solver, take a snapshot before, and `restore` it then.
        """
        return self._plan.read(self._state)

    def restore(self, state: Any) -> None:
        """Go on from a state: a `snapshot`, or what `Model.forward` returned for one sample; None is the beginning.

        Raises
        ------
        ShapeError, TypeError
            If the state does not have the shapes of the model's.
        """
        self._plan.write(self._state, self.model.check_state(state))
        if self._learner:
            self._learner.restart()

    def reset(self) -> None:
        """Go back to the beginning: all states zero."""
        self.restore(None)

    def __reduce__(self):
        # A step reads at addresses, which a copy must not share and another process cannot.
        learned = self._learner and (self._learner.settings, self._learner.dump())
        return _revived, (self.model, self.snapshot(), learned)

    def __repr__(self) -> str:
        return f"{self.model!r}.stream()"


def _revived(model, state, learned=None):
    """Return a copied or unpickled stream."""
    stream = Stream(model)
    stream.restore(state)
    if learned:
        settings, dumped = learned
        stream._begin_learning(settings)
        stream._learner.take(*dumped)
    return stream


def step_function(model: Any, state: Any = None) -> Any:
    """Return (step, weights, state) that run one time step of a model inside compiled code of your own.

    Parameters
    ----------
    model : Model
        Of recurrent layers in one direction, `Dense`, `Activation`, `Embedding`, `EmbeddingBag`, `OneHot`, `Dropout`.
    state : tuple, optional
        State to begin with, in the form of `Model.forward` for one sample; None: zeros.

    Returns
    -------
    step : function compiled by Numba
        ``step(weights, x, state, y)`` reads the input x, an array (features,), an integer token, or an array (bag,) of
        integer tokens, and the state, and writes the state after the step and the output y, an array (outputs,). It allocates
        nothing, and is equal to `Model.forward` to the bit. It is `numbarnn.step`, the same function for all models.
    weights : StepWeights
        A NamedTuple of arrays, read only: any number of threads may share it. It holds a copy of the parameters.
    state : (size,) array
        The state, and scratch memory. A thread needs its own: ``np.tile(state, (n, 1))`` are n of them.

    Notes
    -----
    Let your function see `step` as a global (``from numbarnn import step``) and hand `weights` and `state` over as arguments; then
    Numba can cache your function on disk. It is compiled again after an upgrade of this package, since the type of `weights`
    names its sources. Hand over what this function returns anew when the parameters have changed.

    A solver that tries steps and rejects some must not let the net remember what was only tried: give `step` a copy,
    ``trial = state.copy()``, and copy it back (``state[:] = trial``) where the step is accepted.

    The processor's mode for denormal numbers is as before after a step; see `numbarnn.kernels.cpu.denormals`.

    Raises
    ------
    ValueError, TypeError, ShapeError
        If a layer cannot be run step by step, or the state has the wrong shape or dtype.

    Examples
    --------
    In a file, write ``@numba.njit(cache=True)``.

    >>> import numba
    >>> import numbarnn as nr
    >>> from numbarnn import step
    >>> @numba.njit
    ... def simulate(weights, x, state, y):
    ...     for t in range(len(x)):
    ...         step(weights, x[t], state, y[t])
    >>> model = nr.Model([nr.GRU(4), nr.Dense(2)], input_size=3)
    >>> _, weights, state = nr.step_function(model)
    >>> x, y = np.ones((10, 3), np.float32), np.zeros((10, 2), np.float32)
    >>> simulate(weights, x, state, y)
    >>> np.array_equal(y, model.forward(x[None])[0][0])
    True
    """
    if not hasattr(model, "step_plan"):
        raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")
    plan = model.step_plan()
    array = plan.new_state()
    plan.write(array, model.check_state(state))
    return step, plan.weights, array
