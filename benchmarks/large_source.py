"""Training on a file larger than memory may be: bytes of the process while an epoch runs, and the time of blocks and threads.

    python benchmarks/large_source.py --folder /tmp               # 8 GB, sparse: it takes no room on the disk
    python benchmarks/large_source.py --folder /tmp --gigabytes 2 --only parquet    # takes as much room
    python benchmarks/large_source.py --only prefetch

*epoch*: an epoch of `Model.fit` over a memory-mapped array of GRU(4) and a dense layer, with the checks before it and the
fingerprint of a checkpoint; seconds, and the most anonymous memory (RssAnon: what a file's pages are not part of) of the process in
the first and in the second half of the epoch's batches, above what it had before. *windows*: the same over windows of a table.
*parquet*: the same over windows of a Parquet file of row groups of 16.8 MB, with `ParquetSource` and `Prefetch`.
*prefetch*: an epoch of a source whose batches take about as long as its steps (they are decompressed), with and without a thread,
in turn.
"""

import argparse
import pathlib
import re
import statistics
import time
import zlib

import numpy as np

import numbarnn as nr
from numbarnn.training.callbacks import Callback

STEPS, FEATURES = 32, 64


def anonymous():
    """Return the anonymous memory of this process in MB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1e3 * 1.024


class Watch(Callback):
    """Notes the memory after every batch."""

    def __init__(self):
        self.seen, self.start = [], time.perf_counter()

    def on_train_begin(self, trainer):
        """Note when the checks are done."""
        self.checked = time.perf_counter() - self.start

    def on_batch_end(self, trainer, loss):
        """Note the memory."""
        self.seen.append(anonymous())


def net():
    """Return a small model of one target."""
    return nr.Model([nr.GRU(4, return_sequences=False), nr.Dense(1)], FEATURES, seed=1)


def epoch(folder, gigabytes, batch_size, windows):
    """Print seconds and memory of an epoch over a sparse file."""
    path = folder / "numbarnn-large.bin"
    rows = int(gigabytes * 1e9 / 4 / FEATURES) // STEPS * STEPS
    try:
        table = np.memmap(path, np.float32, "w+", shape=(rows, FEATURES))
        options = {"loss": "mse", "epochs": 1, "verbose": 0}
        x, y = table.reshape(-1, STEPS, FEATURES), np.zeros(rows // STEPS, np.float32)
        net().fit(x[:batch_size], y[:batch_size], batch_size=batch_size, **options)  # compiles
        model, watch, before = net(), Watch(), anonymous()
        start = time.perf_counter()
        if windows:
            made = nr.data.make_windows(table, STEPS, stride=STEPS, target=0)
            model.fit(made.source(batch_size, shuffle="blocks"), callbacks=[watch], **options)
        else:
            options |= {"checkpoint": folder / "numbarnn-large.ckpt", "checkpoint_every": "1h"}
            model.fit(x, y, batch_size=batch_size, shuffle="blocks", callbacks=[watch], **options)
        seconds = time.perf_counter() - start
    finally:
        path.unlink(missing_ok=True)
        (folder / "numbarnn-large.ckpt").unlink(missing_ok=True)
    report("windows" if windows else "arrays", table.nbytes, watch, before, seconds)


def parquet(folder, gigabytes, batch_size):
    """Print seconds and memory of an epoch over a Parquet file."""
    import pyarrow
    import pyarrow.parquet as pq

    path, generator, rows = folder / "numbarnn-large.parquet", np.random.default_rng(0), 1 << 16
    names = [f"c{column}" for column in range(FEATURES)]
    size, count = rows * FEATURES * 4, max(1, int(gigabytes * 1e9) // (rows * FEATURES * 4))
    try:
        schema = pyarrow.schema([(name, pyarrow.float32()) for name in names])
        with pq.ParquetWriter(path, schema, use_dictionary=False) as file:
            for _ in range(count):
                columns = generator.standard_normal((FEATURES, rows), np.float32)
                file.write_table(pyarrow.Table.from_arrays(list(map(pyarrow.array, columns)), schema=schema), rows)
        source = nr.data.ParquetSource(path, names, "c0", lookback=STEPS, stride=STEPS, batch_size=batch_size)
        net().fit([next(source.batches(generator))], loss="mse", epochs=1, verbose=0)  # compiles
        model, watch, before = net(), Watch(), anonymous()
        start = time.perf_counter()
        model.fit(nr.data.Prefetch(source), loss="mse", epochs=1, callbacks=[watch], verbose=0)
        seconds = time.perf_counter() - start
    finally:
        path.unlink(missing_ok=True)
    report("parquet", size * count, watch, before, seconds)


def report(name, size, watch, before, seconds):
    """Print a row of an epoch."""
    half = len(watch.seen) // 2
    most = [max(part) - before for part in (watch.seen[:half], watch.seen[half:])]
    growth = watch.seen[-1] - watch.seen[half]
    print(
        f"{name} | {size / 1e9:.1f} | {len(watch.seen)} | {watch.checked:.1f} | "
        f"{seconds:.1f} | {most[0]:.0f} | {most[1]:.0f} | {growth:+.1f} | {before + max(most):.0f}",
        flush=True,
    )


class Compressed:
    """Batches that are decompressed when they are needed."""

    def __init__(self, batches, batch_size):
        generator = np.random.default_rng(0)
        x = generator.integers(0, 4, (batch_size, STEPS, FEATURES)).astype(np.float32)
        self.shape, self.batches_ = x.shape, [zlib.compress(np.roll(x, n).tobytes(), 1) for n in range(batches)]

    def batches(self, generator):
        """Yield them in order."""
        for data in self.batches_:
            x = np.frombuffer(zlib.decompress(data), np.float32).reshape(self.shape)
            yield nr.data.Batch(x, x[:, -1, 0])


def prefetch(rounds):
    """Print seconds of an epoch with and without a thread that makes the batches."""
    source = Compressed(40, 1024)
    start = time.perf_counter()
    for _ in source.batches(None):
        pass
    alone = time.perf_counter() - start
    times, weights = {"without": [], "with": []}, []
    for turn in range(rounds + 1):
        for name, own in times.items():
            model = nr.Model([nr.GRU(32, return_sequences=False), nr.Dense(1)], FEATURES, seed=1, n_threads=1)
            start = time.perf_counter()
            model.fit(source if name == "without" else nr.data.Prefetch(source), loss="mse", epochs=1, verbose=0)
            weights.append(model.params.flat.copy())
            if turn:
                own.append(time.perf_counter() - start)
    same = all(np.array_equal(weights[0], other) for other in weights)
    without, own = (statistics.median(found) for found in times.values())
    print(f"{alone:.2f} | {without:.2f} | {own:.2f} | {without / own:.2f} | {same}", flush=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["epoch", "windows", "parquet", "prefetch"])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.only != "prefetch":
        print(
            "data | GB | batches | s checks | s in all | MB first half | MB second half | MB growth | MB RssAnon at most"
        )
        for windows in (False, True):
            if options.only in (None, "windows" if windows else "epoch"):
                epoch(options.folder, options.gigabytes, options.batch_size, windows)
        if options.only in (None, "parquet"):
            parquet(options.folder, options.gigabytes, options.batch_size)
    if options.only in (None, "prefetch"):
        print("s batches | s without | s with a thread | ratio | same bits")
        prefetch(options.rounds)


if __name__ == "__main__":
    main()
