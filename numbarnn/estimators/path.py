"""How an estimator gets its linear path: a regression on summaries, and nets of folds that choose its share in the outputs."""

import sys
import warnings
from dataclasses import replace
from functools import partial

import numpy as np

from numbarnn.core import seeds
from numbarnn.core.ragged import Ragged
from numbarnn.core.warned import warn
from numbarnn.errors import DivergedError
from numbarnn.estimators.linear import explains, is_small, summaries
from numbarnn.estimators.share import SHARES, best_share, folds, mixed_losses
from numbarnn.training.rounds import Round, Rounds, history_of


class PathMixin:
    """What estimators with a linear path have beside `numbarnn.estimators.base.SequenceEstimator`."""

    def _path_targets(self, source):
        """Return targets (samples, outputs) and weights (samples,) of a source for a regression on them; None: there is none."""
        raise NotImplementedError

    def _fitted_path(self, rows, target, weight):
        """Return the linear path that is learned from summaries, and the share of what is unknown that it explains."""
        raise NotImplementedError

    def _losses(self, outputs, target):
        """Return the loss (n,) of outputs (n, outputs), by which a share is chosen."""
        raise NotImplementedError

    def _linear_path(self, source, learned, held, epochs, history, strata=None) -> Rounds:
        """Return the linear path of samples of a source, with the share that is best on held-out samples, or None; in rounds.

        Ctrl-C ends the choice of the share.

        Parameters
        ----------
        learned : indices of samples
        held : (source, indices), optional
            Samples by which training ended; None: nets are trained without the samples of a fold in turn.
        epochs : int, optional
            Of those nets.
        history : History
            Of the net; says "interrupted" where the choice was.
        strata : (samples,) array, optional
            The class of every sample of the source.
        """
        found = self._path_targets(source)
        if found is None:
            return None
        target, weight = found
        learned = learned[weight[learned] > 0]
        if not is_small(len(learned), self.model_.signals[0].size):
            return None
        rows = summaries(source.x)
        path, explained = self._fitted_path(rows[learned], target[learned], weight[learned])
        if not explains(explained, weight[learned]):
            return None
        if held is not None:
            losses = [self._losses_of_shares(path, *held)]
        else:
            losses = [np.empty((len(SHARES), 0))]
            own = None if strata is None else strata[learned]
            parts = folds(len(learned), own, seeds.generator(self.seed_, "holdout"))
            rests = [np.delete(learned, fold) for fold in parts]
            nets, sources = [self._with_new_model() for _ in parts], [source.part(rest, True) for rest in rests]
            outcomes = yield Round(
                partial(self._trainings_of_folds, nets, sources, epochs),
                partial(self._train_folds, nets, sources, epochs),
            )
            for net, fold, rest, outcome in zip(nets, parts, rests, outcomes, strict=True):
                if isinstance(outcome, DivergedError):  # which says nothing of the net, whose training ended well
                    continue
                if outcome is None or history_of([outcome]).stopped == "interrupted":
                    history.stopped = "interrupted"
                    continue
                out = learned[fold]
                if strata is not None:  # of a class that neither of the two knows, both know nothing
                    out = out[np.isin(strata[out], strata[rest])]
                part, _ = self._fitted_path(rows[rest], target[rest], weight[rest])
                losses.append(net._losses_of_shares(part, source, out))
            if history.stopped == "interrupted":
                warn(
                    "the choice of the share of the linear path was interrupted; the net is trained whole, and the share is that "
                    "of the folds before, or a half"
                )
        share = best_share(np.concatenate(losses, axis=1))
        return replace(path, share=share) if share else None

    def _trainings_of_folds(self, nets, sources, epochs):
        pairs = zip(nets, sources, strict=True)
        return [net._training(source, epochs, self.average)._replace(needed=False) for net, source in pairs]

    def _train_folds(self, nets, sources, epochs):
        """Return what became of the nets of folds, one after another up to Ctrl-C."""
        outcomes = []
        for number, (net, source) in enumerate(zip(nets, sources, strict=True), 1):
            if self.verbose:
                sys.stderr.write(f"share of the linear path: net {number} of {len(nets)}\n")
                sys.stderr.flush()
            try:
                outcomes.append(net._train_silently(source, epochs))
            except DivergedError as error:
                outcomes.append(error)
                continue
            if outcomes[-1].stopped == "interrupted":
                break
        return outcomes + [None] * (len(nets) - len(outcomes))

    def _train_silently(self, source, epochs):
        """Train on a source, and return the history, without a word of how it ended."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "training was interrupted", UserWarning)
            return self._train(source, epochs, self.average)

    def _losses_of_shares(self, path, source, out):
        """Return the weighted losses (shares, n) of held-out samples of a source."""
        target, weight = self._path_targets(source)
        out = out[weight[out] > 0]
        x = source.x.take(out) if isinstance(source.x, Ragged) else source.x[out]
        net, line = self._net_outputs(x), path.outputs(summaries(x))
        return mixed_losses(net, line, lambda outputs: weight[out] * self._losses(outputs, target[out]))
