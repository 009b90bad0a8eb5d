"""Check that notebooks are committed executed, without errors, and below 1 MB.

The docs show notebooks as they are committed, so an unexecuted one would show no result.
Usage: python scripts/check_notebooks.py notebooks/*.ipynb
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 1_000_000


def complaints(path: Path) -> Iterator[str]:
    """Yield one sentence for each reason not to commit the notebook."""
    size = path.stat().st_size
    if size >= MAX_BYTES:
        yield f"has {size:,} bytes, the limit is {MAX_BYTES:,}: save smaller figures or print less"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells, start=1):
        if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
            continue
        if cell["execution_count"] is None:
            yield f"cell {number} was not executed: run `make notebooks`"
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                yield f"cell {number} ended in {output['ename']}: {output['evalue']}"


def main(paths: list[str]) -> int:
    """Print the complaints about each notebook; return 1 if there are any."""
    found = [f"{path}: {complaint}" for path in paths for complaint in complaints(Path(path))]
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
