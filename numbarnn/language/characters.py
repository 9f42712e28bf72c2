"""Language models of characters, as char-rnn has them."""

from typing import Any

from numbarnn.language.model import LanguageModel


class CharLM(LanguageModel):
    """Character-level language model with one-hot input and char-rnn's defaults: `LanguageModel` with ``unit="character"``.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "indrnn", "mingru", "minlstm"}
    hidden_size, num_layers : int
    dropout, recurrent_dropout, init, dtype, seed, n_threads, device
        As in `LanguageModel`.

    Examples
    --------
    >>> text = "the cat sat on the mat. the dog sat on the log. " * 50
    >>> lm = CharLM("gru", hidden_size=16, num_layers=1).fit(text, epochs=2, batch_size=5, verbose=0)
    >>> len(lm.sample(200, prime="the ", temperature=0.8, seed=0))
    200
    """

    KIND = "charlm"

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
        device: str = "cpu",
    ):
        super().__init__(
            cell, hidden_size, num_layers, dropout=dropout, recurrent_dropout=recurrent_dropout, init=init, dtype=dtype,
            seed=seed, n_threads=n_threads, device=device,
        )  # fmt: skip

    def _about(self):
        return {}
