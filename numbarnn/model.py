"""Model: a network with training and files."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numbarnn import __about__, io
from numbarnn.backends.device import check_device
from numbarnn.checks import brief, naming
from numbarnn.data.sources import make_source
from numbarnn.errors import ModelFileError
from numbarnn.layers import LAYERS, Dense
from numbarnn.layers.kinds import recurrent
from numbarnn.losses.base import loss_config, loss_from_config, make_loss
from numbarnn.network.network import Network
from numbarnn.training.evaluation import check_metrics, measure
from numbarnn.training.history import History
from numbarnn.training.trainer import Trainer


class Model(Network):
    """A stack of layers with its parameters, that trains, and is saved and loaded.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output. A model of tokens begins with `OneHot` or `Embedding`.
    input_size : int, optional
        Features C of a step; not given for models of tokens.
    dtype : {"float32", "float64"}
        Of parameters, states and outputs.
    seed : int
        Of the initial weights.
    n_threads : int, optional
        Threads that the model may use; None: the processors of this process. Results do not depend on it.
    device : {"cpu", "cuda"}
        Where passes and training run. "cuda" is the first GPU (``CUDA_VISIBLE_DEVICES`` chooses among several), and needs the
        extra ``numbarnn[cuda13]`` or ``numbarnn[cuda12]``; arguments and results are arrays of the host all the same, files
        are the same, and results equal the CPU's up to rounding. Single steps (`stream`, `numbarnn.step_function`) run on the CPU.

    Raises
    ------
    DeviceError
        If the device cannot be used; the message says what was found and what to install.

    Attributes
    ----------
    params : Params
        The parameters: one flat buffer, and read-only views by name (``lstm.weight_ih_l0``).
    layers : tuple of Layer
    names : tuple of str
        Name of each layer, the prefix of its parameters.
    loss : Loss or None
        Loss of the last training; `predict`, `predict_proba` and `evaluate` depend on it, and files contain it.
    metadata : dict
        Values of your own under names of your own, which files contain: see `save`.

    Notes
    -----
    A model has no state between calls: states are arguments and results. Many threads may call `forward`, `step` and
    `predict_proba` of one model at once, as long as none changes its parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import LSTM, Dense, Model
    >>> model = Model([LSTM(32), Dense(3)], input_size=5)
    >>> outputs, state = model.forward(np.zeros((8, 20, 5)))
    >>> outputs.shape
    (8, 20, 3)
    """

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: Any = "softmax_cross_entropy",
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lengths: Any = None,
        sample_weight: Any = None,
        shuffle: bool | str = True,
        validation: Any = None,
        patience: Any = None,
        seconds: float | None = None,
        schedule: Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        tbptt: int | None = None,
        memory_limit: int | str | None = None,
        accumulate: int = 1,
        average: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: Any = "5min",
        resume: bool | str = False,
        callbacks: Any = (),
        verbose: int = 1,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array-like, list of arrays or source
            Samples (samples, time steps, features) or tokens (samples, time steps), with `y`; samples of different lengths as a
            list of arrays (time steps, features) or (time steps,); or a source of batches, which decides about batches, lengths,
            weights and order itself (`numbarnn.data`). Arrays may be memory-mapped and larger than memory.
        y : array-like or list of arrays, optional
            Targets in the form that the loss takes. Beside a list of samples, targets of every step are a list too, each as long
            as its sample.
        loss, optimizer : str or object
            Names of `numbarnn.losses.LOSSES` and `numbarnn.optim.OPTIMIZERS`, or objects.
        learning_rate : float, optional
            Of an optimizer given by name; an optimizer object has its own. None: 0.003 for "adam" and "adamw", for others
            their default.
        epochs : int, optional
            None: as many as make 3,000 optimizer steps, at most 200; at most 50 where every step has a target. Under `tbptt` a
            batch counts as one step. A source must have a length for it.
        batch_size : int
        lengths : (samples,) integers, optional
        sample_weight : (samples,) or (samples, time steps) array, optional
        shuffle : bool or "blocks"
            Whether every epoch has its own order of samples; "blocks": one that reads files in blocks, as
            `numbarnn.data.ArraySource` does it.
        validation : (x, y) tuple, (x, y, lengths) tuple, source or float, optional
            What x and y may be; evaluated after every epoch; a fraction holds out the last samples.
        patience : int or EarlyStopping, optional
            Epochs without a better validation loss after which training ends, with the weights of the best epoch.
        seconds : float, optional
            Time that training may take.
        schedule : Schedule, optional
        clip_norm, clip_value : float, optional
        tbptt : int, optional
            Steps of truncated back-propagation through time.
        memory_limit : int or str, optional
            Bytes that the activations of a batch may take, or a str such as "300 MB": passes go through the steps by segments, and
            make the tape of each again on the way back. What is learned is equal to the bit; `memory` says what a pass needs.
        accumulate : int
            Batches whose gradients make one optimizer step, as if they were one batch.
        average : numbarnn.optim.EMA or float, optional
            Exponential moving average of the weights, or its decay (0.999): it is what validation scores and what training
            ends with.
        checkpoint : path-like, optional
            File from which a run that was stopped or killed resumes to the bit, written at the end of every epoch and as
            `checkpoint_every` says.
        checkpoint_every : int, str or timedelta
            Optimizer steps, or a time: "30s", "5min", "1h".
        resume : bool or "auto"
            True: resume from the checkpoint; False: start anew, if no checkpoint would be overwritten; "auto": resume where there
            is one.
        callbacks : iterable of Callback
        verbose : int
            0: silent; 1: a progress bar, or plain lines where there is no terminal. Whatever it is, `logging` gets a record an
            epoch: level INFO of the logger "numbarnn".
        seed : int
            Of the order of samples and of dropout.
        n_threads : int, optional

        Returns
        -------
        History
            One record an epoch.

        Raises
        ------
        ValueError
            If x or y has NaN (the message gives count and first index), an argument has the wrong shape, dtype or value, or
            `memory_limit` is too small for a batch; the first one that does not fit raises.
        DivergedError
            If the loss becomes NaN or infinite.
        CheckpointError, OSError
            If the checkpoint is another run's (the message names what differs), or cannot be written; see `Trainer.fit`.

        Examples
        --------
        >>> import numpy as np
        >>> import numbarnn as nr
        >>> x = np.random.default_rng(0).normal(size=(60, 8, 1))
        >>> y = (x.cumsum(axis=1)[:, :, 0] > 0).astype(int)
        >>> model = nr.Model([nr.LSTM(4), nr.Dense(2)], input_size=1)
        >>> history = model.fit(x, y, epochs=3, validation=0.2, patience=5, verbose=0)
        >>> len(history)
        3

        A run that survives being killed: the same call resumes from the last checkpoint, and ends with exactly the
        weights of a run that was never stopped.

        >>> history = model.fit(x, y, epochs=3, checkpoint="run.ckpt", resume="auto", verbose=0)
        """
        source = x
        if y is not None:
            options = {"lengths": lengths, "sample_weight": sample_weight, "batch_size": batch_size, "shuffle": shuffle}
            source = make_source(x, y, **options)
        elif lengths is not None or sample_weight is not None:
            raise ValueError(
                "y must be given with lengths or sample_weight, which are for arrays x and y; a source yields its own"
            )
        trainer = Trainer(
            self,
            loss,
            optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            clip_norm=clip_norm,
            clip_value=clip_value,
            tbptt=tbptt,
            memory_limit=memory_limit,
            accumulate=accumulate,
            average=average,
            seed=seed,
            n_threads=n_threads,
        )
        return trainer.fit(
            source,
            epochs,
            validation=validation,
            patience=patience,
            seconds=seconds,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            callbacks=callbacks,
            verbose=verbose,
        )

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        metrics: Iterable[str | Callable[[Any, Any], float]] = (),
        *,
        loss: Any = None,
        batch_size: int = 32,
        lengths: Any = None,
        sample_weight: Any = None,
        n_threads: int | None = None,
    ) -> dict[str, float]:
        """Return the loss and the metrics of data, without dropout.

        Parameters
        ----------
        x, y, batch_size, lengths, sample_weight
            As of `fit`.
        metrics : list of str or callable
            Names of `numbarnn.metrics`: "accuracy", "f1" (the mean over the classes), "mae", "rmse", "r2", "label_error_rate",
            "sequence_error"; or functions ``metric(truth, predicted) -> float`` of your own, by whose names the result has them.
        loss : str or Loss, optional
            None: the loss of the last `fit`, which files contain.
        n_threads : int, optional

        Returns
        -------
        dict of str to float
            "loss", the mean over the valid steps, and the metrics by name.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value, no loss is known, or a metric does not go with the loss.

        Notes
        -----
        Metrics see what counts, once each and unweighted: the steps within the lengths whose target is not the `ignore_index` of
        the loss and whose weight is not 0. truth and predicted are labels (n,) or values (n, features), for CTC lists of label
        sequences, of which `predicted` is decoded by the best path; under the loss of a distribution `predicted` is its mean.

        Examples
        --------
        >>> import numpy as np
        >>> model = Model([Dense(3)], input_size=2)
        >>> x, y = np.zeros((4, 5, 2)), np.zeros((4, 5), int)
        >>> sorted(model.evaluate(x, y, metrics=["accuracy"], loss="softmax_cross_entropy"))
        ['accuracy', 'loss']
        """
        loss = self.loss if loss is None else make_loss(loss)
        if loss is None:
            raise ValueError(
                "loss must be given, for example loss='softmax_cross_entropy': this model was not trained, and its file has none"
            )
        metrics = check_metrics(metrics)
        source = x
        if y is not None:
            options = {"lengths": lengths, "sample_weight": sample_weight, "batch_size": batch_size}
            source = make_source(x, y, shuffle=False, **options)
        elif lengths is not None or sample_weight is not None:
            raise ValueError(
                "y must be given with lengths or sample_weight, which are for arrays x and y; a source yields its own"
            )
        trainer = Trainer(self, loss, "sgd", n_threads=n_threads)
        with naming("x", "source"):
            result = {"loss": trainer.evaluate(source)}
        return result | (measure(trainer, source, metrics) if metrics else {})

    def description(self) -> dict[str, Any]:
        """Return what a file stores of the model besides its parameters, as JSON values."""
        return {
            "version": __about__.__version__,
            "layers": [{"type": type(layer).__name__, **layer.config()} for layer in self.layers],
            "input_size": self.signals[0].size,
            "dtype": self.dtype.name,
            "seed": self.seed,
            "loss": loss_config(self.loss),
            "output_activation": self.output_activation,
        } | ({"metadata": io.check_metadata(self.metadata)} if self.metadata else {})

    def save(self, path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the model to a safetensors file, beside its destination first and then renamed.

        The file holds the parameters under their names, which `safetensors` reads in any framework, and the
        architecture and the loss of training as JSON in its metadata. A file that is replaced keeps its permissions.

        Parameters
        ----------
        path : path-like
        metadata : mapping of str to values of JSON, optional
            What you want to find again in the attribute `metadata` of the loaded model: names of features and classes, units, the
            commit that trained it. It becomes that of this model too; None: what this model has.

        Raises
        ------
        OSError
            If the file cannot be written; the existing file is left as it was.
        TypeError, ValueError
            If `metadata` has other values than those of JSON, or more than a mebibyte of them, or a parameter is NaN or infinite.

        Examples
        --------
        >>> model = Model([Dense(3)], input_size=2)
        >>> model.save("model.safetensors", metadata={"classes": ["sit", "walk", "run"]})
        >>> Model.load("model.safetensors").metadata["classes"][0]
        'sit'
        """
        if metadata is not None:
            self.metadata = io.check_metadata(metadata)
        io.write(path, "model", self.description(), self.params.for_file())

    @classmethod
    def from_description(cls, description: dict[str, Any], arrays: Any, device: str = "cpu") -> "Model":
        """Return the model of a `description` with the given parameters, on a device.

        Parameters
        ----------
        description : dict
            As `description` returns it.
        arrays : mapping of str to array
            Parameters by name.
        device : {"cpu", "cuda"}

        Returns
        -------
        Model

        Raises
        ------
        ModelFileError
            If the description cannot be understood, or the arrays do not match it.
        DeviceError
            If the device cannot be used.
        """
        check_device(device)
        with io.understood("model"):
            layers = []
            for config in description["layers"]:
                options = dict(config)
                name = options.pop("type")
                if name not in LAYERS:
                    raise ModelFileError(f"the file has a layer {name!r}, which this version of numbarnn does not know")
                layers.append(LAYERS[name].from_config(options))
            size, dtype, seed = (description[name] for name in ("input_size", "dtype", "seed"))
            if dtype not in ("float32", "float64"):
                raise ValueError(f"dtype must be 'float32' or 'float64', got {brief(dtype)}")
            model = cls.without_weights(layers, size, dtype, seed, None, device, arrays=arrays)
        try:
            model.params.load(arrays)
        except ValueError as error:  # NaN
            raise ModelFileError(f"the file's parameters do not match its description: {error}") from None
        with io.understood("loss"):
            model.loss = loss_from_config(description.get("loss"))
        with io.understood("metadata"):
            model.metadata = io.check_metadata(description.get("metadata"))
        model._activation = description.get("output_activation", "softmax")
        if model._activation not in ("softmax", "sigmoid", None):
            raise ModelFileError(
                f"the file's output_activation is {model._activation!r}; softmax, sigmoid and null are known"
            )
        return model

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> "Model":
        """Return the model of a file that `save` wrote, wherever it was then, on a device.

        Parameters
        ----------
        path : path-like
        device : {"cpu", "cuda"}

        Returns
        -------
        Model

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it contains something else, is damaged, or needs a cell that is not registered.
        """
        return cls.from_description(*io.read(path, "model"), device)


def last_step_model(
    inputs: int, outputs: int, cell: str, hidden_size: int, *, seed, dtype, n_threads, device="cpu", **options
) -> Model:
    """Return a model that reads a sequence and gives `outputs` values after its last step."""
    layer = recurrent(cell, hidden_size, return_sequences=False, **options)
    return Model([layer, Dense(outputs)], inputs, dtype, seed, n_threads, device)
