"""A recurrent net as machine code: the library beside this file, called by ctypes, on arrays of NumPy.

`load` returns the net. Neither it nor anything else here needs a compiler, or the package that the net was trained with.
"""

import ctypes
import functools
import json
import operator
import os

import numpy as np

__all__ = ["Net", "load"]

NAME = "model"
ABI = 1
SIZE = 0  # bytes of the library

# What the library's functions return, where it is not 0.
_ERRORS = {
    1: "an argument is missing or negative",
    2: "a token is outside the vocabulary",
    3: "a length is negative or more than there are steps",
    4: "an option of sampling is outside its range",
    5: "the library has no code for this processor, or its outputs here are not those of the model",
}


@functools.cache
def load():
    """Return the net, after a check that this processor computes what it did where it was made.

    Returns
    -------
    Net
        The same object at every call.

    Raises
    ------
    RuntimeError
        If the library cannot be loaded here, is of another version than this file, or fails its check.
    """
    return Net(os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{NAME}.so"))


class Net:
    """A net; made by `load`. It has no state between calls, and any number of threads may share it.

    Attributes
    ----------
    inputs : int
        Features of a step; of a net that reads tokens, the size of its vocabulary.
    outputs : int
        Values of an output.
    tokens : bool
        Whether it reads tokens.
    bag : int
        Tokens of a step, where they have an axis of their own; else 0.
    sequence : bool
        Whether there is an output for every step, or one for a sample.
    activation : {"softmax", "sigmoid"} or None
        What makes probabilities of the outputs; None: they are values.
    dtype : numpy.dtype
        Of values.
    state_size : int
        Values of the state of one sample: what they mean is the library's affair.
    """

    def __init__(self, path):
        try:
            size = os.stat(path).st_size
            if size != SIZE:  # which the system would find when it is too late
                raise OSError(f"it is damaged: it has {size} bytes, not {SIZE}")
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise RuntimeError(
                f"{NAME}.so cannot be loaded; it is made for Linux and one kind of processor: {error}"
            ) from None
        if self._function("abi", ctypes.c_int)() != ABI:
            raise RuntimeError(f"{NAME}.so is of another version than this module: freeze the model again")
        about = json.loads(self._function("about", ctypes.c_char_p)())
        self.inputs, self.outputs, self.tokens, self.bag = (
            about[key] for key in ("inputs", "outputs", "tokens", "bag")
        )
        self.sequence, self.activation, self.dtype = about["sequence"], about["activation"], np.dtype(about["dtype"])
        self.state_size = self._function("state_bytes", ctypes.c_size_t)() // self.dtype.itemsize
        word, address = ctypes.c_int64, ctypes.c_void_p
        self._workspace_bytes = self._function("workspace_bytes", ctypes.c_size_t, word, word)
        self._forward = self._function("forward", ctypes.c_int, address, word, word, *[address] * 5)
        one = word if self.tokens and not self.bag else address
        self._step = self._function("step", ctypes.c_int, one, address, address) if about["step"] else None
        self._probabilities = self._sample = None
        if self.activation is not None:
            self._probabilities = self._function("probabilities", ctypes.c_int, address, word, address)
        if about["sample"]:
            options = ctypes.c_uint64, ctypes.c_double, word, ctypes.c_double
            self._sample = self._function("sample", ctypes.c_int, *options, address, word, address, word, address)
        self._shape = (self.bag,) if self.bag else () if self.tokens else (self.inputs,)
        work = self._scratch(1, 8)
        lower = "freeze the model with a lower level (levels=['x86-64-v2']), or to C source"
        if self._forward(None, 0, 0, None, None, None, None, _address(work)):
            raise RuntimeError(f"{NAME}.so has no code for this processor: {lower}")
        if self._function("check", ctypes.c_int, address)(_address(work)):
            raise RuntimeError(f"{NAME}.so does not compute here what it did where it was made: {lower}")

    def step(self, x_t, state=None):
        """Run one time step of one sample.

        Parameters
        ----------
        x_t : (features,) values, an integer token, or (bag,) integer tokens
        state : (state_size,) array, optional
            As the step before returned it; None: the beginning.

        Returns
        -------
        y_t : (outputs,) array
        state : (state_size,) array
            After the step; the one that was given is as before.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong shape, dtype or value, or the net needs a whole sequence for an output.
        """
        if self._step is None:
            raise TypeError("this net has no step: it needs the whole sequence; use forward")
        if self.tokens and not self.bag:
            try:
                given = operator.index(x_t)
            except TypeError:
                raise TypeError(f"x_t must be an integer token, got {x_t!r}") from None
            if not 0 <= given < self.inputs:
                raise ValueError(f"x_t is {given}; the vocabulary has {self.inputs} tokens, 0 to {self.inputs - 1}")
        else:
            x_t = self._input(x_t, "x_t", ())
            given = _address(x_t)
        state = self._copied(state)
        y = np.empty(self.outputs, self.dtype)
        self._raise(self._step(given, _address(state), _address(y)))
        return y, state

    def forward(self, x, state=None, lengths=None):
        """Run a batch.

        Parameters
        ----------
        x : (samples, time steps, features) values, or (samples, time steps) or (samples, time steps, bag) integer tokens
        state : (samples, state_size) array, optional
            As another call returned it; None: the beginning.
        lengths : (samples,) integers, optional
            Valid steps of each sample; None: all.

        Returns
        -------
        y : (samples, time steps, outputs) array, or (samples, outputs)
            Zero past a length.
        state : (samples, state_size) array
            After the last valid steps.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong shape, dtype or value.
        """
        x = self._input(x, "x", ("samples", "time steps"))
        samples, steps = x.shape[:2]
        if state is not None:
            state = self._state(state, (samples, self.state_size))
        if lengths is not None:
            lengths = self._lengths(lengths, samples, steps)
        y = np.empty((samples, steps, self.outputs) if self.sequence else (samples, self.outputs), self.dtype)
        after, work = np.empty((samples, self.state_size), self.dtype), self._scratch(samples, steps)
        given = (lengths, state, after, y, work)
        self._raise(self._forward(_address(x), samples, steps, *(None if a is None else _address(a) for a in given)))
        return y, after

    def predict_proba(self, x, state=None, lengths=None):
        """Return probabilities of the outputs of `forward`, in their shape; zero past a length.

        Raises
        ------
        TypeError, ValueError
            As `forward`; TypeError too if the net's outputs are values.
        """
        if self._probabilities is None:
            raise TypeError("the outputs of this net are values, not the logits of probabilities; use forward")
        y, _ = self.forward(x, state, lengths)
        self._raise(self._probabilities(_address(y), y.size // self.outputs, _address(y)))
        if lengths is not None and self.sequence:
            y[np.arange(y.shape[1]) >= np.asarray(lengths)[:, None]] = 0
        return y

    def sample(self, prime, n, *, temperature=1.0, top_k=0, top_p=1.0, seed=0, state=None):
        """Let the net read its own samples.

        Parameters
        ----------
        prime : (tokens,) integers
            What precedes the sample; none: go on from a state.
        n : int
            Number of tokens.
        temperature : float
            Divides the logits; 0 takes the likeliest token.
        top_k, top_p : int, float
            Only the k likeliest tokens, and the fewest that have probability p; 0 and 1.0: all.
        seed : int
        state : (state_size,) array, optional

        Returns
        -------
        tokens : (n,) int64 array
        state : (state_size,) array
            With which the next call goes on.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong shape, dtype or value, or the net does not read its own outputs.
        """
        if self._sample is None:
            raise TypeError(
                "this net does not sample: it must read tokens, and have a logit for each of them at every step"
            )
        prime = np.asarray(prime)
        if prime.ndim != 1 or (prime.size and prime.dtype.kind not in "iu"):
            raise ValueError(
                f"prime must be (tokens,) integers, got an array of shape {prime.shape} and dtype {prime.dtype}"
            )
        if not prime.size and state is None:
            raise ValueError("prime must have a token where there is no state to go on from")
        prime = self._tokens(prime, "prime", 0)
        n, top_k, seed = (_integer(value, name) for value, name in ((n, "n"), (top_k, "top_k"), (seed, "seed")))
        temperature, top_p = _number(temperature, "temperature"), _number(top_p, "top_p")
        if not (temperature >= 0 and temperature < np.inf):
            raise ValueError(f"temperature must be a finite number >= 0, got {temperature!r}")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {top_p!r}")
        state = self._copied(state)
        out = np.empty(n, np.int64)
        options = seed, temperature, top_k, top_p
        self._raise(self._sample(*options, _address(prime), prime.size, _address(out), n, _address(state)))
        return out, state

    def __repr__(self):
        read = f"{self.inputs} {'tokens' if self.tokens else 'features'}"
        read = f"bags of {self.bag} of {read}" if self.bag else read
        return f"<{NAME}: {read} to {self.outputs} outputs{'' if self.sequence else ' a sample'}, {self.dtype}>"

    def _function(self, name, result, *arguments):
        function = getattr(self._library, f"{NAME}_{name}")
        function.restype, function.argtypes = result, arguments
        return function

    def _raise(self, code):
        if code:
            kind = RuntimeError if code == 5 else ValueError
            raise kind(f"{NAME}: {_ERRORS.get(code, f'error {code}')}")

    def _scratch(self, samples, steps):
        return np.empty(self._workspace_bytes(samples, steps), np.uint8)

    def _input(self, x, name, axes):
        array = np.asarray(x)
        expected = ", ".join([*axes, *map(str, self._shape)])
        if array.ndim != len(axes) + len(self._shape) or array.shape[len(axes) :] != self._shape:
            what = "a token" if not expected else f"({expected}{',' * (expected.count(',') == 0)})"
            raise ValueError(f"{name} must have shape {what}, got {array.shape}")
        if self.tokens:
            if array.dtype.kind not in "iu":
                raise TypeError(f"{name} must be integer tokens, got dtype {array.dtype}")
            return self._tokens(array, name, -1 if self.bag else 0)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be numeric, got dtype {array.dtype}")
        return _plain(array, self.dtype)

    def _tokens(self, array, name, least):
        if array.size and not least <= array.min() <= array.max() < self.inputs:
            wrong = array[(array < least) | (array >= self.inputs)].flat[0]
            raise ValueError(
                f"{name} has the token {wrong}; the vocabulary has {self.inputs} tokens, 0 to {self.inputs - 1}"
                + ", and -1 is none" * (least < 0)
            )
        return _plain(array, np.int64)

    def _state(self, state, shape):
        if not isinstance(state, np.ndarray) or state.dtype != self.dtype or state.shape != shape:
            got = f"{state.dtype} {state.shape}" if isinstance(state, np.ndarray) else type(state).__name__
            raise ValueError(f"state must be an array {self.dtype} {shape}, as this net returns them, got {got}")
        return _plain(state, self.dtype)

    def _copied(self, state):
        if state is None:
            return np.zeros(self.state_size, self.dtype)
        return self._state(state, (self.state_size,)).copy()

    def _lengths(self, lengths, samples, steps):
        array = np.asarray(lengths)
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"lengths must be integers, got dtype {array.dtype}")
        if array.shape != (samples,):
            raise ValueError(f"lengths must have shape ({samples},), got {array.shape}")
        if samples and not 0 <= array.min() <= array.max() <= steps:
            raise ValueError(f"lengths must be from 0 to {steps}, got {array.min()} to {array.max()}")
        return _plain(array, np.int64)


def _address(array):
    """Return the address of an array's first element; whoever asks keeps the array."""
    return array.__array_interface__["data"][0]


def _plain(array, dtype):
    """Return an array as C reads it: contiguous, and each element at a multiple of its size."""
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.aligned else array.copy()


def _number(value, name):
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def _integer(value, name):
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not 0 <= value < 2**63:
        raise ValueError(f"{name} must be an integer >= 0, got {value}")
    return value
