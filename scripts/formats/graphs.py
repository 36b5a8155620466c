"""Makes random ONNX graphs from seeds, with odd rows and the answers of ONNX Runtime.

Usage: python graphs.py FILE [--graphs N] [--rows N] [--first SEED]. Needs numpy, onnx, onnxruntime. Writes one JSON object a line: `name`, `model`
(base64), `rows` (null is missing, "inf" and "-inf" infinite), and either `answers` with `spread`, the change of each answer when every number of the
row, or every constant, changes in its last bit, or `error`, what ONNX Runtime refuses. One graph of eight holds a mistake on purpose.
"""

import argparse
import base64
import json
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from graph_operators import ML, Graph, grow
from graph_trees import grow_trees

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)

KINDS = {
    "float": (TensorProto.FLOAT, np.float32),
    "double": (TensorProto.DOUBLE, np.float64),
    "int64": (TensorProto.INT64, np.int64),
    "int32": (TensorProto.INT32, np.int32),
    "bool": (TensorProto.BOOL, np.bool_),
    "string": (TensorProto.STRING, object),
}
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e38, -1e38, 3e38, 1e9, -1e9, 20.0, -20.0, 100.0, -100.0, 0.5, -0.5, 1.0, -1.0]
CATEGORIES = ["red", "blue", "", "grün", "no such"]


def column_of(rng, kind, rows):
    """Returns values of a column; every second row may have an unusual one."""
    if kind == "string":
        return rng.choice(np.array(CATEGORIES, object), rows)
    if kind == "bool":
        return rng.integers(0, 2, rows).astype(bool)
    if kind in ("int64", "int32"):
        values = rng.integers(-3, 6, rows)
        values[1::6] = rng.choice([2**24 + 1, -(2**24) - 1, 2**31 - 1, 10**6], len(values[1::6]))
        return values.astype(KINDS[kind][1])
    values = rng.normal(size=rows)
    odd = np.arange(rows) % 2 == 1
    odd &= rng.random(rows) < 0.5
    values[odd] = rng.choice(ODD, odd.sum())
    return values.astype(KINDS[kind][1])


def feeds_of(rng, inputs, rows):
    return {
        name: np.stack([column_of(rng, kind, rows) for _ in range(width)], 1).astype(KINDS[kind][1])
        for name, kind, width in inputs
    }


def neighbours(feeds, single=False):
    """Returns the same rows with every number changed to the next value of its type. With `single`, doubles change to the next float."""
    as_read = {name: values.astype(np.float32) if single and values.dtype == np.float64 else values for name, values in feeds.items()}
    moved = {
        name: np.nextafter(values, np.asarray(np.inf, values.dtype)) if values.dtype in (np.float32, np.float64) else moved_whole(values)
        for name, values in as_read.items()
    }
    return {name: values.astype(feeds[name].dtype) for name, values in moved.items()}


def moved_whole(values):
    """Returns whole numbers beyond the 24 bits of a float."""
    return values if values.dtype in (object, np.bool_) else values - (np.abs(values.astype(np.int64)) > 2**23).astype(values.dtype)


def plain(value):
    if isinstance(value, (str, bool, np.bool_)):
        return value if isinstance(value, str) else bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    return None if np.isnan(value) else "inf" if value == np.inf else "-inf" if value == -np.inf else float(value)


def inputs_of(rng, texts=True):
    """Returns one matrix, or one input per column."""
    if rng.random() < 0.75:
        kind = rng.choice(["float", "double", "int64", "int32", "bool"], p=[0.7, 0.1, 0.1, 0.05, 0.05])
        return [("x", str(kind), int(rng.integers(1, 7)))]
    kinds = rng.choice(["float", "double", "int64", "int32", "bool", *(["string"] if texts else [])], rng.integers(1, 6))
    return [(f"c{at}", str(kind), 1) for at, kind in enumerate(kinds)]


def answer(seed, rows):
    rng = np.random.default_rng(seed)
    has_trees = seed % 4 == 0
    inputs = inputs_of(rng, texts=not has_trees)
    graph = Graph(rng, opset=int(rng.integers(7, 22)), mistakes=rng.random() < 1 / 8)
    output = (grow_trees if has_trees else grow)(graph, inputs)
    values = [helper.make_tensor_value_info(name, KINDS[kind][0], ["n", width]) for name, kind, width in inputs]
    announced = [helper.make_tensor_value_info(output.name, KINDS[output.kind][0], ["n", *output.tail])]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "g", values, announced, graph.initializers),
        opset_imports=[helper.make_opsetid("", graph.opset), helper.make_opsetid(ML, graph.ml)],
        ir_version=int(rng.choice([7, 8, 10])),
    )
    found = line_of(made.SerializeToString(), feeds_of(rng, inputs, rows), output.name, single=not has_trees)
    return {"name": f"graph-{seed}", "operators": [node.op_type for node in graph.nodes], "opset": graph.opset, **found}


def with_moved_constants(data):
    """Returns the same graph with every number in its constants changed to the next value of its type."""
    made = onnx.load_from_string(data)
    values = [each.t for node in made.graph.node if node.op_type == "Constant" for each in node.attribute if each.name == "value"]
    for tensor in [*made.graph.initializer, *values]:
        if tensor.data_type == TensorProto.FLOAT:
            numbers = np.nextafter(numpy_helper.to_array(tensor), np.float32(np.inf))
            tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    return made.SerializeToString()


def line_of(data, feeds, output, single=False):
    """Returns a graph with rows and their predictions. The inputs are in the order of the graph."""
    table = np.concatenate([values.astype(object) for values in feeds.values()], 1)
    found = {"model": base64.b64encode(data).decode(), "rows": [[plain(v) for v in row] for row in table]}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    count = len(table)
    try:
        session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        given = session.run([output], feeds)[0].astype(np.float64).reshape(count, -1)
        with np.errstate(all="ignore"):
            moved = session.run([output], neighbours(feeds, single))[0].astype(np.float64).reshape(count, -1)
            other = onnxruntime.InferenceSession(with_moved_constants(data), settings, providers=["CPUExecutionProvider"])
            weighed = other.run([output], feeds)[0].astype(np.float64).reshape(count, -1)
            spread = np.fmax(np.abs(moved - given), np.abs(weighed - given))
    except Exception as error:  # ONNX Runtime has no class of its own for what it refuses.
        return {**found, "error": str(error)[:900]}
    return {**found, "answers": [[plain(v) for v in row] for row in given], "spread": [[plain(v) for v in row] for row in spread]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--graphs", type=int, default=500)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--first", type=int, default=1)
    options = parser.parse_args()
    with open(options.file, "w") as file:
        for seed in range(options.first, options.first + options.graphs):
            file.write(json.dumps(answer(seed, options.rows)) + "\n")
