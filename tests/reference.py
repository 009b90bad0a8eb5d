"""Answers and data of other people, for tests; see tests/data."""

import csv
import json
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"


def answers(case: str, file: str = "posterior_answers.json") -> dict:
    """The reference answer of a case."""
    return json.loads((DATA / file).read_text())["cases"][case]


def columns(name: str) -> dict:
    """Columns of a CSV file in tests/data, by name."""
    with open(DATA / name, newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
