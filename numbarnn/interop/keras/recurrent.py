"""Recurrent layers of Keras, in one direction and in both, to layers."""

from numbarnn.interop.gates import suffixes
from numbarnn.interop.keras.arrays import ours
from numbarnn.interop.keras.description import reasons_not_own
from numbarnn.interop.keras.names import RECURRENT
from numbarnn.interop.keras.part import Part, activation_of
from numbarnn.layers import Dropout

# Options in which both directions of a layer must agree.
ALIKE = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "return_sequences", "stateful")


def recurrent(part: Part) -> None:
    """Append a recurrent layer of one direction."""
    config, options = part.config, {}
    if config.get("go_backwards"):
        if config["return_sequences"]:
            raise ValueError(
                "go_backwards with return_sequences gives its outputs from the last step to the first, numbarnn in the order "
                "of the input"
            )
        options["reverse"] = True
    _append(part, part.kind, config, [part.weights()], options)


def bidirectional(part: Part) -> None:
    """Append a recurrent layer of both directions."""
    inner, mode = part.config["layer"], part.config.get("merge_mode")
    kind, config = inner["class_name"], inner["config"]
    if kind not in RECURRENT or mode not in ("concat", "sum"):
        raise ValueError(
            f"of {kind} with merge_mode={mode!r}: SimpleRNN, LSTM and GRU with 'concat' or 'sum' are known"
        )
    other = part.config.get("backward_layer") or inner
    for description in (inner, other):
        part.chain.reasons += reasons_not_own(description, f"the layer of {part.where}")
        part.check(description["config"])
    if other["class_name"] != kind or any(other["config"].get(key) != config.get(key) for key in ALIKE):
        raise ValueError("its two directions are not alike")
    if config.get("go_backwards"):
        raise ValueError("its forward layer has go_backwards=True")
    arrays = [part.weights("forward_layer"), part.weights("backward_layer")]
    _append(part, kind, config, arrays, {"bidirectional": True, "merge": mode})


def _append(part, kind, config, arrays, options):
    """Append a recurrent layer with the weights of its directions."""
    if config.get("stateful"):
        raise ValueError("stateful=True keeps states from one call to the next; numbarnn takes them as an argument")
    if kind != "SimpleRNN" and (config["activation"], config["recurrent_activation"]) != ("tanh", "sigmoid"):
        raise ValueError(
            f"activation={config['activation']!r} and recurrent_activation={config['recurrent_activation']!r} are not 'tanh' "
            "and 'sigmoid'"
        )
    options |= {
        "bias": "single" if config["use_bias"] else False,
        "return_sequences": config["return_sequences"],
        "recurrent_dropout": float(config.get("recurrent_dropout", 0.0)),
    }
    if kind == "SimpleRNN":
        options["activation"] = activation_of(config["activation"])
    if kind == "GRU":
        options["reset_after"] = config["reset_after"]
        if config["use_bias"] and config["reset_after"]:
            options["bias"] = True
    if config.get("dropout"):
        part.append(Dropout, float(config["dropout"]), same_over_time=True)
    named = {}
    for suffix, found in zip(suffixes(len(arrays) == 2, options.get("reverse", False)), arrays, strict=True):
        parameters = ours(RECURRENT[kind].__name__, found, config["use_bias"], config.get("reset_after"))
        named |= {name + suffix: array for name, array in parameters.items()}
    part.append(RECURRENT[kind], config["units"], arrays=named, **options)
