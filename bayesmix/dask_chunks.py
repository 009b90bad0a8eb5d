"""Chunks of Dask collections as sources: computed here one at a time, or visited on the workers that hold them."""

import functools
import sys
from typing import Any

import numpy as np

from .arrays import _column_names, _is_a, dataarray_columns, dataset_columns
from .chunks import NO_WEIGHTS, Source, _matrix, _rows_of_piece, fold_block


def source_of_dask(data: Any, client: Any = None) -> Source:
    """Make a source of a Dask array or frame, or of an xarray object made of Dask arrays.

    With a client, or where one is the default of this process, chunks are held and visited by its workers.
    """
    collection, names = _collection(data)
    client = client or _default_client()
    if _is_a(collection, "dask.dataframe", "DataFrame"):
        parts, n_features, sizes = collection.to_delayed(optimize_graph=True), len(collection.columns), None
    else:
        collection = collection if collection.ndim == 2 else collection[:, None]
        if collection.numblocks[1] > 1:
            collection = collection.rechunk({1: -1})
        parts, n_features = collection.to_delayed(optimize_graph=True).ravel(), int(collection.shape[1])
        sizes = None if np.isnan(collection.chunks[0]).any() else [int(n) for n in collection.chunks[0]]
    if client is not None:
        return ChunksOnWorkers(client, list(parts), n_features, names, sizes)
    return ChunksHere(list(parts), n_features, names, sizes)


def _collection(data):
    """The Dask array or frame behind some data, and the names of its columns."""
    if _is_a(data, "dask.dataframe", "Series"):
        data = data.to_frame()
    if _is_a(data, "dask.dataframe", "DataFrame"):
        names = _column_names(data.columns)
        if names is not None and len(set(names)) < len(names):
            raise ValueError(f"column names must be distinct, but they are {', '.join(names)}.")
        return data, names
    names = None
    if _is_a(data, "xarray", "DataArray"):
        data, names = dataarray_columns(data)
        data = data.data
    elif _is_a(data, "xarray", "Dataset"):
        import dask.array as da

        variables = dataset_columns(data)
        names = tuple(str(name) for name in variables)
        data = da.stack([da.asarray(variable.data) for variable in variables.values()], axis=1)
    if data.ndim not in (1, 2):
        raise ValueError(f"the data are a {data.ndim}-D Dask array; pass 1 or 2 dimensions, (obs, feature).")
    return data, names


def _default_client():
    """The client that Dask would use in this process, if there is one; none inside a task."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.Client.current(allow_global=True)
    except ValueError:
        return None


class ChunksHere(Source):
    """Chunks computed one at a time in the calling thread, so that one of them is in memory.

    The graph is optimised once and cut into a small one for each chunk.
    """

    def __init__(self, parts: list, n_features: int, names: tuple | None, sizes: list[int] | None):
        from dask.optimization import cull
        from dask.utils import ensure_dict

        self.n_features, self.names = n_features, names
        graph = ensure_dict(parts[0].__dask_graph__()) if parts else {}
        self._parts = [(cull(graph, [part.key])[0], part.key) for part in parts]
        self.sizes = [len(self.chunk(i)) for i in range(len(self._parts))] if sizes is None else sizes
        self.n_obs = sum(self.sizes)

    def blocks(self):
        """One chunk after another."""
        for i in range(len(self._parts)):
            yield _matrix(self.chunk(i))

    def chunk(self, i: int) -> Any:
        """One chunk, as Dask has it."""
        from dask.local import get_sync

        graph, key = self._parts[i]
        return get_sync(graph, [key])[0]


class ChunksOnWorkers(Source):
    """Chunks that stay with the workers of a cluster: what is found in them travels, the rows do not.

    One task per worker thread and pass visits the chunks of its worker. The scheduler keeps the recipe of each chunk:
    when a worker is lost, what it held is computed again on the others.
    """

    def __init__(self, client: Any, parts: list, n_features: int, names: tuple | None, sizes: list[int] | None):
        self.n_features, self.names = n_features, names
        self._client = client
        self._chunks = client.compute(parts)
        self.sizes = client.gather(client.map(len, self._chunks, pure=False)) if sizes is None else sizes
        self.n_obs = sum(self.sizes)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(int)
        self._weights: list = [NO_WEIGHTS] * len(self._chunks)
        self._groups = self._by_worker()

    def blocks(self):
        """Chunks brought here one after another: for what cannot be done where they are."""
        for i in range(len(self._chunks)):
            yield _matrix(self.chunk(i))

    def chunk(self, i: int) -> Any:
        """One chunk, brought here as Dask has it."""
        return self._client.gather(self._chunks[i])

    def weigh(self, weights):
        """Give each row a weight, which travels once, to where the row is."""
        self.weights = weights
        self._weights = [
            self._client.submit(
                np.array,
                weights[start:stop],
                workers=[worker] if worker else None,
                allow_other_workers=bool(worker),
                pure=False,
            )
            for start, stop, worker in zip(self._starts[:-1], self._starts[1:], self._owners(), strict=True)
        ]

    def fold(self, visit, add):
        """Visit the chunks where they are, and add up in their order."""
        tasks = [
            self._client.submit(
                fold_chunks,
                [self._chunks[i] for i in group],
                [self._weights[i] for i in group],
                [int(self._starts[i]) for i in group],
                [int(self.sizes[i]) for i in group],
                self.n_features,
                visit,
                add,
                self.order,
                pure=False,
            )
            for group in self._groups
        ]
        return functools.reduce(add, self._client.gather(tasks))

    def _owners(self) -> list[str]:
        """The worker that holds each chunk."""
        held = self._client.who_has(self._chunks)
        return [next(iter(held.get(chunk.key) or ("",))) for chunk in self._chunks]

    def _by_worker(self) -> list[list[int]]:
        """Numbers of the chunks that lie on the same worker, in as many groups as it has threads.

        Where one holds more than twice its share, as after another was lost, chunks are moved first.
        """
        from distributed import wait

        wait(self._chunks)
        threads = self._client.nthreads()
        owners = self._owners()
        share = -(-len(owners) // max(1, len(threads)))
        if max(owners.count(worker) for worker in set(owners)) > 2 * share:
            self._client.rebalance(self._chunks)
            owners = self._owners()
        groups = []
        for worker in set(owners):
            chunks = [i for i, owner in enumerate(owners) if owner == worker]
            n = min(threads.get(worker, 1), len(chunks))
            groups += [list(map(int, part)) for part in np.array_split(chunks, n)]
        return sorted(groups)


def fold_chunks(chunks, weights, starts, sizes, n_features, visit, add, order=None):
    """Fold over the chunks of one worker; see `Source.fold`."""
    total, buffer = None, np.empty(_rows_of_piece(n_features) * n_features)
    for chunk, own, start, size in zip(chunks, weights, starts, sizes, strict=True):
        block = _matrix(chunk)
        if block.shape != (size, n_features):
            raise ValueError(
                f"the chunk that begins at row {start} has shape {block.shape}, but ({size}, {n_features}) was expected."
            )
        total = fold_block(block, start, own, visit, add, total, buffer, order)
    return total
