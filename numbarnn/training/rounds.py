"""Fits in rounds, so that the nets of many fits can be trained together.

A fit that trains nets is a generator: it yields a `Round` of nets to be trained, is sent what became of each, and goes on to the
next round, such as the nets of folds. `alone` runs a fit; `together` makes one fit of many, which trains the nets of all at once.
"""

import itertools
from collections.abc import Callable, Generator, Hashable
from functools import partial
from typing import Any, NamedTuple

from numbarnn.errors import DivergedError
from numbarnn.training.history import History
from numbarnn.training.trainer import Trainer


class Training(NamedTuple):
    """A net to be trained: a trainer, and arguments of `Trainer.fit`."""

    trainer: Trainer
    source: Any
    epochs: int
    validation: Any = None
    patience: Any = None
    callbacks: Any = ()
    verbose: int = 0


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


# What became of a training: its history, the error of a loss that is not finite, or None where Ctrl-C came before it began.
Outcome = History | DivergedError | None
Rounds = Generator[Round, list[Outcome], Any]


class NotBegun(KeyboardInterrupt):
    """Ctrl-C came before the training of the net of a fit began, while those of others were under way."""


def history_of(outcomes: list[Outcome]) -> History:
    """Return the history of the one net of a round; raise DivergedError or `NotBegun` where it has none."""
    (outcome,) = outcomes
    if outcome is None:
        raise NotBegun
    if isinstance(outcome, DivergedError):
        raise outcome
    return outcome


def train(trainings: list[Training]) -> list[Outcome]:
    """Return what becomes of nets, in order."""
    outcomes: list[Outcome] = []
    for trainer, source, epochs, *rest in trainings:
        if outcomes and isinstance(outcomes[-1], History) and outcomes[-1].stopped == "interrupted":
            break
        options = dict(zip(Training._fields[3:], rest, strict=True))
        try:
            outcomes.append(trainer.fit(source, epochs, **options))
        except DivergedError as error:
            outcomes.append(error)
    return outcomes + [None] * (len(trainings) - len(outcomes))


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
            for key, outcome in outcomes.items():
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
