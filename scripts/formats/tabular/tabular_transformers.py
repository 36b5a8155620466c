"""Exports small transformers for tables from PyTorch, as both of its exporters write them, with rows and the answers of ONNX Runtime.

Usage: python tabular_transformers.py FILE. Needs torch, onnxscript, onnx and onnxruntime. Writes a gzipped list of `name`, `model` (base64),
`rows` and `answers`, which the tests read: test/support/formats/graphs/tabular-transformers.json.gz.
"""

import base64
import gzip
import io
import json
import math
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

warnings.filterwarnings("ignore")
NUMBERS, CARDINALITIES, WIDTH, HEADS = 3, [4, 3], 6, 2


class Tokenizer(nn.Module):
    """Makes a token of each number and category, behind one for the class."""

    def __init__(self):
        super().__init__()
        count = NUMBERS + len(CARDINALITIES)
        self.weight, self.bias = nn.Parameter(torch.randn(NUMBERS, WIDTH)), nn.Parameter(torch.randn(count, WIDTH))
        self.first = nn.Parameter(torch.randn(WIDTH))
        self.register_buffer("offsets", torch.tensor([0, *CARDINALITIES[:-1]]).cumsum(0))
        self.table = nn.Embedding(sum(CARDINALITIES), WIDTH)

    def forward(self, x):
        numbers = self.weight[None] * x[:, :NUMBERS, None]
        categories = self.table(x[:, NUMBERS:].long() + self.offsets[None])
        found = torch.cat([numbers, categories], 1) + self.bias[None]
        return torch.cat([self.first.expand(x.shape[0], 1, -1), found], 1)


class Separate(nn.Module):
    """FT-Transformer as its authors write it: heads merged with the rows, and the last block for the class alone."""

    def __init__(self):
        super().__init__()
        self.tokens = Tokenizer()
        self.parts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm, self.wide, self.narrow = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def heads(self, x):
        rows, count, _ = x.shape
        return x.reshape(rows, count, HEADS, WIDTH // HEADS).transpose(1, 2).reshape(rows * HEADS, count, WIDTH // HEADS)

    def forward(self, x):
        x = self.tokens(x)
        q, k, v = self.heads(self.parts[0](x[:, :1])), self.heads(self.parts[1](x)), self.heads(self.parts[2](x))
        share = functional.softmax(q @ k.transpose(1, 2) / math.sqrt(WIDTH // HEADS), dim=-1)
        found = (share @ v).reshape(-1, HEADS, 1, WIDTH // HEADS).transpose(1, 2).reshape(-1, 1, WIDTH)
        x = x[:, :1] + self.parts[3](found)
        a, b = self.wide(self.norm(x)).chunk(2, dim=-1)
        x = x + self.narrow(a * functional.relu(b))
        return torch.sigmoid(self.head(functional.relu(x[:, 0])))


class Encoder(nn.Module):
    """FT-Transformer by `nn.TransformerEncoder`, whose rows are behind the tokens."""

    def __init__(self):
        super().__init__()
        self.tokens = Tokenizer()
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 8, activation="gelu", batch_first=True, norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(WIDTH, 1)

    def forward(self, x):
        return torch.sigmoid(self.head(self.encoder(self.tokens(x))[:, 0]))


class Tab(nn.Module):
    """TabTransformer: attention among the embeddings of the categories, with the numbers beside it."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(count, WIDTH) for count in CARDINALITIES)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norms, self.layer = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2)), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(NUMBERS + WIDTH * len(CARDINALITIES), 1)

    def forward(self, x):
        categories = x[:, NUMBERS:].long()
        found = torch.stack([table(categories[:, at]) for at, table in enumerate(self.tables)], 1)
        found = self.norms[0](found + self.attention(found, found, found, need_weights=False)[0])
        found = self.norms[1](found + functional.gelu(self.layer(found)))
        return torch.sigmoid(self.head(torch.cat([found.flatten(1), x[:, :NUMBERS]], 1)))


class Einsums(nn.Module):
    """Attention by equations, from one product of queries, keys and values."""

    def __init__(self):
        super().__init__()
        self.tokens, self.norm, self.joined = Tokenizer(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x):
        x = self.tokens(x)
        rows, count, _ = x.shape
        parts = self.joined(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (part.reshape(rows, count, HEADS, WIDTH // HEADS).permute(0, 2, 1, 3) for part in parts)
        share = torch.einsum("b h i d, b h j d -> b h i j", q * (WIDTH // HEADS) ** -0.5, k).softmax(dim=-1)
        found = torch.einsum("b h i j, b h j d -> b h i d", share, v).permute(0, 2, 1, 3).reshape(rows, count, WIDTH)
        return torch.sigmoid(self.head((x + found).mean(1)))


class ScaledProducts(Einsums):
    """Attention by `scaled_dot_product_attention`."""

    def forward(self, x):
        x = self.tokens(x)
        rows, count, _ = x.shape
        q, k, v = self.joined(self.norm(x)).view(rows, count, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        found = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, count, WIDTH)
        return torch.sigmoid(self.head((x + found)[:, 0]))


def exported(net, example, way):
    file = io.BytesIO()
    names = {"input_names": ["x"], "output_names": ["y"]}
    if way == "new":
        rows = torch.export.Dim("rows")
        torch.onnx.export(net, (example,), dynamo=True, dynamic_shapes=({0: rows},), **names).save(file)
    else:
        axes = {"x": {0: "n"}, "y": {0: "n"}}
        torch.onnx.export(net, (example,), file, dynamo=False, dynamic_axes=axes, opset_version=int(way), **names)
    return without_notes(file.getvalue())


def without_notes(data):
    """Returns a graph without the notes of the exporter, which are most of its bytes."""
    made = onnx.load_from_string(data)
    for part in (made, made.graph, *made.graph.node, *made.graph.input, *made.graph.output, *made.graph.value_info, *made.graph.initializer):
        for field in ("doc_string", "metadata_props"):
            part.ClearField(field)
    del made.graph.value_info[:]
    return made.SerializeToString()


def rows_of(count):
    rng = np.random.default_rng(5)
    numbers = rng.normal(size=(count, NUMBERS)).astype(np.float32)
    numbers[1::4, 0] = [30, -30, 1e4, 0, 1e-40][: len(numbers[1::4])]
    categories = np.stack([rng.integers(0, each, count) for each in CARDINALITIES], 1)
    return np.concatenate([numbers, categories.astype(np.float32)], 1)


if __name__ == "__main__":
    found = []
    for make in (Separate, Encoder, Tab, Einsums, ScaledProducts):
        for way in ("new", "18", "14"):
            torch.manual_seed(3)
            rows = rows_of(20)
            data = exported(make().eval(), torch.tensor(rows[:4]), way)
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
            answers = session.run(None, {"x": rows})[0]
            model = base64.b64encode(data).decode()
            found.append({"name": f"{make.__name__} {way}", "model": model, "rows": rows.tolist(), "answers": answers.tolist()})
    with gzip.GzipFile(sys.argv[1], "wb", mtime=0) as file:
        file.write(json.dumps(found).encode())
