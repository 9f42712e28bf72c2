"""Language models by character, byte or word: training, scoring and text generation."""

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numbarnn import io
from numbarnn.backends.device import check_device
from numbarnn.checks import (
    COUNTED,
    check_choice,
    check_dtype,
    check_integer,
    check_seed,
)
from numbarnn.data.batches import TokenStream
from numbarnn.data.vocabularies import VOCABULARIES
from numbarnn.data.vocabulary import Vocabulary
from numbarnn.errors import ModelFileError, ShapeError
from numbarnn.language.generation import check_parts, pieces_of, sampler_of
from numbarnn.language.preparation import sources_of
from numbarnn.language.score import Score
from numbarnn.layers import GRU, LSTM, RNN, Dense, Embedding, IndRNN, MinGRU, MinLSTM, OneHot
from numbarnn.model import Model
from numbarnn.optim import ExponentialDecay, Optimizer, RMSprop, Schedule, make_optimizer, optimizer_with
from numbarnn.training.history import History
from numbarnn.training.trainer import Trainer
from numbarnn.words import Suggesting

# char-rnn's, and its decay of the learning rate.
OPTIMIZER = RMSprop(learning_rate=2e-3, alpha=0.95, eps=1e-8)
SCHEDULE = ExponentialDecay(0.97, after=10)

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU, "indrnn": IndRNN, "mingru": MinGRU, "minlstm": MinLSTM}


class LanguageModel(Suggesting):
    """Language model of characters, bytes or words: o_t = softmax(V s_t), the probabilities of the token that comes next.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "indrnn", "mingru", "minlstm"}
    hidden_size, num_layers : int
    unit : {"character", "byte", "word"}
        Unit of a token: a character of the text it is fitted to; one of the 256 bytes of any file; or a word, number,
        sign or white space, with the space before it (`numbarnn.data.split_words`).
    max_vocabulary : int, optional
        Of words: size of the vocabulary, the most frequent words; all others are "<unk>". Two more tokens stand for
        "<unk>" with and without a space before it.
    min_count : int
        Of words: least number of occurrences of a word of the vocabulary.
    embedding_size : int, optional
        Learn a vector of this length for every token, which the recurrent layers read; None: they read one-hot
        vectors (gathered, never multiplied), with one column of W_ih for each token. With many words, embeddings are smaller
        and learn faster.
    dropout, recurrent_dropout : float
        As in the recurrent layers.
    init : str
        Scheme of `numbarnn.core.initializers`; char-rnn: uniform(-0.08, 0.08), then a forget bias of 1.
    dtype : {"float32", "float64"}
    seed : int
        Of the initial weights and dropout, and the default of `sample`.
    n_threads : int, optional
    device : {"cpu", "cuda"}
        As in `numbarnn.Model`.

    Raises
    ------
    ValueError
        If `cell`, `unit` or a scheme is unknown, or an option does not go with the unit.
    TypeError, ValueError
        If a size, a rate or the seed is not a number of its range.
    DeviceError
        If the device cannot be used.

    Attributes
    ----------
    model : Model or None
        `OneHot` or `Embedding`, the recurrent layers and `Dense`, from the first `fit` on.
    vocabulary : Vocabulary or None
        Of the text it was fitted to: a `numbarnn.data.CharVocabulary`, `ByteVocabulary` or `WordVocabulary`.
    history : History or None
        Of the last `fit`.
    metadata : dict
        Values of your own under names of your own, which files contain: see `save`.

    Notes
    -----
    Unknown words count in training: the model learns where they occur. It generates them only on request: by default
    `sample` sets their probability to zero and renormalises the others.

    A training step stores ``batch_size * seq_length`` rows of logits, each as long as the vocabulary, and their gradient:
    with 50, 50 and 20,000 words 400 MB in float32.

    Examples
    --------
    >>> text = "the cat sat on the mat. the dog sat on the log. " * 50
    >>> lm = LanguageModel("gru", 16, 1, unit="word", max_vocabulary=5000, embedding_size=8)
    >>> lm = lm.fit(text, epochs=2, batch_size=5, seq_length=10, verbose=0)
    >>> sample = lm.sample(30, prime="the cat", temperature=0.8, seed=0)  # 30 words
    >>> "<unk>" in sample
    False

    References
    ----------
    A. Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015), and its program char-rnn, whose
    defaults these are.
    T. Mikolov et al., "Recurrent neural network based language model", Interspeech 2010: words.
    """

    KIND = "language_model"

    def __init__(
        self,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 2,
        *,
        unit: str = "character",
        max_vocabulary: int | None = None,
        min_count: int = 1,
        embedding_size: int | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        init: str = "uniform(0.08)",
        dtype: Any = "float32",
        seed: int = 0,
        n_threads: int | None = None,
        device: str = "cpu",
    ):
        check_choice(cell, "cell", CELLS)
        check_choice(unit, "unit", VOCABULARIES)
        check_dtype(dtype)
        if unit != "word" and (max_vocabulary is not None or min_count != 1):
            raise ValueError(f"max_vocabulary and min_count go with unit='word'; a model of {unit}s has no other limit")
        for name, value in (("max_vocabulary", max_vocabulary), ("embedding_size", embedding_size)):
            check_integer(1 if value is None else value, name, 1)
        self.cell, self.unit, self.dtype, self.seed, self.n_threads = cell, unit, dtype, check_seed(seed), n_threads
        self.device = check_device(device)
        self.max_vocabulary, self.min_count = max_vocabulary, check_integer(min_count, "min_count", 1)
        self.embedding_size = embedding_size
        self.recurrent = CELLS[cell](
            hidden_size, num_layers, dropout=dropout, recurrent_dropout=recurrent_dropout, init=init
        )
        self.model: Model | None = None
        self.vocabulary: Vocabulary | None = None
        self.history: History | None = None
        self.metadata: dict[str, Any] = {}
        self._packed = None

    def fit(
        self,
        text: str,
        epochs: int = 50,
        *,
        batch_size: int = 50,
        seq_length: int = 50,
        validation: float | str = 0.05,
        optimizer: Optimizer | str = OPTIMIZER,
        learning_rate: float | None = None,
        schedule: Schedule = SCHEDULE,
        clip_value: float | None = 5.0,
        clip_norm: float | None = None,
        memory_limit: int | str | None = None,
        patience: Any = None,
        seconds: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: Any = "5min",
        resume: bool | str = False,
        callbacks: Any = (),
        verbose: int = 1,
    ) -> "LanguageModel":
        """Learn to predict the next token of a text.

        The text is cut into `batch_size` streams that are read in chunks of at most `seq_length` tokens, all of it
        (`numbarnn.data.TokenStream`); states carry over from chunk to chunk and are reset where an epoch begins. A second
        call continues from the weights learned so far, with the same vocabulary: characters outside it are an error, words
        outside it are unknown words.

        Parameters
        ----------
        text : str
            Any Unicode; for a model of bytes also bytes. The vocabulary of characters is that of the whole text, the
            vocabulary of words that of the part that is not held out.
        epochs, batch_size, seq_length : int
        validation : float or str
            What is scored after every epoch: a share of the tokens, which are held out at the end of the text (0: none), or a text
            of its own, of which at least two tokens are known.
        learning_rate : float, optional
            Of char-rnn's optimizer, or of one given by name, None: its own; an optimizer object has its own.
        optimizer, schedule, clip_value, clip_norm, memory_limit, patience, seconds, checkpoint, checkpoint_every, resume, callbacks
        verbose : int
            As in `Model.fit`; the defaults are char-rnn's.

        Returns
        -------
        LanguageModel
            Itself; `history` has the records.

        Raises
        ------
        ShapeError
            If the text has fewer than two tokens to train on.
        TokenError
            If it has characters outside the vocabulary of an earlier `fit`.
        TypeError, ValueError
            If an argument has the wrong type or value.
        DivergedError
            If the loss becomes NaN or infinite.
        CheckpointError, OSError
            As `Model.fit`.
        """
        vocabulary, source, held_out = sources_of(self, text, validation, batch_size, seq_length)
        if self.model is None:
            self._build(vocabulary)
        if learning_rate is not None and optimizer is OPTIMIZER:
            optimizer, learning_rate = optimizer_with(OPTIMIZER, learning_rate), None
        if learning_rate is None:  # by name it has its own rate, not that of `numbarnn.training.defaults`
            optimizer = make_optimizer(optimizer)
        trainer = Trainer(
            self.model, "softmax_cross_entropy", optimizer, learning_rate=learning_rate, schedule=schedule, clip_value=clip_value,
            clip_norm=clip_norm, memory_limit=memory_limit, seed=self.seed,
        )  # fmt: skip
        self.history = trainer.fit(
            source,
            epochs,
            validation=held_out,
            patience=patience,
            seconds=seconds,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            callbacks=callbacks,
            verbose=verbose,
        )
        return self

    def _build(self, vocabulary):
        size, init = len(vocabulary), self.recurrent.init
        first = OneHot(size) if self.embedding_size is None else Embedding(size, self.embedding_size)
        layers = [first, self.recurrent, Dense(size, init=init)]
        options = {"seed": self.seed, "n_threads": self.n_threads, "device": self.device}
        self.model = Model(layers, dtype=self.dtype, **options)
        self.vocabulary = vocabulary

    # Text generation

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
        allow_unknown: bool = False,
    ) -> str:
        """Generate text that continues a prime, in one compiled loop.

        Parameters
        ----------
        length : int
            Tokens to generate: characters, bytes or words (punctuation and line breaks included).
        prime : str
            Text to continue; the result does not repeat it. Without one, the first character is drawn uniformly from the
            vocabulary (char-rnn), while words and bytes begin as after a line break.
        temperature : float
            Divides the logits: below 1 more conservative, above 1 more varied; 0: always the most probable token.
        top_k : int, optional
            Sample from the k most probable tokens.
        top_p : float, optional
            Sample from the fewest tokens that together have probability p (nucleus sampling, Holtzman et al. 2020),
            after top_k.
        stop : str, optional
            Stop after this text has been generated; for words, with the word that completes it.
        seed : int, optional
            The same seed gives the same text; None: the model's.
        unknown : str
            Treatment of units of the prime outside the vocabulary: "error", "skip", or a unit that replaces them ("<unk>").
        allow_unknown : bool
            Whether a model of words may generate "<unk>".

        Returns
        -------
        str
            With U+FFFD for bytes that are not valid UTF-8.

        Raises
        ------
        RuntimeError
            If the model was not fitted.
        TokenError, ValueError
            If an argument has the wrong dtype or value.
        """
        length = check_integer(length, "length", 0, COUNTED)
        options = prime, temperature, top_k, top_p, stop, seed
        if self.unit == "word" and stop:  # it may begin or end inside a word
            return "".join(self.stream(length, *options, unknown=unknown, allow_unknown=allow_unknown))
        run = sampler_of(self, *options, unknown, allow_unknown)
        return self.vocabulary.decode(run.take(length))

    def sample_many(
        self,
        count: int,
        length: int = 200,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: str | None = None,
        seed: int | None = None,
        *,
        unknown: str = "error",
        allow_unknown: bool = False,
    ) -> list[str]:
        """Generate many texts in parallel: on a GPU in one launch, on the CPU in `n_threads` threads.

        Parameters
        ----------
        count : int
            Number of texts.
        seed : int, optional
            Text i is that of ``sample(..., seed=seed + i)``.
        length, prime, temperature, top_k, top_p, stop, unknown, allow_unknown
            As in `sample`.

        Returns
        -------
        list of str

        Raises
        ------
        RuntimeError
            If the model was not fitted.
        TokenError, ValueError
            If an argument has the wrong type or value.
        """
        count, length = check_integer(count, "count", 0, COUNTED), check_integer(length, "length", 0, COUNTED)
        seed = check_seed(self.seed if seed is None else seed)
        common = prime, temperature, top_k, top_p, stop
        options = {"unknown": unknown, "allow_unknown": allow_unknown}
        if self.unit == "word" and stop:  # it may begin or end inside a word
            return [self.sample(length, *common, seed + number, **options) for number in range(count)]
        run = sampler_of(self, *common, range(seed, seed + count), unknown, allow_unknown)
        return [self.vocabulary.decode(tokens) for tokens in run.take_all(length)] if count else []

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
        allow_unknown: bool = False,
    ) -> Iterator[str]:
        """Yield the text of `sample` token by token, without end if `length` is None.

        Of bytes, a character is yielded as soon as its last byte is generated.

        Parameters
        ----------
        length : int, optional
            Tokens to generate; None: without end.
        prime, temperature, top_k, top_p, stop, seed, unknown, allow_unknown
            As in `sample`.

        Returns
        -------
        iterator of str

        Raises
        ------
        RuntimeError
            If the model was not fitted.
        TokenError, ValueError
            If an argument has the wrong type or value.
        """
        run = sampler_of(self, prime, temperature, top_k, top_p, stop, seed, unknown, allow_unknown)
        left = math.inf if length is None else check_integer(length, "length", 0, COUNTED)
        return pieces_of(run, self.vocabulary, left, stop)

    def _pack(self):
        """Return the weights as the backend's sampling reads them, packed again where they have changed."""
        model, packed = self._fitted(), self._packed  # read once: other threads may pack too
        if packed is None or packed[:2] != (model, model.params.version):
            self._packed = packed = model, model.params.version, model.backend.sampling.pack(model)
        return packed[2]

    def score(self, text: str, *, unknown: str | None = None) -> Score:
        """Return how well the model predicts a text, from a zero state before its first token.

        Parameters
        ----------
        text : str
            At least two tokens.
        unknown : str, optional
            As in `sample`. None: characters outside the vocabulary are an error, words outside it are read, and must
            be predicted, as "<unk>"; the result says how many.

        Returns
        -------
        Score

        Raises
        ------
        RuntimeError
            If the model was not fitted.
        ShapeError
            If the text has fewer than two known tokens.
        TokenError, ValueError
            If it has unknown units and `unknown` is "error", or `unknown` has a wrong value.
        """
        model, vocabulary = self._fitted(), self.vocabulary
        tokens, lengths = vocabulary.measure(text, vocabulary.replacement if unknown is None else unknown)
        if len(tokens) < 2:
            raise ShapeError(f"a text of at least 2 known {vocabulary.units} can be scored, got {len(tokens)}")
        stream = TokenStream(tokens, 1, 1000, unit=vocabulary.units)
        unknown_tokens = int(np.isin(tokens[1:], vocabulary.unknown).sum())
        return Score(Trainer(model).evaluate(stream), stream.items, int(lengths[1:].sum()), unknown_tokens, self.unit)

    def __repr__(self) -> str:
        options = [
            f"{self.cell!r}",
            *(f"{name}={getattr(self.recurrent, name)}" for name in ("hidden_size", "num_layers")),
        ]
        options += [f"unit={self.unit!r}"] if type(self) is LanguageModel else []
        fitted = "not fitted" if self.vocabulary is None else f"vocabulary of {len(self.vocabulary)}"
        return f"<{type(self).__name__}({', '.join(options)}), {fitted}>"

    def warmup_jobs(self) -> Any:
        """Return what `numbarnn.warmup` runs beside predictions: pairs of a name and a function."""
        return (
            ("scoring", lambda: Trainer(self._fitted()).evaluate(TokenStream(np.zeros(4, np.int32), 1, 2))),
            ("sampling", lambda: self.sample(2, top_k=1)),
        )

    def __getstate__(self):
        return self.__dict__ | {"_packed": None}  # packed for this processor

    def _fitted(self) -> Model:
        if self.model is None:
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet; call fit, or load a saved one")
        return self.model

    # Files

    def save(self, path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the model and its vocabulary to a safetensors file, beside its destination first and then renamed.

        Parameters
        ----------
        path : path-like
        metadata : mapping of str to values of JSON, optional
            As in `Model.save`: what you want to find again in the attribute `metadata`.

        Raises
        ------
        RuntimeError
            If the model was not fitted.
        OSError
            If the file cannot be written; the existing file is left as it was.
        TypeError, ValueError
            If `metadata` has other values than those of JSON, or more than a mebibyte of them, or a parameter is NaN or infinite.
        """
        model = self._fitted()
        if metadata is not None:
            self.metadata = io.check_metadata(metadata)
        about = {"cell": self.cell, "vocabulary": self.vocabulary.description(), "seed": self.seed} | self._about()
        if self.metadata:
            about["metadata"] = io.check_metadata(self.metadata)
        io.write(path, self.KIND, about | {"model": model.description()}, model.params.for_file())

    def _about(self):
        """Return what a file stores of the model besides cell, vocabulary and seed, as options of the class."""
        return {"unit": self.unit, "max_vocabulary": self.max_vocabulary, "min_count": self.min_count}

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> "LanguageModel":
        """Return the model of a file that `save` wrote, wherever it was then, on a device.

        Parameters
        ----------
        path : path-like
        device : {"cpu", "cuda"}

        Returns
        -------
        LanguageModel

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it contains something else or is damaged.
        """
        return cls.from_description(*io.read(path, cls.KIND), device)

    @classmethod
    def from_description(cls, description: dict[str, Any], arrays: Any, device: str = "cpu") -> "LanguageModel":
        """Return the model of a file's description and parameters, on a device.

        Parameters
        ----------
        description : dict
            Metadata of a file that `save` wrote.
        arrays : mapping of str to array
            Parameters by name.
        device : {"cpu", "cuda"}

        Returns
        -------
        LanguageModel

        Raises
        ------
        ModelFileError
            If the description cannot be understood, or the arrays do not match it.
        DeviceError
            If the device cannot be used.
        """
        check_device(device)
        with io.understood("model"):
            model = Model.from_description(description["model"], arrays, device)
            options = {name: description[name] for name in cls("lstm")._about()}
            lm = cls(description["cell"], dtype=model.dtype, seed=description["seed"], device=device, **options)
            lm.vocabulary = VOCABULARIES[lm.unit].from_description(description["vocabulary"])
            if lm.vocabulary.description() != description["vocabulary"]:
                raise ValueError("the tokens of the vocabulary are out of order, repeated, or of another unit")
            lm.metadata = io.check_metadata(description.get("metadata"))
        lm.model = model
        try:
            check_parts(lm)
        except ValueError as error:
            raise ModelFileError(f"the file is not that of a language model: {error}") from None
        lm.recurrent = model.layers[1]
        lm.embedding_size = getattr(model.layers[0], "features", None)
        return lm
