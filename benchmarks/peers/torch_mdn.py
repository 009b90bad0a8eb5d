"""A mixture density network in eager PyTorch, one thread, as users write it: ``python torch_mdn.py steps|fit ...``.

Prints its version. ``steps --hidden 50 --batch 32 --dtype float32 --posterior point`` prints for every number of steps that it
reads from standard input the CPU seconds that these took. ``fit`` reads from standard input names of NumPy archives with x, y,
x_test, y_test, floor and seed, and prints for each, as JSON, the test scores of three networks and of their ensemble. These
train as those of ``benchmarks/mdn.py`` do: covariates and responses standardised, three normal components no narrower than
the floor, Adam along the same rates, 15 % of the rows held out for early stopping. The initial weights are PyTorch's own, and
there is no prior.
"""

import argparse
import copy
import json
import math
import sys
import time

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
K, MEMBERS = 3, 3
ONE = math.log(math.e - 1.0)  # softplus(ONE) = 1
RATE, LEAST_RATE, PATIENCE, HELD_OUT = 1e-2, 0.02, 30, 0.15


class MeanField(nn.Module):
    """A linear layer of independent normal weights, with local reparametrisation."""

    def __init__(self, n, m):
        super().__init__()
        self.mean, self.offset = nn.Parameter(torch.randn(m, n) * math.sqrt(2.0 / n)), nn.Parameter(torch.zeros(m))
        self.rho, self.offset_rho = nn.Parameter(torch.full((m, n), -5.0)), nn.Parameter(torch.full((m,), -5.0))

    def forward(self, x):
        sd, offset_sd = nn.functional.softplus(self.rho), nn.functional.softplus(self.offset_rho)
        variance = nn.functional.linear(x * x, sd * sd, offset_sd * offset_sd)
        out = nn.functional.linear(x, self.mean, self.offset)
        return out + torch.sqrt(variance + 1e-10) * torch.randn_like(out)

    def divergence(self):
        """From Normal(0, 1), in nats."""
        total = 0.0
        for mean, rho in ((self.mean, self.rho), (self.offset, self.offset_rho)):
            sd = nn.functional.softplus(rho)
            total = total + (-torch.log(sd) + 0.5 * (sd * sd + mean * mean) - 0.5).sum()
        return total


def network_of(n_inputs, hidden, layer=nn.Linear):
    """Hidden layers and a head of logits, means and widths."""
    sizes, layers = (n_inputs, *hidden), []
    for n, m in zip(sizes, sizes[1:], strict=False):
        layers += [layer(n, m), nn.ReLU()]
    return nn.Sequential(*layers, layer(sizes[-1], 3 * K))


def log_density(network, x, y, floor=1e-3):
    """Of standardised responses, (row,)."""
    logits, mu, width = network(x).split(K, dim=1)
    normal = torch.distributions.Normal(mu, nn.functional.softplus(width + ONE) + floor, validate_args=False)
    return torch.logsumexp(torch.log_softmax(logits, dim=1) + normal.log_prob(y[:, None]), dim=1)


# -- steps -----------------------------------------------------------------------------------------------------------------
def steps(options):
    """Time as many steps as each line of the input says."""
    dtype = getattr(torch, options.dtype)
    torch.set_default_dtype(dtype)
    x = torch.tensor(np.random.default_rng(0).normal(size=(2000, 8)), dtype=dtype)
    y = torch.tensor(np.random.default_rng(1).normal(size=2000), dtype=dtype)
    random = options.posterior == "variational"
    network = network_of(x.shape[1], options.hidden, MeanField if random else nn.Linear)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    for line in sys.stdin:
        began, at = time.process_time(), len(x)
        for _ in range(int(line)):
            if at + options.batch > len(x):
                order, at = torch.randperm(len(x)), 0
            rows = order[at : at + options.batch]
            at += options.batch
            loss = -log_density(network, x[rows], y[rows]).mean()
            if random:
                loss = loss + sum(layer.divergence() for layer in network if isinstance(layer, MeanField)) / len(x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(time.process_time() - began, flush=True)


# -- fits ------------------------------------------------------------------------------------------------------------------
def fit():
    """Train and judge on the data in each archive named on the input."""
    for line in sys.stdin:
        data = np.load(line.strip())
        began = time.process_time()
        torch.manual_seed(int(data["seed"]))
        torch.set_default_dtype(torch.float64)
        mean, sd = data["x"].mean(axis=0), data["x"].std(axis=0)
        sd[sd == 0.0] = 1.0
        center, scale = data["y"].mean(), data["y"].std()
        x, x_test = (torch.tensor((data[name] - mean) / sd) for name in ("x", "x_test"))
        y, y_test = (torch.tensor((data[name] - center) / scale) for name in ("y", "y_test"))
        floor = float(data["floor"])
        networks = [train(x, y, floor) for _ in range(MEMBERS)]
        found = {"cpu_seconds": time.process_time() - began}
        each = [judge([network], x_test, y_test, floor, scale) for network in networks]
        found["single"] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        found["ensemble"] = judge(networks, x_test, y_test, floor, scale)
        print(json.dumps(found), flush=True)


def train(x, y, floor, batch=32):
    """A network with the weights under which its held-out rows were likeliest."""
    order = torch.randperm(len(x))
    n = round(HELD_OUT * len(x))
    held_out, rows = order[:n], order[n:]
    network = network_of(x.shape[1], (50,))
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    n_steps = len(rows) // batch
    epochs = int(np.clip(40_000 // n_steps, 20, 200))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: LEAST_RATE + (1.0 - LEAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * step / (epochs * n_steps))),
    )
    best, since, kept = -math.inf, 0, copy.deepcopy(network.state_dict())
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows))]
        for i in range(n_steps):
            these = order[i * batch : (i + 1) * batch]
            optimiser.zero_grad()
            (-log_density(network, x[these], y[these], floor).mean()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            value = log_density(network, x[held_out], y[held_out], floor).mean().item()
        since += 1
        if value > best:
            best, since, kept = value, 0, copy.deepcopy(network.state_dict())
        if since >= PATIENCE:
            break
    network.load_state_dict(kept)
    return network


@torch.no_grad()
def judge(networks, x, y, floor, scale):
    """Scores of the averaged density, in units of the responses."""
    density = torch.stack([log_density(network, x, y, floor) for network in networks])
    density = torch.logsumexp(density, dim=0) - math.log(len(networks)) - math.log(scale)
    mean, pit = 0.0, 0.0
    for network in networks:
        logits, mu, width = network(x).split(K, dim=1)
        weights, sigma = torch.softmax(logits, dim=1), nn.functional.softplus(width + ONE) + floor
        mean = mean + (weights * mu).sum(dim=1) / len(networks)
        pit = pit + (weights * torch.special.ndtr((y[:, None] - mu) / sigma)).sum(dim=1) / len(networks)
    return {
        "nll": -density.mean().item(),
        "rmse": scale * ((mean - y) ** 2).mean().sqrt().item(),
        "coverage": ((pit > 0.05) & (pit < 0.95)).double().mean().item(),
        "worst": density.min().item(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "fit"))
    parser.add_argument("--hidden", type=int, nargs="+", default=[50])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--posterior", choices=("point", "variational"), default="point")
    chosen = parser.parse_args()
    print(torch.__version__, flush=True)
    steps(chosen) if chosen.what == "steps" else fit()
