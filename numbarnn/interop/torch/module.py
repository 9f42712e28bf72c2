"""The torch module of a model."""

import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from numbarnn.interop.refusal import named_layers
from numbarnn.layers import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, OneHot, Pool, Recurrent

RECURRENT = {RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "logistic": torch.sigmoid}


# Options whose values, other than these, torch does not have.
OWN = {
    "activation": ("tanh", "relu"), "peepholes": (False,), "coupled": (False,), "fix": (None, {}), "reset_after": (True,),
    "merge": ("concat",),
}  # fmt: skip


def reasons_against(model) -> Iterator[str]:
    """Yield what of a model torch has no counterpart of."""
    for where, layer in named_layers(model):
        if type(layer) in RECURRENT:
            for option, values in OWN.items():
                if hasattr(layer, option) and getattr(layer, option) not in values:
                    yield f"{where} has {option}={getattr(layer, option)!r}"
        elif type(layer) not in (Dense, Embedding, OneHot, Activation, Dropout, Pool):
            yield f"{where} has no counterpart in torch"


class RecurrentModule(nn.Module):
    """The layers of a `numbarnn.Model`, with its weights, in torch.

    Parameters
    ----------
    model : Model

    Notes
    -----
    `forward` takes x, states and lengths as `numbarnn.Model.forward`, as tensors, and returns outputs and states.
    """

    def __init__(self, model):
        super().__init__()
        self.layers, self.names = model.layers, model.names
        dtype = getattr(torch, model.dtype.name)
        for name, layer, signal in zip(model.names, model.layers, model.signals, strict=False):
            if isinstance(layer, Recurrent):
                if layer.recurrent_dropout:
                    warnings.warn(
                        f"{name}: torch has no recurrent dropout; the module trains without it",
                        UserWarning,
                        stacklevel=3,
                    )
                options = {"nonlinearity": layer.activation} if isinstance(layer, RNN) else {}
                part = RECURRENT[type(layer)](
                    signal.size, layer.hidden_size, layer.num_layers, bias=bool(layer.bias), batch_first=True,
                    dropout=layer.dropout if layer.num_layers > 1 else 0.0, bidirectional=layer.bidirectional, **options,
                )  # fmt: skip
            elif isinstance(layer, Dense):
                part = nn.Linear(signal.size, layer.size, layer.bias)
            elif isinstance(layer, Embedding):
                part = nn.Embedding(layer.size, layer.features)
            elif isinstance(layer, Dropout):
                part = nn.Dropout(layer.rate)
            else:
                continue
            self.add_module(name, part.to(dtype))
        values = {name: torch.tensor(array) for name, array in model.params.items()}
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                layer = model.layers[model.names.index(name.partition(".")[0])]
                ours = name + "_reverse" if getattr(layer, "reverse", False) else name
                parameter.copy_(values[ours] if ours in values else torch.zeros_like(parameter))  # of bias="single"

    def forward(self, x, state=None, lengths=None):
        """Return outputs and the final states of the recurrent layers; arguments as of `numbarnn.Model.forward`."""
        valid = None
        if lengths is not None:
            lengths = torch.as_tensor(lengths, device=x.device)
            valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        states, final = iter(() if state is None else state), []
        y = x
        for name, layer in zip(self.names, self.layers, strict=True):
            if isinstance(layer, Recurrent):
                y, end = self._recurrent(name, layer, y, None if state is None else next(states), lengths)
                final.append(end)
            elif isinstance(layer, OneHot):
                y = nn.functional.one_hot(y, layer.size).to(next(self.parameters()).dtype)
            elif isinstance(layer, Pool):
                y = _pooled(y, layer.kind, lengths, valid)
            elif isinstance(layer, Activation):
                y = _activated(y, layer.activation)
            elif isinstance(layer, Dropout) and layer.same_over_time and y.ndim == 3:
                y = y * self.get_submodule(name)(torch.ones_like(y[:, :1]))
            else:
                y = self.get_submodule(name)(y)
                y = _activated(y, layer.activation) if isinstance(layer, Dense) and layer.activation else y
        if valid is not None and y.ndim == 3:
            y = torch.where(valid[..., None], y, torch.zeros_like(y))
        return y, tuple(final)

    def _recurrent(self, name, layer, x, state, lengths):
        """Return outputs, of all steps or at the end, and states of a recurrent layer."""
        part, samples, steps = self.get_submodule(name), x.shape[0], x.shape[1]
        shape = layer.state_shape(samples)
        start = tuple(x.new_zeros(shape) for _ in layer.state_names) if state is None else tuple(state)
        given = start if isinstance(layer, LSTM) else start[0]
        whole = lengths if lengths is not None else torch.full((samples,), steps, device=x.device)
        x = _reversed(x, whole) if layer.reverse else x
        if lengths is None:
            y, end = part(x, given)
        else:
            packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
            y, end = part(packed, given)
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=steps)
        y = _reversed(y, whole) if layer.reverse else y
        end = end if isinstance(layer, LSTM) else (end,)
        empty = whole == 0
        end = tuple(torch.where(empty[None, :, None], before, after) for before, after in zip(start, end, strict=True))
        if not layer.return_sequences:
            last = end[0][-layer.directions :]
            y = torch.where(empty[:, None], torch.zeros_like(x[:, 0, :1]), torch.cat(list(last), dim=-1))
        return y, end


def _activated(x, name):
    """Return an activation of a tensor."""
    return x if name == "identity" else ACTIVATIONS[name](x)


def _reversed(x, lengths):
    """Return the valid steps of every sample in reverse, the padding where it was."""
    steps = torch.arange(x.shape[1], device=x.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return torch.take_along_dim(x, index[..., None], dim=1)


def _pooled(x, kind, lengths, valid):
    """Return one vector a sample of its valid steps."""
    if valid is None:
        return {"mean": lambda: x.mean(1), "max": lambda: x.amax(1), "last": lambda: x[:, -1]}[kind]()
    mask, some = valid[..., None], (lengths > 0)[:, None]
    if kind == "mean":
        return torch.where(mask, x, torch.zeros_like(x)).sum(1) / lengths.clamp(min=1)[:, None]
    if kind == "max":
        pooled = torch.where(mask, x, torch.full_like(x, -torch.inf)).amax(1)
    else:
        pooled = torch.take_along_dim(x, (lengths.clamp(min=1) - 1)[:, None, None], dim=1)[:, 0]
    return torch.where(some, pooled, torch.zeros_like(pooled))
