"""Fits in rounds, so that the nets of many fits can be trained together.

A fit that trains nets is a generator: it yields a `Round` of nets to be trained, is sent what became of each, and goes on to the
next round, such as the nets of folds. `alone` runs a fit; `together` makes one fit of many, which trains the nets of all at once.
"""

import itertools
import warnings
from collections.abc import Callable, Generator, Hashable
from functools import partial
from typing import Any, NamedTuple

from numbarnn.core.warned import warn
from numbarnn.data.ragged import RaggedSource
from numbarnn.errors import DivergedError
from numbarnn.training.history import History
from numbarnn.training.many import fit_trainers
from numbarnn.training.trainer import Trainer


class Training(NamedTuple):
    """A net to be trained: a trainer, arguments of `Trainer.fit`, and whether the fit is nothing without it."""

    trainer: Trainer
    source: Any
    epochs: int
    validation: Any = None
    patience: Any = None
    callbacks: Any = ()
    verbose: int = 0
    needed: bool = True


class Round(NamedTuple):
    """Nets that a fit wants to be trained.

    Attributes
    ----------
    trainings : function
        Returns the trainings; called where the nets of many fits are trained together.
    alone : function
        Trains the nets of this fit alone, and returns what `train` does.
    """

    trainings: Callable[[], list[Training]]
    alone: Callable[[], list["Outcome"]]


# What became of a training: its history, its error, or None where Ctrl-C came before it began.
Outcome = History | Exception | None
Rounds = Generator[Round, list[Outcome], Any]


class NotBegun(KeyboardInterrupt):
    """Ctrl-C came before the training of the net of a fit began, while those of others were under way."""


def history_of(outcomes: list[Outcome]) -> History:
    """Return the history of the one net of a round; raise its error, or `NotBegun`, where it has none."""
    (outcome,) = outcomes
    if outcome is None:
        raise NotBegun
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def train(trainings: list[Training]) -> list[Outcome]:
    """Return what becomes of nets that are trained together, each as alone, to the bit.

    Where a net fails without which its fit is nothing, the others are not trained to the end.
    """
    if len(trainings) > 1 and any(training.callbacks for training in trainings):
        return _in_turn(trainings)  # a callback that all share has a state, of one run at a time
    begun = [training.trainer.step for training in trainings]
    try:
        found = _outcomes(trainings)
    except (DivergedError, TypeError, ValueError) as error:
        index = 0 if len(trainings) == 1 else getattr(error, "net", None)
        if index is None:
            raise
        return [error if number == index else None for number in range(len(trainings))]
    steps = [training.trainer.step for training in trainings]
    ended = [isinstance(outcome, History) and outcome.stopped == "interrupted" for outcome in found]
    if any(training.needed for training in trainings) and any(ended):
        whole = zip(steps, found, strict=True)
        warn(f"training was interrupted after {_where([step for step, own in whole if isinstance(own, History)])}")
    lost = [early and step == first for early, step, first in zip(ended, steps, begun, strict=True)]
    return [None if own else outcome for own, outcome in zip(lost, found, strict=True)]


def _in_turn(trainings):
    """Return what becomes of nets that are trained one after another, up to Ctrl-C."""
    outcomes = []
    for training in trainings:
        outcomes += train([training])
        if outcomes[-1] is None or isinstance(outcomes[-1], Exception) or outcomes[-1].stopped == "interrupted":
            break
    return outcomes + [None] * (len(trainings) - len(outcomes))


def _where(steps):
    """Return the steps of nets in words."""
    if len(steps) == 1:
        return f"step {steps[0]}; the model is as of that step"
    low, high = min(steps), max(steps)
    return f"{f'step {low}' if low == high else f'steps {low} to {high}'} of {len(steps)} nets; they are as of then"


def _outcomes(trainings):
    """Return histories of nets, and errors of those that diverged and are not needed; one net alone may have callbacks."""
    trainers, sources, *rest = zip(*(training[:-2] for training in trainings), strict=True)
    epochs, validation, patience, callbacks = map(list, rest)
    verbose = max(training.verbose for training in trainings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "training was interrupted", UserWarning)
        if len(trainings) == 1:
            options = {"validation": validation[0], "patience": patience[0], "callbacks": callbacks[0]}
            return [trainers[0].fit(sources[0], epochs[0], **options, verbose=verbose)]
        # Nets of arrays run together, those of samples of different lengths one after another.
        sources = [source.as_arrays() if isinstance(source, RaggedSource) else source for source in sources]
        needed = [training.needed for training in trainings]
        options = {"validation": validation, "patience": patience, "needed": needed}
        return fit_trainers(trainers, sources, epochs, **options, verbose=verbose, name=None)


def alone(fit: Rounds) -> Any:
    """Return what a fit returns, whose nets are trained as it says itself."""
    go_on, outcomes = fit.send, None
    while True:
        try:
            asked = go_on(outcomes)
        except StopIteration as end:
            return end.value
        try:
            go_on, outcomes = fit.send, asked.alone()
        except BaseException as error:  # for the fit, which leaves nothing half done
            go_on, outcomes = fit.throw, error


def together(fits: dict[Hashable, Rounds]) -> Rounds:
    """Return what fits return, by their keys, whose nets of each round are trained together; in rounds.

    Those whose nets were not begun when Ctrl-C came are left out.

    Raises
    ------
    Exception
        Whatever one of the fits raises; all others are closed, so that they leave nothing half done.
    NotBegun
        If no net was begun when Ctrl-C came.
    """
    ended: dict[Hashable, Any] = {}
    outcomes: dict[Hashable, Any] = dict.fromkeys(fits)
    try:
        while outcomes:
            asked = {}
            # Those that failed first: after an error the rest is of no use.
            for key, outcome in sorted(outcomes.items(), key=lambda item: not _failed(item[1])):
                try:
                    asked[key] = fits[key].send(outcome)
                except StopIteration as end:
                    ended[key] = end.value
                except NotBegun:
                    continue
            wanted = {key: one.trainings() for key, one in asked.items()}
            trainings = [training for some in wanted.values() for training in some]
            if trainings:
                found = iter((yield Round(partial(list, trainings), partial(train, trainings))))
            outcomes = {key: list(itertools.islice(found, len(some))) for key, some in wanted.items()}
    finally:
        for fit in fits.values():
            fit.close()
    if not ended:
        raise NotBegun
    return {key: ended[key] for key in fits if key in ended}


def _failed(outcomes):
    return outcomes is not None and any(isinstance(outcome, Exception) for outcome in outcomes)
