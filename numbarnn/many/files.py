"""Files of many estimators: of each the description and the arrays that its own `save` stores.

Nothing that is read is executed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numbarnn import io
from numbarnn.checks import brief, check_seed
from numbarnn.errors import ModelFileError
from numbarnn.estimators import files as estimator_files
from numbarnn.forecasting import Forecaster
from numbarnn.forecasting import files as forecaster_files

VERSION = 1


def describe_members(members: Sequence[Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the description and the arrays of fitted estimators of one class."""
    found = [_describe(member) for member in members]
    arrays = {f"{number}.{name}": array for number, (_, own) in enumerate(found) for name, array in own.items()}
    return {"version": VERSION, "members": [about for about, _ in found], "of": _kind(type(members[0]))}, arrays


def _describe(member):
    if isinstance(member, Forecaster):
        return forecaster_files.describe(member, member._fitted())
    return member._description() if hasattr(member, "_description") else estimator_files.describe(member)


def _kind(cls):
    return "forecaster" if cls is Forecaster else cls.KIND


def members_of(description: Any, arrays: Any, kind: str, classes: Sequence[type], device: str) -> list[Any]:
    """Return the estimators of a file of some kind, which are of one of some classes.

    Raises
    ------
    ModelFileError
        If the file is from a later version, or contradicts itself.
    """
    version = description.get("version")
    if version != VERSION:
        raise ModelFileError(
            f"the file's {kind} has version {version!r}, this version of numbarnn reads {VERSION}; update numbarnn"
        )
    with io.understood(kind):
        cls = {_kind(one): one for one in classes}[description["of"]]
        members = description["members"]
        if not isinstance(members, list) or not members:
            raise ValueError(f"members must be a list of descriptions, got {brief(members)}")
        parts = [{} for _ in members]
        for name, array in arrays.items():
            number, _, own = name.partition(".")
            if not number.isdecimal() or number != str(int(number)):
                raise ValueError(f"array {name!r} is of no net: it must begin with the number of one")
            parts[int(number)][own] = array
        return [cls.from_description(about, own, device) for about, own in zip(members, parts, strict=True)]


def check_alike(members: Sequence[Any]) -> None:
    """Raise ValueError unless estimators read and give the same."""
    for member in members[1:]:
        for signal in (0, -1):
            one, other = members[0].model_.signals[signal], member.model_.signals[signal]
            if one != other:
                raise ValueError(f"nets of {one} and {other} in an ensemble")
        if hasattr(member, "classes_") and member.classes_.tolist() != members[0].classes_.tolist():
            raise ValueError("nets of different classes in an ensemble")
        if getattr(member, "_several", None) != getattr(members[0], "_several", None):
            raise ValueError("nets of one label and of several in an ensemble")


def random_states(own: Any, inner: Any, seed: int) -> list[int | None]:
    """Return the `random_state` of an ensemble and of its estimator as a file has them, for a generator the seed that it gave."""
    if own is not None:
        return [_plain(own, seed), _plain(inner, None)]
    return [None, _plain(inner, seed)]


def _plain(random_state, seed):
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return seed
    return None if random_state is None else int(random_state)


def random_states_of(description: Any) -> list[int | None]:
    """Return what `random_states` returned; raise ValueError unless it may be so."""
    own, inner = description["random_states"]
    return [None if value is None else check_seed(value) for value in (own, inner)]
