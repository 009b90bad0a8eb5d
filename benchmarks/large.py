"""Print the cost of a pass of EM over data that are not in memory: CPU seconds, and peak memory above what was there.

Run from the root of the repository: ``python benchmarks/large.py`` (a minute), ``python benchmarks/large.py --full``
(10 million rows by 10 columns and 100 million by 2: 1.6 GB in a temporary folder, removed afterwards). Each line is a
new process with one thread for linear algebra. Memory is what the operating system counts as resident, file pages
included. Files have just been written, so that they come from the page cache rather than from a disk.
"""

import argparse
import functools
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

import bayesmix as bm  # noqa: E402
from bayesmix.chunks import NO_WEIGHTS, source_of  # noqa: E402
from bayesmix.likelihood.streamed import PieceStatistics, add_statistics  # noqa: E402

CHUNK = 200_000  # rows of a Dask chunk


def write(path, n, d, k, dtype):
    """Rows of k clusters, in blocks."""
    rng = np.random.default_rng(0)
    centres = 3.0 * rng.normal(size=(k, d))
    with open(path, "wb") as file:
        for start in range(0, n, CHUNK):
            rows = min(CHUNK, n - start)
            values = rng.standard_normal((rows, d)) + centres[rng.integers(k, size=rows)]
            values.astype(dtype).tofile(file)


def visit_at(d, k):
    """The pass at some parameters."""
    rng = np.random.default_rng(0)
    cov = np.repeat(np.eye(d)[None], k, axis=0)
    params = {"weights": np.full(k, 1 / k), "mu": 3.0 * rng.normal(size=(k, d)), "cov": cov}
    return PieceStatistics(bm.MvNormal(), params)


def resident(key):
    """VmRSS or VmHWM, in MB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def measure(label, prepare, one_pass, d, k, passes=2):
    """Prepare, then time passes; print CPU and wall seconds per pass and the peak of memory over all of it."""
    if "Dask" in label:
        import dask.array  # noqa: F401  (its import is no part of the cost)
    visit = visit_at(d, k)
    visit(np.random.default_rng(0).normal(size=(5000, d)), 0, NO_WEIGHTS)  # compiled, or loaded from the cache
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    cpu = time.process_time()
    prepared = prepare()
    ready = time.process_time() - cpu
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(passes):
        found = one_pass(prepared, visit)
    cpu, wall = (time.process_time() - cpu) / passes, (time.perf_counter() - wall) / passes
    print(
        f"{label:<46}{cpu:8.2f} CPU s {wall:8.2f} s per pass; {ready:6.2f} CPU s before; peak +{resident('VmHWM') - before:7.0f} MB"
        f"   log-likelihood {found[0]:.10g}",
        flush=True,
    )


# -- what is measured --------------------------------------------------------------------------------------------------------
def mapped(path, n, d, dtype):
    return np.memmap(path, dtype=dtype, mode="r", shape=(n, d))


class Blocks:
    """The protocol of `bm.em`: ``shape``, and ``blocks()`` from the first row on."""

    def __init__(self, path, n, d, dtype):
        self.shape, self._path, self._dtype = (n, d), path, dtype

    def blocks(self):
        n, d = self.shape
        with open(self._path, "rb") as file:
            for start in range(0, n, 20_000):
                yield np.fromfile(file, self._dtype, min(20_000, n - start) * d).reshape(-1, d)


def ours(source, visit):
    return source.fold(visit, add_statistics)


def chunks_of_file(path, n, d, dtype):
    """Dask array whose chunks read their own part of the file."""
    import dask
    import dask.array as da

    def part(start, rows):
        return np.fromfile(path, dtype, rows * d, offset=start * d * np.dtype(dtype).itemsize).reshape(rows, d)

    parts = [
        da.from_delayed(dask.delayed(part)(s, min(CHUNK, n - s)), (min(CHUNK, n - s), d), dtype)
        for s in range(0, n, CHUNK)
    ]
    return da.concatenate(parts)


def chunks_of_map(path, n, d, dtype):
    """What one writes first: Dask hashes the whole map for its name, through resident pages."""
    import dask.array as da

    return da.from_array(mapped(path, n, d, dtype), chunks=(CHUNK, d))


def fused_in_threads(x, visit):
    """The fused pass on each chunk, all chunks handed to Dask's threads at once."""
    import dask

    parts = [dask.delayed(visit)(chunk, 0, NO_WEIGHTS) for chunk in x.to_delayed().ravel()]
    return functools.reduce(add_statistics, dask.compute(*parts, scheduler="threads"))


def expressions_in_threads(x, visit):
    """EM written in dask.array, as one would in NumPy: every operation makes arrays of the size of a chunk."""
    import dask
    import dask.array as da

    weights, mu, cov = (visit.params[name] for name in ("weights", "mu", "cov"))
    factor = np.linalg.inv(np.linalg.cholesky(cov))
    squared = [(((x - mu[j]) @ factor[j].T) ** 2).sum(axis=1) for j in range(len(mu))]
    constant = np.log(weights) + np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    joint = constant - 0.5 * da.stack(squared, axis=1) - 0.5 * np.log(2 * np.pi) * x.shape[1]
    top = joint.max(axis=1, keepdims=True)
    density = da.exp(joint - top)
    total = density.sum(axis=1, keepdims=True)
    r = density / total
    second = [((x - mu[j]) * r[:, j : j + 1]).T @ (x - mu[j]) for j in range(len(mu))]
    return dask.compute((top + da.log(total)).sum(), r.sum(axis=0), r.T @ x, *second, scheduler="threads")


def cluster(path, n, d, k, dtype, workers, passes):
    """Seconds per pass with chunks held by workers, and the bytes that travel."""
    import pickle

    import distributed

    with (
        distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        source = source_of(chunks_of_file(path, n, d, dtype), client=client)
        visit = visit_at(d, k)
        one_pass = source.fold(visit, add_statistics)
        wall = time.perf_counter()
        for _ in range(passes):
            source.fold(visit, add_statistics)
        wall = (time.perf_counter() - wall) / passes
        moved = len(source._groups) * (len(pickle.dumps(visit)) + len(pickle.dumps(one_pass)))
        tiny = time.perf_counter()
        for _ in range(20):
            client.gather([client.submit(len, b"", pure=False) for _ in range(workers)])
        tiny = (time.perf_counter() - tiny) / 20
    size = n * d * np.dtype(dtype).itemsize
    print(
        f"{workers} worker{'s' * (workers > 1)} of one thread: {wall:.3f} s per pass, of which {1e3 * tiny:.1f} ms for "
        f"tasks that do nothing; {moved / 1e3:.1f} kB travel per pass, where the data are {size / 1e6:.0f} MB",
        flush=True,
    )


def alone(function, *arguments):
    """Run in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()


def case(name, path, n, d, k, dtype, passes):
    shape = (path, n, d, dtype)
    prepare, one_pass = {
        "memory-mapped file": (lambda: source_of(mapped(*shape)), ours),
        "object with blocks()": (lambda: source_of(Blocks(*shape)), ours),
        "Dask chunks, one at a time": (lambda: source_of(chunks_of_file(*shape)), ours),
        "Dask, fused pass in its threads": (lambda: chunks_of_file(*shape), fused_in_threads),
        "Dask from_array(memmap), fused pass in threads": (lambda: chunks_of_map(*shape), fused_in_threads),
        "Dask, dask.array expressions in threads": (lambda: chunks_of_file(*shape), expressions_in_threads),
    }[name]
    measure(name, prepare, one_pass, d, k, passes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="10 million rows by 10, and 100 million by 2")
    parser.add_argument("--rows", type=int, help="rows of the first file (10 columns, float64)")
    parser.add_argument("--long-rows", type=int, help="rows of the second (2 columns, float32)")
    parser.add_argument("--passes", type=int, default=2)
    options = parser.parse_args()
    n = options.rows or (10_000_000 if options.full else 1_000_000)
    long = options.long_rows or (100_000_000 if options.full else 5_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide"
        write(path, n, 10, 10, "f8")
        print(f"{n} rows by 10 columns, float64, 10 components, full covariances")
        for name in (
            "memory-mapped file",
            "object with blocks()",
            "Dask chunks, one at a time",
            "Dask, fused pass in its threads",
            "Dask from_array(memmap), fused pass in threads",
            "Dask, dask.array expressions in threads",
        ):
            alone(case, name, path, n, 10, 10, "f8", options.passes)
        for workers in (1, 2):
            alone(cluster, path, n, 10, 10, "f8", workers, 5)
        path.unlink()
        path = Path(folder) / "long"
        write(path, long, 2, 5, "f4")
        print(f"{long} rows by 2 columns, float32, 5 components, full covariances")
        alone(case, "memory-mapped file", path, long, 2, 5, "f4", 1)


if __name__ == "__main__":
    main()
