"""What more processes gain: ranks that train one net, and workers that train many.

    mpiexec -n 2 python benchmarks/clusters.py ranks      a step of a character model, 2 x 128 units, and what of it is exchange
    python benchmarks/clusters.py nets --workers 2        200 small nets over workers of Dask and of joblib's loky, one thread each

`ranks` prints one line; run it with one rank as well. `nets` needs some minutes; workers have done the work once before it counts.
"""

import argparse
import time

import numpy as np

import numbarnn as nr
from numbarnn.data import TokenStream


def ranks(arguments):
    """Print the time of a step and the part of it that ranks wait for each other or send."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    tokens = np.random.default_rng(0).integers(0, arguments.tokens, 200_000)
    size = arguments.hidden
    layers = [nr.OneHot(arguments.tokens), nr.LSTM(size, num_layers=2), nr.Dense(arguments.tokens)]
    trainer = nr.Trainer(nr.Model(layers, seed=0), clip_norm=1.0, comm=comm, n_threads=1)
    exchanged, reduce = [0.0], trainer.ranks.reduce

    def timed(*values):
        comm.Barrier()  # what ranks wait for the slower one is not the exchange
        started = time.perf_counter()
        found = reduce(*values)
        exchanged[0] += time.perf_counter() - started
        return found

    trainer.ranks.reduce = timed
    batches = list(TokenStream(tokens, arguments.batch, 50).batches())
    for batch in batches[:5]:
        trainer.train_batch(batch)
    exchanged[0], started = 0.0, time.perf_counter()
    for batch in batches[5 : 5 + arguments.steps]:
        trainer.train_batch(batch)
    step = (time.perf_counter() - started) / arguments.steps * 1e3
    part = exchanged[0] / arguments.steps * 1e3
    if comm.Get_rank() == 0:
        bytes_ = trainer.model.params.flat.nbytes
        print(
            f"{comm.Get_size()} ranks, batch {arguments.batch} x 50, 2 x {size} units, gradient {bytes_ / 1e6:.2f} MB: "
            f"{step:.2f} ms a step, {part:.2f} ms of them exchange"
        )


def nets(arguments):
    """Print seconds for all nets with that many workers, by Dask and by loky, and whether the weights are those of one process."""
    import joblib
    from distributed import Client, LocalCluster

    x = np.random.default_rng(0).normal(size=(256, 30, 2))
    y = x.sum(axis=2).cumsum(axis=1)[:, -1]
    layers = [nr.LSTM(16, return_sequences=False), nr.Dense(1)]
    options = {"loss": "mse", "epochs": arguments.epochs, "verbose": 0}

    def make(count):
        return [nr.Model(layers, input_size=2, seed=seed) for seed in range(count)]

    def weights(models):
        return np.stack([model.params.flat for model in models])

    def report(name, train):
        train(make(4 * arguments.workers))
        models, started = make(arguments.nets), time.perf_counter()
        found = train(models)
        seconds = time.perf_counter() - started
        models = models if found is None else found
        equal = expected is None or np.array_equal(weights(models), expected)
        print(
            f"{name}: {arguments.nets} nets in {seconds:.2f} s, weights {'equal' if equal else 'DIFFERENT'}", flush=True
        )
        return weights(models)

    expected = None
    expected = report(
        "one process, one thread", lambda models: nr.fit_many(models, (x, y), n_threads=1, **options) and None
    )
    local = {"n_workers": arguments.workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**local) as cluster, Client(cluster) as client:
        report(
            f"Dask, {arguments.workers}", lambda models: nr.fit_many(models, (x, y), client=client, **options) and None
        )

    def one(model):
        model.fit(x, y, n_threads=1, **options)
        return model

    with joblib.parallel_config("loky", n_jobs=arguments.workers):
        report(
            f"loky, {arguments.workers}",
            lambda models: joblib.Parallel()(joblib.delayed(one)(model) for model in models),
        )


def main():
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("ranks")
    part.set_defaults(function=ranks)
    for name, value in {"hidden": 128, "batch": 64, "tokens": 65, "steps": 50}.items():
        part.add_argument(f"--{name}", type=int, default=value)
    part = parts.add_parser("nets")
    part.set_defaults(function=nets)
    for name, value in {"workers": 2, "nets": 200, "epochs": 10}.items():
        part.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
