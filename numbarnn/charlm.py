"""A character-level language model: it reads a text, and writes on."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import io
from numbarnn.batch import Call, padded, zeros
from numbarnn.cells import two_phases
from numbarnn.data.batches import TokenStream
from numbarnn.data.text import CharVocabulary
from numbarnn.errors import ModelFileError, ShapeError
from numbarnn.history import History
from numbarnn.kernels.compile import kernel_for
from numbarnn.kernels.cpu import sampling
from numbarnn.layers import GRU, LSTM, RNN, Dense, IndRNN, OneHot
from numbarnn.model import Model
from numbarnn.network import check_seed
from numbarnn.optim import ExponentialDecay, Optimizer, RMSprop, Schedule
from numbarnn.trainer import Trainer

# char-rnn's, and its decay of the learning rate.
OPTIMIZER = RMSprop(learning_rate=2e-3, alpha=0.95, epsilon=1e-8)
SCHEDULE = ExponentialDecay(0.97, after=10)

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU, "indrnn": IndRNN}


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text.

    Attributes
    ----------
    nats : float
        Mean negative log-likelihood of a character given all before it.
    characters : int
        Characters predicted: all but the first.
    """

    nats: float
    characters: int

    @property
    def bits(self) -> float:
        """The same in bits."""
        return self.nats / math.log(2.0)

    @property
    def perplexity(self) -> float:
        """exp(nats): among how many characters the model is undecided, on average."""
        return math.exp(self.nats)


class CharLM:
    """Character-level language model, o_t = softmax(V s_t) with one-hot input, with char-rnn's defaults.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "indrnn"}
    hidden_size, num_layers : int
    dropout, recurrent_dropout : float
        As in the recurrent layers.
    init : str
        Scheme of `numbarnn.initializers`; char-rnn: uniform(-0.08, 0.08), then a forget bias of 1.
    dtype : {"float32", "float64"}
    seed : int
        Of the initial weights, dropout, and of `sample` where it gets none.
    n_threads : int, optional

    Attributes
    ----------
    model : Model or None
        `OneHot`, the recurrent layers and `Dense`, from the first `fit` on.
    vocabulary : CharVocabulary or None
        The characters of the text it was fitted to.
    history : History or None
        Of the last `fit`.

    Examples
    --------
    >>> lm = CharLM(hidden_size=64, num_layers=1)
    >>> lm.fit(text, epochs=5)
    >>> lm.sample(200, prime="The ", temperature=0.8)

    References
    ----------
    A. Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015), and its program char-rnn, whose
    defaults these are.
    """

    def __init__(
        self,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        init: str = "uniform(0.08)",
        dtype: Any = "float32",
        seed: int = 0,
        n_threads: int | None = None,
    ):
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}")
        self.cell, self.dtype, self.seed, self.n_threads = cell, dtype, check_seed(seed), n_threads
        self.recurrent = CELLS[cell](
            hidden_size, num_layers, dropout=dropout, recurrent_dropout=recurrent_dropout, init=init
        )
        self.model: Model | None = None
        self.vocabulary: CharVocabulary | None = None
        self.history: History | None = None
        self._sampler = None

    def fit(
        self,
        text: str,
        epochs: int = 50,
        *,
        batch_size: int = 50,
        seq_length: int = 50,
        validation_fraction: float = 0.05,
        optimizer: Optimizer | str = OPTIMIZER,
        schedule: Schedule = SCHEDULE,
        clip_value: float | None = 5.0,
        clip_norm: float | None = None,
        stopping=None,
        seconds: float | None = None,
        callbacks=(),
        verbose: int = 1,
    ) -> "CharLM":
        """Learn to predict the next character of a text.

        The text is cut into `batch_size` streams that are read in chunks of `seq_length` characters; states carry
        over from chunk to chunk and are reset where an epoch begins. A second call goes on with the weights learnt so
        far, and needs a text of the same characters.

        Parameters
        ----------
        text : str
            Any Unicode; the vocabulary is its characters, those of the part held out included.
        epochs, batch_size, seq_length : int
        validation_fraction : float
            Share of the text, at its end, that is held out and scored after every epoch; 0: none.
        optimizer, schedule, clip_value, clip_norm, stopping, seconds, callbacks, verbose
            As in `Model.fit`; the defaults are char-rnn's.

        Returns
        -------
        CharLM
            Itself; `history` has the records.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, got {type(text).__name__}; decode bytes, or read the file first")
        if not 0 <= validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in [0, 1), got {validation_fraction!r}")
        vocabulary = CharVocabulary(text) if self.vocabulary is None else self.vocabulary
        tokens = vocabulary.encode(text)
        held = int(len(tokens) * validation_fraction)
        if len(tokens) - held < 2:
            raise ShapeError(f"the text has {len(tokens)} characters; at least 2 are needed to learn from")
        source = TokenStream(tokens[: len(tokens) - held], batch_size, seq_length)
        validation = TokenStream(tokens[len(tokens) - held :], batch_size, seq_length, whole=True) if held > 1 else None
        if self.model is None:
            self._build(vocabulary)
        trainer = Trainer(
            self.model, "softmax_cross_entropy", optimizer, schedule=schedule, clip_value=clip_value,
            clip_norm=clip_norm, seed=self.seed,
        )  # fmt: skip
        self.history = trainer.fit(
            source,
            epochs,
            validation=validation,
            stopping=stopping,
            seconds=seconds,
            callbacks=callbacks,
            verbose=verbose,
        )
        return self

    def _build(self, vocabulary):
        layers = [OneHot(len(vocabulary)), self.recurrent, Dense(len(vocabulary), init=self.recurrent.init)]
        self.model = Model(layers, dtype=self.dtype, seed=self.seed, n_threads=self.n_threads)
        self.vocabulary = vocabulary

    # Writing

    def sample(
        self,
        length: int = 200,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: str | None = None,
        seed: int | None = None,
        *,
        unknown: str = "error",
    ) -> str:
        """Write on after a text, in one compiled loop.

        Parameters
        ----------
        length : int
            Characters to write.
        prime : str
            Text that comes before; the result does not repeat it. Without one, the first character is drawn with
            equal probability from the vocabulary (char-rnn).
        temperature : float
            Divides the logits: below 1 safer, above 1 wilder; 0 always takes the likeliest character.
        top_k : int, optional
            Choose among the k likeliest characters.
        top_p : float, optional
            Choose among the fewest characters that together have probability p (nucleus sampling, Holtzman et al.
            2020), after top_k.
        stop : str, optional
            End after this text has been written.
        seed : int, optional
            The same seed writes the same text; None: the model's.
        unknown : str
            For characters of prime outside the vocabulary: "error", "skip", or a character that replaces them.

        Returns
        -------
        str

        Raises
        ------
        RuntimeError
            If the model was not fitted.
        TokenError, ValueError
            If an argument does not fit.
        """
        run = _Sampling(self, prime, temperature, top_k, top_p, stop, seed, unknown)
        return self.vocabulary.decode(run.take(_count("length", length)))

    def stream(
        self,
        length: int | None = None,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: str | None = None,
        seed: int | None = None,
        *,
        unknown: str = "error",
    ) -> Iterator[str]:
        """Yield the characters of `sample` one by one, without end if `length` is None."""
        run = _Sampling(self, prime, temperature, top_k, top_p, stop, seed, unknown)
        left = math.inf if length is None else _count("length", length)

        def characters():
            written, done = "", 0
            while done < left:
                character = self.vocabulary.decode(run.take(1))
                done += 1
                yield character
                if stop:
                    written = (written + character)[-len(stop) :]
                    if written == stop:
                        return

        return characters()

    def score(self, text: str, *, unknown: str = "error") -> Score:
        """Return how well the model predicts a text, read from its first character on.

        Parameters
        ----------
        text : str
            At least two characters.
        unknown : str
            As in `sample`.
        """
        model = self._fitted()
        tokens = self.vocabulary.encode(text, unknown)
        if len(tokens) < 2:
            raise ShapeError(f"a text of at least 2 known characters can be scored, got {len(tokens)}")
        stream = TokenStream(tokens, 1, 1000, whole=True)
        return Score(Trainer(model).evaluate(stream), stream.items)

    def _fitted(self) -> Model:
        if self.model is None:
            raise RuntimeError("this CharLM has not learnt anything yet; call fit, or load a saved one")
        return self.model

    # Files

    def save(self, path: str | os.PathLike) -> None:
        """Write the model and its vocabulary to a safetensors file, beside the goal first and then renamed."""
        model = self._fitted()
        codes = [ord(c) for c in self.vocabulary.characters]
        about = {"cell": self.cell, "vocabulary": codes, "seed": self.seed, "model": model.description()}
        io.write(path, "charlm", about, dict(model.params))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "CharLM":
        """Return the model of a file that `save` wrote.

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it holds something else or is damaged.
        """
        description, arrays = io.read(path)
        if description["kind"] != "charlm":
            raise ModelFileError(f"{os.fspath(path)!r} holds a {description['kind']}; numbarnn.load loads any kind")
        return cls.from_description(description, arrays)

    @classmethod
    def from_description(cls, description: dict[str, Any], arrays) -> "CharLM":
        """Return the model of a file's description and parameters."""
        try:
            model = Model.from_description(description["model"], arrays)
            vocabulary = CharVocabulary(chr(code) for code in description["vocabulary"])
            lm = cls(description["cell"], dtype=model.dtype, seed=description["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the file's description of the model cannot be understood: {error}") from None
        if len(model.layers) != 3 or model.signals[0].size != len(vocabulary):
            raise ModelFileError("the file's model is no character model, or its vocabulary has another size")
        lm.model, lm.vocabulary, lm.recurrent = model, vocabulary, model.layers[1]
        return lm

    def _weights(self):
        """Return what the sampling kernel reads: all packed weights in one array, and where each begins."""
        model = self._fitted()
        if self._sampler is None or self._sampler[0] != model.params.version:
            _, recurrent, dense = model._weights(Call(model.dtype, 1))
            parts, places, at = [], [], 0
            for run in recurrent:
                first = run.token_rows if run.token_rows.size else run.bias
                group = [run.forward, first.reshape(-1), run.units.reshape(-1)]
                places.append([at, at + group[0].size, at + group[0].size + group[1].size])
                parts += group
                at += sum(part.size for part in group)
            places.append([at, at + dense.forward.size, 0])
            parts += [dense.forward, dense.bias]
            weights = zeros((at + dense.forward.size + dense.bias.size,), model.dtype)
            np.concatenate(parts, out=weights)
            self._sampler = (model.params.version, weights, np.array(places, np.int64))
        return self._sampler[1:]


class _Sampling:
    """The arrays of one run of the sampling kernel, which can be taken from piece by piece."""

    def __init__(self, lm, prime, temperature, top_k, top_p, stop, seed, unknown):
        model = lm._fitted()
        vocabulary = lm.vocabulary
        if not (isinstance(temperature, (int, float)) and 0 <= temperature < math.inf):
            raise ValueError(f"temperature must be a number >= 0, got {temperature!r}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {top_p!r}")
        if top_k is not None and _count("top_k", top_k) < 1:
            raise ValueError(f"top_k must be a positive integer, got {top_k!r}")
        self.seed = lm.seed if seed is None else check_seed(seed)
        self.layer, dtype = model.layers[1], model.dtype
        layer = self.layer
        if two_phases(layer.cell):
            raise ValueError(f"sampling does not know cells of two phases, and {type(layer.cell).__name__} is one")
        self.call = Call(dtype, 1)
        self.weights, self.places = lm._weights()
        width = padded(layer.hidden_size, dtype)
        self.state = zeros((layer.num_layers, len(layer.cell.states), width), dtype)
        self.planes = zeros((len(layer.cell.planes), width), dtype)
        self.logits = zeros((padded(len(vocabulary), dtype),), dtype)
        self.likely = np.zeros(len(vocabulary), np.int64)
        self.classes = len(vocabulary)
        self.options = float(temperature), int(top_k or 0), float(top_p or 1.0)
        self.stop = np.zeros(0, np.int32) if not stop else vocabulary.encode(stop)
        self.prime = vocabulary.encode(prime, unknown)
        # Without a prime there is nothing to predict the first character from: all are as likely.
        self.first = None if self.prime.size else np.random.default_rng(self.seed).integers(self.classes)
        self.position = 0

    def take(self, count: int) -> np.ndarray:
        """Return the next tokens, fewer if `stop` comes among them."""
        out = np.zeros(count, np.int32)
        prime, self.prime = self.prime, self.prime[:0]
        written = 0
        if self.first is not None and count > 0:
            out[0], self.first, written = self.first, None, 1
            prime = out[:1].copy()
            if self.stop.size == 1 and out[0] == self.stop[0]:
                return out[:1]
        temperature, top_k, top_p = self.options
        x_planes, h_planes = self.layer._ranges()
        hidden = self.layer.hidden_size
        kernel = kernel_for(sampling.generate, self.layer.cell)
        written = kernel(
            self.layer.cell, self.call.table, x_planes, h_planes, hidden, hidden if self.layer.cell.recurrent_planes else 0,
            self.weights, self.places, self.classes, self.state, self.planes, self.logits, self.likely, prime, out,
            written, temperature, top_k, top_p, self.seed, self.position, self.stop,
        )  # fmt: skip
        self.position += written
        return out[:written]


def _count(name, value):
    """Return a number of things as an int; raise ValueError unless it is one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be a number of characters >= 0, got {value!r}")
    return int(value)
