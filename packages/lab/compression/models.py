"""Trains the twelve parents of the bench: python models.py FOLDER COLUMNS.

Reads rows.bin (doubles: COLUMNS numbers and a label of 0 or 1 a row). Writes NAME.txt of LightGBM for four numbers of trees and leaves; and for four
shapes of networks NAME.json, their layers, and NAME.onnx, the same network behind a scaler. scaler.json has the mean and the deviation of each column.
"""

import json
import pathlib
import sys
import warnings

import lightgbm
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

FOREST = {"50x15": (50, 15), "100x31": (100, 31), "300x31": (300, 31), "1000x63": (1000, 63)}
NETWORKS = {"16": (16,), "64-64": (64, 64), "256-256": (256, 256), "512-512-512": (512, 512, 512)}

folder, columns = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rows = np.fromfile(folder / "rows.bin").reshape(-1, columns + 1)
x, y = rows[:, :columns], rows[:, columns]

for name, (trees, leaves) in FOREST.items():
    params = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "num_threads": 2, "verbose": -1, "seed": 7}
    lightgbm.train(params, lightgbm.Dataset(x, y), trees).save_model(folder / f"{name}.txt")

warnings.simplefilter("ignore")  # Few rounds do not converge, and need not.
mean, std = x.mean(0), x.std(0)
scaled = (x - mean) / std
(folder / "scaler.json").write_text(json.dumps({"mean": mean.tolist(), "std": std.tolist()}))
for name, hidden in NETWORKS.items():
    found = MLPClassifier(hidden, max_iter=4, batch_size=256, random_state=7, learning_rate_init=0.002).fit(scaled, y)
    layers = list(zip(found.coefs_, found.intercepts_))
    (folder / f"{name}.json").write_text(json.dumps([{"kernel": kernel.ravel().tolist(), "bias": bias.tolist()} for kernel, bias in layers]))
    tensors = {"mean": mean, "std": std}
    nodes, last = [helper.make_node("Sub", ["x", "mean"], ["c"]), helper.make_node("Div", ["c", "std"], ["h0"])], "h0"
    for at, (kernel, bias) in enumerate(layers):
        is_last = at == len(layers) - 1
        tensors |= {f"w{at}": kernel, f"b{at}": bias}
        nodes.append(helper.make_node("Gemm", [last, f"w{at}", f"b{at}"], [f"g{at}"]))
        last = "y" if is_last else f"h{at + 1}"
        nodes.append(helper.make_node("Sigmoid" if is_last else "Relu", [f"g{at}"], [last]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / f"{name}.onnx")
