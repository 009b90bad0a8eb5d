"""CPU seconds that `import bayesmix` adds to NumPy and xarray, which its users import anyway.

Medians of interleaved runs in new interpreters, so that a busy machine slows both alike.
Usage: python benchmarks/import_time.py
"""

import subprocess
import sys
from statistics import median

RUNS = 7
BASE = "import numpy, xarray"
FULL = "import numpy, xarray, bayesmix"


def cpu_seconds(statement: str) -> float:
    code = f"import time; start = time.process_time(); {statement}; print(time.process_time() - start)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    for statement in (BASE, FULL):  # once unmeasured: fills the file cache and writes byte code
        cpu_seconds(statement)
    runs = [(cpu_seconds(BASE), cpu_seconds(FULL)) for _ in range(RUNS)]
    base, full = median(run[0] for run in runs), median(run[1] for run in runs)
    print(f"{BASE:<32}{base:8.3f} s")
    print(f"{FULL:<32}{full:8.3f} s")
    print(f"{'bayesmix adds':<32}{full - base:8.3f} s")


if __name__ == "__main__":
    main()
