"""Seconds of an epoch of one net in numbarnn and in torch, which `labelling.py` and `labelling_ctc.py` time in turn.

Both engines get the same samples, sizes, batches, dropout, optimizer (Adam), limit of the gradient and threads, and each has a
process of its own. An epoch goes from lists of samples to the last optimizer step; the first one, which compiles or warms up, does
not count. For torch, samples become tensors before the clock starts, batches are padded and packed; it has no dropout on the
recurrence, and neither engine has an average of the weights here.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy as np

from numbarnn.data import WordFeatures


def seconds_of(epoch, count):
    """Return the seconds of some calls after a first one."""
    epoch()
    found = []
    for _ in range(count):
        started = time.perf_counter()
        epoch()
        found.append(time.perf_counter() - started)
    return found


def numbarnn_seconds(net, x, y, count):
    """Return the seconds of some epochs of an estimator."""
    net.set_params(epochs=1, patience=None, warm_start=True, schedule=None, average=None, verbose=0)
    return seconds_of(lambda: net.fit(x, y), count)


def torch_seconds(net, x, y, count):
    """Return the seconds of some epochs of the net that an estimator would make, in torch."""
    import torch
    from torch import nn
    from torch.nn.utils import rnn

    options = net.get_params()
    torch.set_num_threads(options["n_threads"])
    torch.manual_seed(0)
    ctc_net, sequence = hasattr(net, "decode"), "pooling" in options
    pooling, table = options.get("pooling"), None
    if isinstance(x[0][0], str):
        table = (options["tokens"] or WordFeatures()).learn(word for sentence in x for word in sentence)
        # Token 0 is torch's padding, which adds nothing.
        x = [torch.tensor(table.encode(sentence) + 1) for sentence in x]
    else:
        x = [torch.tensor(np.asarray(sample, np.float32)) for sample in x]
    labels = sorted({label for item in y for label in ([item] if sequence else item)})
    index = {label: number + ctc_net for number, label in enumerate(labels)}  # CTC has the blank first
    y = [torch.tensor(index[item] if sequence else [index[label] for label in item], dtype=torch.long) for item in y]
    hidden, both = options["hidden_size"], 1 + options["bidirectional"]
    ctc = nn.CTCLoss(zero_infinity=options.get("infeasible") == "zero") if ctc_net else None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            size = x[0].shape[1]
            if table is not None:
                size = options["embedding_size"]
                self.embedding = nn.Embedding(len(table) + 1, size, padding_idx=0)
            kind = {"gru": nn.GRU, "lstm": nn.LSTM}[options["cell"]]
            layers = options["num_layers"]
            between = options["dropout"] if layers > 1 else 0.0
            self.recurrent = kind(size, hidden, layers, batch_first=True, bidirectional=both == 2, dropout=between)
            self.dense = nn.Linear(both * hidden, len(labels) + ctc_net)
            self.before, self.after = nn.Dropout(options["input_dropout"]), nn.Dropout(options["dropout"])

        def forward(self, x, lengths):
            if table is not None:
                x = self.embedding(x).sum(dim=2)
            packed = rnn.pack_padded_sequence(self.before(x), lengths, batch_first=True, enforce_sorted=False)
            outputs, last = self.recurrent(packed)
            if pooling == "last":
                last = last[0] if options["cell"] == "lstm" else last
                h = last[-both:].transpose(0, 1).flatten(1)
            else:
                h, _ = rnn.pad_packed_sequence(outputs, batch_first=True)
            if pooling == "mean":
                h = h.sum(dim=1) / lengths[:, None]
            return self.dense(self.after(h))

    def loss_of(outputs, target, lengths):
        if ctc_net:
            counts = torch.tensor([len(labels_of) for labels_of in target])
            return ctc(outputs.log_softmax(dim=2).transpose(0, 1), torch.cat(target), lengths, counts)
        target = torch.stack(target) if sequence else rnn.pad_sequence(target, batch_first=True, padding_value=-100)
        return nn.functional.cross_entropy(outputs.reshape(-1, len(labels)), target.reshape(-1))

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), options["learning_rate"])

    def epoch():
        for rows in torch.randperm(len(x)).split(options["batch_size"]):
            batch = [x[row] for row in rows]
            lengths = torch.tensor([len(sample) for sample in batch])
            outputs = model(rnn.pad_sequence(batch, batch_first=True), lengths)
            loss = loss_of(outputs, [y[row] for row in rows], lengths)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options["clip_norm"])
            optimizer.step()

    return seconds_of(epoch, count)


ENGINES = {"numbarnn": numbarnn_seconds, "torch": torch_seconds}


def add_options(parser):
    """Add the options of `in_turn` and `answer` to a parser."""
    parser.add_argument("--speed", action="store_true", help="time epochs beside torch instead")
    parser.add_argument("--rounds", type=int, default=2, help="of --speed: processes of each engine, in turn")
    parser.add_argument("--engine", choices=list(ENGINES), help="time this engine once and print seconds as JSON")
    parser.add_argument("--threads", type=int, default=2)


def answer(options, net, x, y):
    """Print the seconds of epochs of one engine, as `in_turn` reads them."""
    print(json.dumps(ENGINES[options.engine](net, list(x), list(y), options.epochs or 3)))


def in_turn(name, options, command):
    """Run a command for each engine in turn, and print the medians of the seconds of an epoch."""
    found = {engine: [] for engine in ENGINES}
    for _ in range(options.rounds):
        for engine, seconds in found.items():
            whole = [sys.executable, *command, "--engine", engine, "--threads", str(options.threads)]
            done = subprocess.run(whole, check=True, stdout=subprocess.PIPE, text=True)
            seconds += json.loads(done.stdout.splitlines()[-1])
    medians = {engine: statistics.median(seconds) for engine, seconds in found.items()}
    shown = ", ".join(f"{engine} {seconds:.3g} s" for engine, seconds in medians.items())
    ratio = medians["torch"] / medians["numbarnn"]
    print(f"{name}: {shown} an epoch; numbarnn is {ratio:.2f} times as fast", flush=True)
