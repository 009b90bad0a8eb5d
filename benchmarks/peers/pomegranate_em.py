"""Time EM iterations of pomegranate from a given start: ``python pomegranate_em.py FOLDER``.

The folder is described in mclust.R beside this file. pomegranate computes in single precision, as its users have it.
Prints the version, CPU seconds per iteration (smallest of the rounds) and the log-likelihood.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pomegranate.distributions import Normal
from pomegranate.gmm import GeneralMixtureModel

torch.set_num_threads(1)
folder = Path(sys.argv[1])
*sizes, structure = (folder / "sizes.txt").read_text().split()
n, d, k, iterations, rounds = map(int, sizes)


def read(name, *shape):
    """One of the arrays."""
    return np.fromfile(folder / name).reshape(shape).astype(np.float32)


x, means, covariances = torch.tensor(read("x", n, d)), read("means", k, d), read("covariances", k, d, d)
seconds, value = [], float("nan")
for _ in range(rounds):
    full = structure == "full"
    groups = [
        Normal(m.tolist(), c.tolist() if full else np.diag(c).tolist(), covariance_type="full" if full else "diag")
        for m, c in zip(means, covariances, strict=True)
    ]
    model = GeneralMixtureModel(groups, priors=read("weights", k).tolist())
    begin = time.process_time()
    for _ in range(iterations):
        value = float(model.summarize(x).sum())
        model.from_summaries()
    seconds.append(time.process_time() - begin)
print(version("pomegranate"), min(seconds) / iterations, value)
