"""char-rnn's model on a text, trained by each engine in turn, an epoch at a time, in processes of their own."""

import argparse
import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BATCH, STEPS, HIDDEN, LAYERS, HELD = 50, 50, 128, 2, 0.05


def numbarnn_run(text, n_threads):
    """Yield (seconds, nats on the held-out end) after every epoch."""
    import numbarnn
    from numbarnn.language.model import OPTIMIZER, SCHEDULE

    # Compiling, or loading what was compiled, is told among the start-up figures.
    numbarnn.CharLM("lstm", HIDDEN, LAYERS, n_threads=n_threads).fit(text[: 4 * BATCH * STEPS], 1, verbose=0)
    lm = numbarnn.CharLM("lstm", HIDDEN, LAYERS, n_threads=n_threads)
    cut = len(text) - int(len(text) * HELD)
    lm.fit(text[: 20 * BATCH * STEPS] + "".join(sorted(set(text))), 0, verbose=0)
    trainer = numbarnn.Trainer(lm.model, optimizer=OPTIMIZER, schedule=SCHEDULE, clip_value=5.0)
    stream = numbarnn.data.TokenStream(lm.vocabulary.encode(text[:cut]), BATCH, STEPS)
    held = lm.vocabulary.encode(text[cut:])
    validation = numbarnn.data.TokenStream(held, 1, 1000)
    while True:
        started = time.perf_counter()
        trainer.fit(stream, 1, verbose=0)
        yield time.perf_counter() - started, trainer.evaluate(validation)


def torch_run(text, n_threads):
    """Yield the same for torch, with its own modules and the same settings."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(n_threads)
    letters = sorted(set(text))
    index = {c: i for i, c in enumerate(letters)}
    tokens = torch.from_numpy(np.array([index[c] for c in text]))
    size = len(letters)
    cut = len(text) - int(len(text) * HELD)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(size, HIDDEN, LAYERS)
            self.dense = torch.nn.Linear(HIDDEN, size)
            for parameter in self.parameters():
                torch.nn.init.uniform_(parameter, -0.08, 0.08)
            for layer in range(LAYERS):
                getattr(self.lstm, f"bias_ih_l{layer}").data[HIDDEN : 2 * HIDDEN] = 1
                getattr(self.lstm, f"bias_hh_l{layer}").data[HIDDEN : 2 * HIDDEN] = 0

        def forward(self, x, state):
            h, state = self.lstm(torch.nn.functional.one_hot(x, size).float(), state)
            return self.dense(h), state

    net = Net()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=2e-3, alpha=0.95, eps=1e-8)
    entropy = torch.nn.CrossEntropyLoss()
    steps = (cut - 1) // BATCH
    steps -= steps % STEPS
    x = tokens[: BATCH * steps].reshape(BATCH, steps).T.contiguous()
    y = tokens[1 : BATCH * steps + 1].reshape(BATCH, steps).T.contiguous()
    epoch = 0
    while True:
        started = time.perf_counter()
        state = None
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.97 ** max(0, epoch - 9)
        for first in range(0, steps, STEPS):
            logits, state = net(x[first : first + STEPS], state)
            state = tuple(s.detach() for s in state)
            loss = entropy(logits.flatten(0, 1), y[first : first + STEPS].flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(net.parameters(), 5.0)
            optimizer.step()
        seconds = time.perf_counter() - started
        epoch += 1
        total = count = 0
        state = None
        with torch.inference_mode():
            held = tokens[cut:, None]
            for first in range(0, len(held) - 1, 1000):
                part = held[first : first + 1000][: len(held) - 1 - first]
                logits, state = net(part, state)
                target = held[first + 1 : first + 1 + len(part), 0]
                total += float(entropy(logits[:, 0], target)) * len(part)
                count += len(part)
        yield seconds, total / count


def train_longer(path, seconds, n_threads, say):
    """Train one configuration for some time on the first 90 %; return {"nats": the last, "curve": [(seconds, nats)]}.

    2 x 384 LSTM, dropout 0.4, Adam with a cosine from 2e-3 to zero over 20 epochs of 32 streams in chunks of 100; the last 10 %
    are scored after every epoch, and decide nothing.
    """
    import numbarnn
    from numbarnn.training.callbacks import Callback

    text = path.read_text("utf-8")
    cut = len(text) - len(text) // 10
    epochs, samples, chunk = 20, 32, 100
    steps = epochs * ((cut - 1) // samples // chunk)
    lm = numbarnn.CharLM("lstm", 384, 2, dropout=0.4, init="keras", n_threads=n_threads)
    curve, started = [], time.perf_counter()

    class Score(Callback):
        def on_epoch_end(self, trainer, record):
            nats = lm.score(text[cut:]).nats
            curve.append((time.perf_counter() - started, nats))
            say(f"epoch {record['epoch']}: {curve[-1][0]:.0f} s, loss {record['loss']:.4f}, last 10 % {nats:.4f} nats")

    whole = "".join(sorted(set(text)))  # the vocabulary, without the held-out text
    lm.fit(whole, 0, batch_size=1, seq_length=10, validation=0, verbose=0)
    lm.fit(
        text[:cut], epochs, batch_size=samples, seq_length=chunk, validation=0, optimizer=numbarnn.optim.Adam(2e-3),
        schedule=numbarnn.optim.Cosine(steps), clip_value=None, clip_norm=1.0, seconds=seconds, callbacks=[Score()], verbose=0,
    )  # fmt: skip
    return {"seconds": time.perf_counter() - started, "nats": lm.score(text[cut:]).nats, "curve": curve}


RUNS = {"numbarnn": numbarnn_run, "torch": torch_run}


def compare(path, peers, say, epochs=3, n_threads=2):
    """Train with every engine, in turn by epochs; return {"engines": {name: {"seconds", "nats", "curve"}}, ...}."""
    engines = {}
    for name in ("numbarnn", *peers):
        command = [
            sys.executable,
            str(HERE / "shakespeare.py"),
            str(path),
            "--worker",
            name,
            "--threads",
            str(n_threads),
        ]
        engines[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)
    found = {name: {"seconds": 0.0, "nats": math.nan, "curve": []} for name in engines}
    for epoch in range(epochs):
        for name, process in engines.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds, nats = json.loads(process.stdout.readline())
            found[name]["seconds"] += seconds
            found[name]["nats"] = nats
            found[name]["curve"].append(nats)
            say(f"epoch {epoch + 1}: {name} {seconds:.1f} s, {nats:.4f} nats per character on the held-out end")
    for process in engines.values():
        process.stdin.close()
        process.wait()
    for name in peers:
        say(f"numbarnn takes {found['numbarnn']['seconds'] / found[name]['seconds']:.2f} of the time of {name}")
    return {"epochs": epochs, "threads": n_threads, "engines": found}


def main():
    """Serve as a worker, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--worker", choices=RUNS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="instead train a larger model on the first 90 %% for so long")
    options = parser.parse_args()
    if options.minutes:
        result = train_longer(options.file, 60 * options.minutes, options.threads, lambda line: print(line, flush=True))
        print(f"{result['nats']:.4f} nats per character on the last 10 % after {result['seconds']:.0f} s")
        return
    if not options.worker:
        peers = [name for name in RUNS if name != "numbarnn" and importlib.util.find_spec(name)]
        compare(options.file, peers, print, options.epochs, options.threads)
        return
    run = RUNS[options.worker](options.file.read_text("utf-8"), options.threads)
    for _ in sys.stdin:
        print(json.dumps(next(run)), flush=True)


if __name__ == "__main__":
    main()
