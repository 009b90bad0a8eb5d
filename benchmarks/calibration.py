"""Simulation-based calibration of the engines: of every quantity the p-value, whether it stays in its band, and pictures.

Three families by five engines are fifteen cells, each of ``--n`` data sets of 50 rows, cut into pieces of 50 that run in
``--cores`` processes. Every piece is a file in ``--folder``: run the same command again to go on, or with a larger ``--n``
for more data sets; after ``--minutes`` no piece is started any more. The 2000 data sets of a cell that are the default take
some 15 minutes on 16 cores. Cells can be named:

    python benchmarks/calibration.py --cores 16 --minutes 18 --folder calibration
    python benchmarks/calibration.py gibbs laplace --family Poisson --n 100

ADVI is an approximation; that it is not calibrated is shown, not hidden.
"""

import argparse
import json
import os
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # processes use the cores

import numpy as np
import preliz as pz

import bayesmix as bm
from bayesmix.calibration import BAND, Calibration

FAMILIES = {
    "Normal": bm.Mixture(bm.Normal(mu=pz.Normal(0, 4), sigma=bm.ScaledInverseChiSquared(6, 1.0)), 2),
    "MvNormal": bm.Mixture(bm.MvNormal(mu=pz.Normal(0, 4), cov=bm.InverseWishart(6, 3 * np.eye(2))), 2),
    "Poisson": bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 0.25)), 2),
}
ENGINES = {
    "nuts": (bm.nuts, {"engine_draws": 500, "cores": 1}),
    "laplace": (bm.laplace, {"engine_draws": 500}),
    "gibbs": (bm.gibbs, {"engine_draws": 500, "cores": 1}),
    "advi": (bm.advi, {"engine_draws": 500}),
    "mean-field advi": (bm.advi, {"engine_draws": 500, "method": "meanfield"}),
}
ROWS = 50
RANKED = 99  # draws that each truth is ranked among
PIECE = 50  # data sets in a file
FULL = 2000  # data sets of a cell, by default


# -- pieces -------------------------------------------------------------------------------------------------------------------
def settings(family: str, engine: str) -> str:
    """What pieces of one cell must have in common."""
    options = {name: value for name, value in ENGINES[engine][1].items() if name != "cores"}
    return f"{FAMILIES[family]}, {ROWS} rows, {RANKED} draws ranked, {engine} with {options}"


def run_piece(family: str, engine: str, piece: int, folder: Path) -> float:
    """Fit the data sets of a piece, write its file, and return the CPU seconds."""
    begin = time.process_time()
    call, options = ENGINES[engine]
    seed = [list(FAMILIES).index(family), list(ENGINES).index(engine), piece]
    found = bm.calibrate(
        FAMILIES[family], PIECE, n_obs=ROWS, engine=call, draws=RANKED, random_seed=np.random.default_rng(seed),
        progressbar=False, **options,
    )  # fmt: skip
    fits = found.tree["simulations"].dataset
    record = {
        "settings": settings(family, engine),
        "pit": {name: values.values[0].tolist() for name, values in found.tree["prior_sbc"].dataset.data_vars.items()},
        "converged": fits["converged"].values.tolist(),
        "verdict": fits["verdict"].values.tolist(),
        "failures": found.failures,
        "cpu_seconds": time.process_time() - begin,
    }
    path = file_of(folder, family, engine, piece)
    path.with_suffix(".part").write_text(json.dumps(record))
    path.with_suffix(".part").rename(path)  # a file is whole or not there
    return record["cpu_seconds"]


def file_of(folder: Path, family: str, engine: str, piece: int) -> Path:
    """Where a piece is."""
    return folder / f"{family}-{engine.replace(' ', '-')}-{piece:04d}.json"


def read_piece(path: Path, family: str, engine: str) -> dict:
    """The record of a piece; refuse one that was made with other settings."""
    record = json.loads(path.read_text())
    if record["settings"] != (now := settings(family, engine)):
        raise SystemExit(f"{path} was made with {record['settings']}, not with {now}; take another --folder.")
    return record


def run(cells: list, n: int, cores: int, minutes: float, folder: Path) -> None:
    """Run the pieces that have no file yet, the first of all cells before the second of any."""
    begin = time.perf_counter()
    tasks = [(*cell, piece) for piece in range(-(-n // PIECE)) for cell in cells]
    tasks = [task for task in tasks if not file_of(folder, *task).is_file()][::-1]
    print(f"{len(tasks)} pieces of {PIECE} data sets on {cores} cores", flush=True)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        running = {}
        while tasks or running:
            while tasks and len(running) < cores and time.perf_counter() - begin < 60 * minutes:
                task = tasks.pop()
                running[pool.submit(run_piece, *task, folder)] = task
            if not running:
                print(f"{len(tasks)} pieces are left after {minutes:g} minutes: run the same command again.")
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                family, engine, piece = running.pop(done)
                print(f"{family:9} {engine:16} piece {piece:3} {done.result():6.1f} CPU s", flush=True)


# -- results ------------------------------------------------------------------------------------------------------------------
def gather(family: str, engine: str, folder: Path) -> tuple[Calibration | None, float]:
    """All pieces of a cell as one calibration, and their CPU seconds."""
    prefix = file_of(folder, family, engine, 0).name[: -len("0000.json")]
    records = [read_piece(path, family, engine) for path in sorted(folder.glob(f"{prefix}[0-9]*.json"))]
    if not records:
        return None, 0.0
    parts = [
        Calibration.from_ranks(
            FAMILIES[family], engine, piece["pit"], piece["converged"], piece["verdict"], piece["failures"],
            draws=RANKED, n_obs=ROWS,
        )
        for piece in records
    ]  # fmt: skip
    return Calibration.combine(parts), sum(piece["cpu_seconds"] for piece in records)


def report(family: str, engine: str, found: Calibration, seconds: float, folder: Path):
    """Print a cell, draw its picture, and return its table."""
    table = found.table.assign(family=family, engine=engine, data_sets=found.n).rename_axis("quantity")
    converged = int(found.tree["simulations"].dataset["converged"].values.sum())
    print(
        f"\n{family}, {engine}: {found.n} data sets, {converged} converged, {len(found.failures)} failed, "
        f"{seconds / found.n:.2f} CPU s for each; {int((~table['inside']).sum())} of {len(table)} quantities leave their "
        f"simultaneous {BAND:.0%} bands"
    )
    for name, row in table.to_dict("index").items():
        where = "inside" if row["inside"] else f"OUTSIDE by {row['excess']:.3f}"
        print(f"  {name:16} p = {row['p_value']:.4f}  mean {row['mean']:.3f}  sd {row['sd']:.3f}  {where}")
    if found.failures:
        print(f"  the first failure: {found.failures[0]}")
    title = f"{family}, {engine}: {found.n} data sets, bands of {BAND:.0%} for all quantities together"
    found.plot(title=title).savefig(folder / f"{family}-{engine.replace(' ', '-')}.png", dpi=110)
    return table


if __name__ == "__main__":
    import pandas as pd

    parser = argparse.ArgumentParser(description="Simulation-based calibration of the engines.")
    parser.add_argument("engines", nargs="*", default=list(ENGINES), help=", ".join(ENGINES))
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--n", type=int, default=FULL, help=f"data sets of each cell, rounded up to {PIECE}s")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no piece after this time")
    parser.add_argument("--folder", type=Path, default=Path("calibration"), help="of pieces, pictures and table")
    asked = parser.parse_args()
    if unknown := set(asked.engines) - set(ENGINES):
        parser.error(f"there are no engines {', '.join(sorted(unknown))}; take {', '.join(ENGINES)}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    cells = [(family, engine) for family in FAMILIES if asked.family in (None, family) for engine in asked.engines]
    run(cells, asked.n, asked.cores, asked.minutes, asked.folder)
    tables = []
    for family, engine in cells:
        found, seconds = gather(family, engine, asked.folder)
        if found is not None:
            tables.append(report(family, engine, found, seconds, asked.folder))
    if tables:
        pd.concat(tables).to_csv(asked.folder / "calibration.csv")
        outside = sum(int((~table["inside"]).any()) for table in tables)
        print(
            f"\n{outside} of {len(tables)} cells leave their bands; a calibrated one does in {1 - BAND:.0%} of cases."
        )
