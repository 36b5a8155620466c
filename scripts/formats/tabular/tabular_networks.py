"""Exports small networks for tables from PyTorch, as both of its exporters write them, with rows and the answers of ONNX Runtime.

Usage: python tabular_networks.py FILE. Needs torch, onnxscript, onnx and onnxruntime. Writes a gzipped list as `tabular_transformers.py` does, which
the tests read: test/support/formats/graphs/tabular-networks.json.gz.
"""

import base64
import gzip
import io
import json
import math
import sys
import warnings

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

from tabular_transformers import without_notes

warnings.filterwarnings("ignore")
NUMBERS, CODES, KINDS, WIDTH = 5, 2, 4, 6


class FactorizationMachine(nn.Module):
    """DeepFM: interactions of embeddings, beside a network; takes numbers and codes."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(KINDS, WIDTH) for _ in range(CODES))
        self.numbers, self.deep = nn.Linear(NUMBERS, WIDTH), nn.Sequential(nn.Linear(WIDTH * (CODES + 1), WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, x, codes):
        found = torch.stack([table(codes[:, at]) for at, table in enumerate(self.tables)] + [self.numbers(x)], 1)
        pairs = 0.5 * (found.sum(1) ** 2 - (found**2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(pairs + self.deep(found.flatten(1)))


class WideAndDeep(nn.Module):
    """A linear model beside a network of embeddings; takes numbers and codes."""

    def __init__(self):
        super().__init__()
        self.tables, self.wide = nn.ModuleList(nn.Embedding(KINDS, 3) for _ in range(CODES)), nn.Linear(NUMBERS, 1)
        self.deep = nn.Sequential(nn.Linear(NUMBERS + 3 * CODES, WIDTH), nn.Mish(), nn.Linear(WIDTH, 1))

    def forward(self, x, codes):
        embedded = [table(codes[:, at]) for at, table in enumerate(self.tables)]
        return torch.sigmoid(self.wide(x) + self.deep(torch.cat([x, *embedded], 1)))


class Periodic(nn.Module):
    """Periodic embeddings of numbers, with a linear layer for each column."""

    def __init__(self, by_equation):
        super().__init__()
        self.by_equation, self.waves = by_equation, nn.Parameter(torch.randn(NUMBERS, 3))
        self.weight, self.bias = nn.Parameter(torch.randn(NUMBERS, 6, 4) / 3), nn.Parameter(torch.randn(NUMBERS, 4))
        self.head = nn.Linear(NUMBERS * 4, 1)

    def forward(self, x):
        phase = 2 * math.pi * self.waves[None] * x[..., None]
        waves = torch.cat([torch.cos(phase), torch.sin(phase)], -1)
        found = torch.einsum("nfk,fkd->nfd", waves, self.weight) if self.by_equation else (waves[:, :, None] @ self.weight[None]).squeeze(2)
        return torch.sigmoid(self.head(functional.relu(found + self.bias).flatten(1)))


class Ensemble(nn.Module):
    """TabM: several networks that share most of their weights."""

    def __init__(self, by_equation):
        super().__init__()
        self.by_equation, self.shared = by_equation, nn.Linear(NUMBERS, WIDTH)
        self.scales, self.widths = nn.Parameter(torch.randn(3, NUMBERS)), nn.Parameter(torch.randn(3, WIDTH))
        self.heads = nn.Parameter(torch.randn(3, WIDTH, 2) / 3)

    def forward(self, x):
        found = functional.relu(self.shared(x[:, None] * self.scales) * self.widths)
        answers = torch.einsum("nkh,kho->nko", found, self.heads) if self.by_equation else (found.transpose(0, 1) @ self.heads).transpose(0, 1)
        return torch.softmax(answers, -1).mean(1)


class Cross(nn.Module):
    """DCN-v2: layers that multiply by the input, beside a residual network with batch normalization."""

    def __init__(self):
        super().__init__()
        self.layers, self.first = nn.ModuleList(nn.Linear(NUMBERS, NUMBERS) for _ in range(2)), nn.Linear(NUMBERS, WIDTH)
        self.norm, self.block, self.head = nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(NUMBERS + WIDTH, 1)

    def forward(self, x):
        crossed, deep = x, self.first(x)
        for layer in self.layers:
            crossed = x * layer(crossed) + crossed
        deep = deep + self.block(functional.silu(self.norm(deep)))
        return torch.sigmoid(self.head(torch.cat([crossed, deep], 1)))


class Quantiles(nn.Module):
    """Rising quantiles, of numbers of which some are missing or infinite."""

    def __init__(self):
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(NUMBERS, WIDTH), nn.GELU(), nn.Linear(WIDTH, 3))

    def forward(self, x):
        found = self.deep(torch.nan_to_num(x, 0.0, 3.0, -3.0))
        return torch.cumsum(torch.cat([found[:, :1], functional.softplus(found[:, 1:])], 1), 1)


class Pairs(nn.Module):
    """A factorization machine of the numbers, and two towers that are compared by their angle."""

    def __init__(self):
        super().__init__()
        self.vectors, self.a, self.b = nn.Parameter(torch.randn(NUMBERS, 3)), nn.Linear(NUMBERS, 4), nn.Linear(NUMBERS, 4)

    def forward(self, x):
        pairs = 0.5 * ((x @ self.vectors) ** 2 - (x**2) @ (self.vectors**2)).sum(1, keepdim=True)
        towers = functional.normalize(self.a(x), dim=1) * functional.normalize(self.b(x), dim=1)
        return torch.cat([torch.tanh(pairs), towers.sum(1, keepdim=True)], 1)


def exported(net, args, way):
    file, names = io.BytesIO(), ["x", "codes"][: len(args)]
    given = {"input_names": names, "output_names": ["y"]}
    if way == "new":
        rows = torch.export.Dim("rows")
        torch.onnx.export(net, args, dynamo=True, dynamic_shapes=tuple({0: rows} for _ in args), **given).save(file)
    else:
        axes = {name: {0: "n"} for name in [*names, "y"]}
        torch.onnx.export(net, args, file, dynamo=False, dynamic_axes=axes, opset_version=int(way), **given)
    return without_notes(file.getvalue())


if __name__ == "__main__":
    found = []
    made = [
        ("FactorizationMachine", FactorizationMachine, 2), ("WideAndDeep", WideAndDeep, 2), ("Periodic by equation", lambda: Periodic(True), 1),
        ("Periodic by matrices", lambda: Periodic(False), 1), ("Ensemble by equation", lambda: Ensemble(True), 1),
        ("Ensemble by matrices", lambda: Ensemble(False), 1), ("Cross", Cross, 1), ("Quantiles", Quantiles, 1), ("Pairs", Pairs, 1),
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    numbers = rng.normal(size=(20, NUMBERS)).astype(np.float32)
    codes = rng.integers(0, KINDS, (20, CODES))
    for name, make, count in made:
        for way in ("new", "18"):
            torch.manual_seed(3)
            rows = numbers.copy()
            if name == "Quantiles":
                rows[1::3, 0] = [np.nan, np.inf, -np.inf, np.nan, 7, -7, 0][: len(rows[1::3])]
            args = (torch.tensor(rows), torch.tensor(codes))[:count]
            data = exported(make().eval(), tuple(each[:4] for each in args), way)
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
            answers = session.run(None, {given.name: each.numpy() for given, each in zip(session.get_inputs(), args)})[0]
            asked = np.concatenate([rows, codes], 1) if count == 2 else rows
            texts = [[str(float(each)) if not np.isfinite(each) else float(each) for each in row] for row in asked]
            found.append({"name": f"{name} {way}", "model": base64.b64encode(data).decode(), "rows": texts, "answers": answers.tolist()})
    with gzip.GzipFile(sys.argv[1], "wb", mtime=0) as file:
        file.write(json.dumps(found).encode())
