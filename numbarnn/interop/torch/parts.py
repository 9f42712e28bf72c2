"""The parts of a torch module, in the order in which they were assigned, to layers."""

from torch import nn

from numbarnn.interop.chain import Chain
from numbarnn.interop.torch.arrays import array_of
from numbarnn.layers import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding

KINDS = (
    nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.Embedding, nn.Linear, nn.Dropout, nn.Tanh, nn.ReLU,
    nn.Sigmoid, nn.Identity, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
RECURRENT = {RNN: (nn.RNN, nn.RNNCell), LSTM: (nn.LSTM, nn.LSTMCell), GRU: (nn.GRU, nn.GRUCell)}


def chain_of(module) -> tuple[Chain, nn.Module | None]:
    """Return the chain of a module's parts, and its last softmax, if any."""
    chain = Chain("torch module")
    parts = list(_parts(module, "", chain))
    softmax = parts[-1][1] if parts and isinstance(parts[-1][1], (nn.Softmax, nn.LogSoftmax)) else None
    for where, part in parts[:-1] if softmax is not None else parts:
        _add(chain, where, part)
    return chain, softmax


def _parts(module, where, chain):
    """Yield the parts of a module that are converted, with their names."""
    if isinstance(module, KINDS):
        yield where, module
        return
    own = [name for name, _ in module.named_parameters(recurse=False)]
    children = list(module.named_children())
    if own or not children:
        what = f"has parameters of its own ({', '.join(own)})" if own and children else "has no counterpart in numbarnn"
        chain.reasons.append(f"{where or 'the module'} ({type(module).__name__}) {what}")
        return
    for name, child in children:
        yield from _parts(child, f"{where}.{name}" if where else name, chain)


def _add(chain, where, part):
    """Append a part to a chain."""
    arrays = {name: array_of(tensor) for name, tensor in part.state_dict().items()}
    named = f"{where or 'the module'} ({type(part).__name__})"
    if isinstance(part, nn.Identity):
        return
    if isinstance(part, (nn.Softmax, nn.LogSoftmax)):
        chain.reasons.append(f"{named} is not the last part; probabilities are made of the outputs alone")
        return
    if isinstance(part, (nn.RNNBase, nn.RNNCellBase)):
        _add_recurrent(chain, named, part, arrays)
        return
    if isinstance(part, nn.Embedding):
        if part.max_norm is not None:
            chain.reasons.append(f"{named} renormalizes its vectors (max_norm={part.max_norm:g})")
        layer = chain.make(named, Embedding, part.num_embeddings, part.embedding_dim)
    elif isinstance(part, nn.Linear):
        layer = chain.make(named, Dense, part.out_features, part.bias is not None)
    elif isinstance(part, nn.Dropout):
        layer = chain.make(named, Dropout, float(part.p))
    else:
        layer = Activation(type(part).__name__.lower())
    if layer is not None:
        chain.add(layer, **arrays)


def _add_recurrent(chain, named, part, arrays):
    """Append a recurrent part to a chain."""
    if getattr(part, "proj_size", 0):
        chain.reasons.append(f"{named} projects its states (proj_size={part.proj_size})")
        return
    kind = next(kind for kind, theirs in RECURRENT.items() if isinstance(part, theirs))
    options = {"bias": bool(part.bias)} | ({"activation": part.nonlinearity} if kind is RNN else {})
    if isinstance(part, nn.RNNBase):
        options |= {
            "num_layers": part.num_layers,
            "bidirectional": part.bidirectional,
            "dropout": float(part.dropout) if part.num_layers > 1 else 0.0,
        }
    else:
        arrays = {f"{name}_l0": array for name, array in arrays.items()}
    layer = chain.make(named, kind, part.hidden_size, **options)
    if layer is not None:
        chain.add(layer, **arrays)
