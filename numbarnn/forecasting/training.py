"""Training of a forecaster's nets on what the linear path leaves."""

from numbarnn.checks import check_seed
from numbarnn.forecasting.choice import Prepared, best_of
from numbarnn.forecasting.net import Forecast, fitted_loss
from numbarnn.forecasting.settings import linear_of
from numbarnn.forecasting.targets import Source
from numbarnn.losses import make_loss
from numbarnn.model import last_step_model
from numbarnn.training.defaults import default_epochs, default_rate
from numbarnn.training.history import History
from numbarnn.training.rounds import NotBegun, Round, Rounds, Training, train
from numbarnn.training.trainer import Trainer


def train_rounds(settings, prepared: Prepared, targets, parts, callbacks, verbose) -> Rounds:
    """Return the forecast that is learned by the windows of `parts`, and the history of each of its nets; in rounds."""
    validation = parts.get("validation")
    if validation is None and settings.patience is not None:
        raise ValueError("patience needs a validation part: give split three parts")
    loss = fitted_loss(make_loss(settings.loss), Source(targets, prepared.panel.values, parts["train"]))
    forecast = Forecast([], loss, None if linear_of(settings) is None else best_of(prepared.linear))
    sources = prepared.sources(targets, parts, settings.batch_size)
    forecast.fit_scale(sources["train"])
    learned = {name: forecast.source(source) for name, source in sources.items() if name != "test"}
    epochs, patience = settings.epochs, settings.patience
    if epochs is None:
        epochs = default_epochs(len(learned["train"]))
    if patience is None:
        patience = max(1, epochs) if settings.epochs is not None else max(5, epochs // 8)
    rate = default_rate(settings.optimizer, settings.learning_rate)
    trainings = []
    for seed in range(check_seed(settings.seed), check_seed(settings.seed + settings.ensemble - 1) + 1):
        model = last_step_model(
            prepared.features.shape[1], loss.size(len(targets.center)), settings.cell, settings.hidden_size,
            num_layers=settings.num_layers, dropout=settings.dropout, recurrent_dropout=settings.recurrent_dropout, seed=seed,
            dtype=settings.dtype, n_threads=settings.n_threads, device=settings.device,
        )  # fmt: skip
        trainer = Trainer(
            model, loss, settings.optimizer, learning_rate=rate, schedule=settings.schedule, clip_norm=settings.clip_norm,
            average=settings.average, memory_limit=settings.memory_limit, seed=seed,
        )  # fmt: skip
        trainings.append(
            Training(
                trainer, learned["train"], epochs, learned.get("validation"), None if validation is None else patience,
                callbacks, verbose,
            )
        )  # fmt: skip
    outcomes = yield Round(lambda: trainings, lambda: train(trainings))
    histories: list[History] = []
    for training, outcome in zip(trainings, outcomes, strict=True):
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:  # Ctrl-C came before it began
            forecast.models.append(training.trainer.model)
            histories.append(outcome)
    if not histories:
        raise NotBegun
    if validation is not None:
        forecast.fit_share(sources["validation"], settings.n_threads)
    return forecast, histories
