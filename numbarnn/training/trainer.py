"""Training: batches in, optimizer steps out, epoch by epoch.

A step depends on the seed and the state of the trainer alone: the order of the samples is drawn from the seed and the epoch,
dropout masks from the seed and the number of passes. So a run can go on from a file of that state
(`numbarnn.training.checkpoint`) as if it had not been stopped.
"""

import os
import warnings
from collections.abc import Iterable
from typing import Any

from numbarnn.training.callbacks import Callback, EarlyStopping
from numbarnn.training.checkpoint import Checkpoint, set_state, settings_of, state_of
from numbarnn.training.fitting import Fitting
from numbarnn.training.history import History
from numbarnn.training.interrupts import deferred_interrupt
from numbarnn.training.progress import Progress
from numbarnn.training.steps import Steps


class Trainer(Steps):
    """Trains a network.

    Parameters
    ----------
    model : Network
        Trained in place.
    loss : str or Loss
        A name of `numbarnn.losses.LOSSES` or a loss.
    optimizer : str or Optimizer
        A name of `numbarnn.optim.OPTIMIZERS` or an optimizer.
    learning_rate : float, optional
        Of an optimizer given by name; an optimizer object has its own. None: 0.003 for "adam" and "adamw", for others
        their default.
    schedule : Schedule, optional
        Factor of the learning rate over time.
    clip_norm, clip_value : float, optional
        Limit of the gradient's Euclidean norm, or of its entries.
    tbptt : int, optional
        Truncated back-propagation through time: batches are cut into chunks of that many steps; states carry over from
        chunk to chunk, gradients do not, and every chunk is an optimizer step (Williams & Peng 1990 with k1 = k2).
        Needs targets for every step, and layers of one direction.
    memory_limit : int or str, optional
        Bytes that the activations of a batch (a chunk under `tbptt`) may take, or a str such as "300 MB"; see
        `Model.loss_and_grad`. What is learned is equal to the bit.
    accumulate : int
        Batches (chunks under `tbptt`) whose gradients make one optimizer step: the step of the batch that they are parts of, up
        to rounding, with every part weighted by its valid steps. What is left at the end of an epoch makes a step too.
    average : EMA or float, optional
        Exponential moving average of the weights (a number is its decay): validation scores the average, and training ends
        with it in the model unless ``EMA(final=False)``.
    seed : int
        Of the order of samples and of dropout.
    n_threads : int, optional
        Instead of the model's.
    comm : mpi4py.MPI.Comm, optional
        Processes that train one net together (extra ``mpi``), each of which makes this trainer and calls its
        methods alike, with the same arguments. Every rank is given the same source and takes every `size`-th sample of each batch;
        gradients are summed by their valid steps, in the order of the ranks. See the page on clusters.

    Attributes
    ----------
    epoch, step, passes : int
        Epochs, optimizer steps, and batches or chunks done.
    arrays : list of arrays
        The optimizer's state.
    average : array or None
        The average of the weights, from the first step on.
    pending : Pending
        What `accumulate` has gathered for the next step.
    statistics : StepStatistics
        Norms of gradients and updates in this epoch.
    state : tuple or None
        States carried into the next batch.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import LSTM, Dense, Model, Trainer
    >>> from numbarnn.data import ArraySource
    >>> x = np.random.default_rng(0).normal(size=(60, 8, 1))
    >>> trainer = Trainer(Model([LSTM(4), Dense(1)], input_size=1), "mse", "adam", clip_norm=1.0)
    >>> history = trainer.fit(ArraySource(x, x.cumsum(axis=1)), epochs=2, verbose=0)
    >>> history = trainer.fit(ArraySource(x, x.cumsum(axis=1)), epochs=1, verbose=0)  # one more, from there
    >>> trainer.epoch
    3
    """

    _progress = None

    def fit(
        self,
        source: Any,
        epochs: int | None = None,
        *,
        validation: Any = None,
        patience: EarlyStopping | int | None = None,
        seconds: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: Any = "5min",
        resume: bool | str = False,
        callbacks: Iterable[Callback] = (),
        verbose: int = 1,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        source : source or (x, y) tuple
            See `numbarnn.data.batches`; or any iterable of batches that can be iterated once an epoch.
        epochs : int, optional
            None: as many as make 3,000 optimizer steps, at most 200; at most 50 where every step has a target. Under `tbptt` a
            batch counts as one step. A source must have a length for it.
        validation : source, (x, y) tuple or float, optional
            Evaluated after every epoch; a fraction holds out the last samples of an array source.
        patience : int or EarlyStopping, optional
            Epochs without a better validation loss after which training ends, with the weights of the best epoch.
        seconds : float, optional
            Training ends with the batch that uses up this time, counted from the end of the first batch (which may have compiled
            kernels).
        checkpoint : path-like, optional
            File of all that training depends on: written before the first step, at the end of every epoch, in between as
            `checkpoint_every` says, and where training is interrupted.
        checkpoint_every : int, str or timedelta
            Optimizer steps, or a time: "30s", "5min", "1h".
        resume : bool or "auto"
            True: go on from the checkpoint; False: start a new run, and refuse to overwrite a checkpoint; "auto": go on where
            there is one.
        callbacks : iterable of Callback
        verbose : int
            0: silent; 1: progress.

        Returns
        -------
        History

        Raises
        ------
        CheckpointError
            If the checkpoint is that of another model, optimizer, other data or settings; the message names what differs.
        FileExistsError, FileNotFoundError, ModelFileError
            If there is a checkpoint and `resume` is False, if there is none, or if it is damaged.
        OSError
            If the checkpoint cannot be written (before the first step, if its folder cannot be). The last one stays, training
            stops, and the model is as of the last step.
        ValueError
            If `memory_limit` is too small for a batch; the first one that does not fit raises.

        Notes
        -----
        Ctrl-C ends training after the step at hand: the model is that of the last whole step, and the history says
        "interrupted". A second Ctrl-C raises at once. With a checkpoint, SIGTERM too ends training after the step at hand; when the
        file is written, the process ends as it would have (where the program has a handler of its own for SIGTERM, that remains).

        A resumed run ends in the weights and the history (durations aside) of the run that was not stopped, to the bit, wherever
        it was killed and whatever the number of threads. Pass what the run was begun with; `epochs` counts from its beginning,
        and may be larger than before. `seconds` counts from the resumption, and callbacks start anew. Within an epoch, the batches
        that were done are drawn again and left out: what a source yields must depend on its generator alone, which is
        checked, and an iterator that can be read only once is refused.
        """
        given = {"validation": validation, "patience": patience, "seconds": seconds, "callbacks": callbacks}
        stored = {"checkpoint": checkpoint, "checkpoint_every": checkpoint_every, "resume": resume}
        fitting = Fitting(self, source, epochs, **given, **stored)
        shown = verbose if self.ranks.rank == 0 else 0
        self._progress = progress = Progress(shown, fitting.items, fitting.unit, fitting.epochs, seconds)
        try:
            fitting.tell_resumed(progress)
            with deferred_interrupt(terminated=fitting.file is not None) as interrupted:
                fitting.begin()
                while fitting.active:
                    fitting.begin_epoch()
                    fitting.end_epoch(fitting.train_epoch(progress, interrupted), progress)
        finally:
            progress.close()
            self._progress = None
        history = fitting.end()
        if history.stopped == "interrupted" and self.ranks.rank == 0:
            warnings.warn(
                f"training was interrupted after step {self.step}; the model is as of that step", stacklevel=3
            )
        return history

    def __repr__(self) -> str:
        return f"<Trainer of {self.model!r}, {self.loss.name}, {self.optimizer!r}, after step {self.step}>"

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trainer's state and the weights to a file, for loops of your own around `train_batch`.

        `fit` writes its own checkpoints, which store its position in the data too.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written; one that was there stays.
        """
        values, arrays = state_of(self)
        self.ranks.once(lambda: Checkpoint(path, settings_of(self)).write(self.step, values, arrays))

    def restore(self, path: str | os.PathLike[str]) -> "Trainer":
        """Set weights and state from a file of `save` or a checkpoint of `fit`, and return the trainer.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        CheckpointError
            If the file is that of another model, optimizer or other settings; the message names what differs.
        FileNotFoundError, ModelFileError
            If there is no file, or it is not a checkpoint or is damaged.
        """
        set_state(self, *self.ranks.once(Checkpoint(path, settings_of(self)).read))
        return self

    def say(self, text: str) -> None:
        """Print a line without disturbing the progress bar of a running `fit`; for callbacks. Of many ranks the first prints.

        Parameters
        ----------
        text : str
        """
        if self.ranks.rank > 0:
            return
        if self._progress is None:
            print(text, flush=True)
        else:
            self._progress.say(text)
