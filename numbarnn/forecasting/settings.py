"""What the settings of a forecaster may be."""

from numbarnn.checks import brief, check_choice, check_dtype, check_flag, check_integer, naming
from numbarnn.data.calendar import check_features, check_holidays
from numbarnn.data.scaling import METHODS
from numbarnn.data.windowing import MISSING
from numbarnn.forecasting.frames import names_of
from numbarnn.layers.kinds import recurrent
from numbarnn.losses import NegativeBinomial, PointwiseLoss, make_loss
from numbarnn.training.callbacks import early_stopping

# Rows ahead of the newest whose times are made one by one; a file must not ask for more than memory has.
FARTHEST = 2**20


def check_settings(forecaster) -> None:
    """Raise TypeError or ValueError for settings that do not work, whatever the data."""
    check_flag("Forecaster", "recursive", forecaster.recursive)
    if isinstance(forecaster.season, str):
        check_choice(forecaster.season, "season", ("auto",))
    elif forecaster.season is not None:
        check_integer(forecaster.season, "season", 1)
    for name in ("lookback", "delay", "horizon", "step", "batch_size", "ensemble"):
        check_integer(getattr(forecaster, name), name, 1)
    check_dtype(forecaster.dtype)
    options = ("num_layers", "dropout", "recurrent_dropout")
    recurrent(forecaster.cell, forecaster.hidden_size, **{name: getattr(forecaster, name) for name in options})
    early_stopping(forecaster.patience)
    check_choice(forecaster.scaling, "scaling", METHODS)
    check_choice(forecaster.scale, "scale", ("series", "all"))
    with naming("calendar", "features"):
        check_features(forecaster.calendar)
    for name, choices in (("change", ("auto",)), ("linear", ("auto", "all", "shared"))):
        check_choice(getattr(forecaster, name), name, choices, none=True)
    check_loss(forecaster)
    check_comparison(forecaster, forecaster.difference, forecaster.relative, forecaster.recenter)
    check_choice(forecaster.missing, "missing", (*MISSING, "mask"))
    check_choice(forecaster.irregular, "irregular", ("error", "elapsed"))
    check_choice(forecaster.handle_unknown, "handle_unknown", ("error", "ignore"))
    check_flag("Forecaster", "wide", forecaster.wide)
    if forecaster.wide and forecaster.id is not None:
        raise ValueError("give wide=True or id, not both: a wide table has a column for each series")
    check_holidays(forecaster.holidays)
    for name in ("future", "static", "categories"):
        names_of(getattr(forecaster, name), name)
    if forecaster.delay + forecaster.horizon > FARTHEST:
        raise ValueError(
            f"delay + horizon must be at most {FARTHEST:,} rows, got {forecaster.delay + forecaster.horizon:,}"
        )


def check_loss(forecaster) -> None:
    """Raise TypeError or ValueError unless the loss is one of values, and the other settings go with it."""
    loss = make_loss(forecaster.loss)
    if not isinstance(loss, PointwiseLoss) or loss.output_activation is not None:
        raise ValueError(
            "loss must be one of values, such as 'mse', 'mae', 'huber', 'quantile', 'gaussian' or 'negative_binomial', got "
            f"{brief(forecaster.loss)}"
        )
    if not isinstance(loss, NegativeBinomial):
        return
    for name in ("difference", "relative", "recenter"):
        if getattr(forecaster, name):
            raise ValueError(f"loss {loss.name!r} is one of counts, which have no {name}; leave {name} out")
    if forecaster.linear in ("all", "shared"):
        raise ValueError(f"loss {loss.name!r} is one of counts, which no linear path gives; set linear=None")


def check_comparison(forecaster, difference, relative, recenter) -> None:
    """Raise TypeError or ValueError unless at most one of these says what the targets of a forecaster are compared with."""
    check_flag("Forecaster", "recenter", recenter)
    for name, value in (("difference", difference), ("relative", relative)):
        if value is not None:
            check_integer(value, name, 1)
    given = [
        name
        for name, value in (("difference", difference), ("relative", relative), ("recenter", recenter or None))
        if value is not None
    ]
    if len(given) > 1:
        raise ValueError(f"give {given[0]} or {given[1]}, not both: both say what the targets are compared with")
    if relative is not None and relative > forecaster.lookback:
        raise ValueError(f"relative must be at most lookback ({forecaster.lookback}), got {relative}")


def is_counts(forecaster) -> bool:
    """Return whether the targets are counts, which are learned as they are."""
    return isinstance(make_loss(forecaster.loss), NegativeBinomial)


def linear_of(forecaster) -> str | None:
    """Return the linear path that is asked for; counts have none."""
    return None if is_counts(forecaster) else forecaster.linear


def check_ahead(forecaster, encoding) -> None:
    """Raise ValueError for inputs that would have to be known of rows whose values or times are not."""
    unknown = not encoding.future and encoding.usual is not None
    if encoding.holidays and unknown:
        raise ValueError(
            "holidays needs the times of rows ahead, which irregular='elapsed' does not know; name a column that is known ahead in "
            "future, or leave holidays out"
        )
    if not forecaster.recursive:
        return
    if unknown:
        raise ValueError(
            "recursive=True needs the times of rows ahead, which irregular='elapsed' does not know; name a column that is known "
            "ahead in future, or set recursive=False"
        )
    for name in encoding.categories:
        if name not in (*encoding.future, *encoding.static):
            raise ValueError(
                f"recursive=True forecasts numbers, and the category {name!r} is not known ahead; name it in future or static, "
                "leave it out, or set recursive=False"
            )


def check_inputs(argument, given, names, targets) -> None:
    """Raise KeyError or ValueError unless the columns that an argument names are columns of the data, and no targets."""
    for name in given:
        if name not in names:
            raise KeyError(f"{argument} {name!r} is not a column of data, which has {', '.join(map(repr, names[:12]))}")
        if name in targets:
            raise ValueError(f"{argument} {name!r} is a target; name the targets of fit, and leave it out")
