"""Makes the models of the bench of predictors, and calls LightGBM as a C program would, one row at a time.

prepare FOLDER: for each size NAME.txt of LightGBM, NAME.onnx of the same trees and NAME.json, the answers to the first rows; rows.bin (doubles);
logistic.onnx, a scaler before a logistic regression of three classes; network.onnx and wide.onnx, networks with two hidden layers of 64 and of 256; tanh.onnx, as network.onnx with tanh; vectors.onnx, a regression by 200 support vectors; classes.onnx, a classifier of three classes by
200 support vectors; embedding.onnx, a network with embeddings of 4 columns, layer normalization and GELU; transformer.onnx, attention among the columns; doubles.onnx, a network of 64 bits.
serve FOLDER: for each line "NAME ROWS" on standard input, predicts so many rows and prints the microseconds of the thread per row.
"""

import ctypes
import json
import os
import sys
import time

import lightgbm
import numpy as np

COLUMNS, ROWS, ANSWERED, VECTORS = 30, 2000, 20, 200
SIZES = {"300x31": (300, 31), "1000x64": (1000, 64)}


def rows_of(rng, count):
    rows = rng.normal(size=(count, COLUMNS))
    rows[rng.random(rows.shape) < 0.05] = np.nan
    return rows


def flat(tree, index, nodes, leaves):
    """Lists the nodes of a tree as the operators of ONNX have them; returns the place of the root."""
    place = len(nodes)
    if "leaf_value" in tree:
        nodes.append((index, place, 0, "LEAF", 0.0, 0, 0, 0))
        leaves.append((index, place, tree["leaf_value"]))
        return place
    nodes.append(None)
    yes, no = flat(tree["left_child"], index, nodes, leaves), flat(tree["right_child"], index, nodes, leaves)
    nodes[place] = (index, place, tree["split_feature"], "BRANCH_LEQ", tree["threshold"], yes, no, int(tree["default_left"]))
    return place


def prepare(folder):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(7)
    rows = rows_of(rng, 6000)
    filled = np.nan_to_num(rows)
    target = filled[:, 0] * filled[:, 1] + np.sin(filled[:, 2]) + filled[:, 3:].mean(1) + rng.normal(0, 0.3, len(rows))
    asked = rows_of(rng, ROWS)
    asked.tofile(f"{folder}/rows.bin")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, COLUMNS])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])
    sets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    save = lambda name, nodes, values=(): onnx.save(
        helper.make_model(helper.make_graph(nodes, "g", [x], [y], list(values)), opset_imports=sets, ir_version=10), f"{folder}/{name}.onnx"
    )
    for name, (trees, leaf_count) in SIZES.items():
        params = {"objective": "regression", "num_leaves": leaf_count, "min_data_in_leaf": 5, "num_threads": 1, "verbose": -1, "seed": 7}
        booster = lightgbm.train(params, lightgbm.Dataset(rows, target), trees)
        booster.save_model(f"{folder}/{name}.txt")
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(booster.predict(asked[:ANSWERED]).tolist(), file)
        nodes, leaves = [], []
        for index, info in enumerate(booster.dump_model()["tree_info"]):
            own = []
            flat(info["tree_structure"], index, own, leaves)
            nodes += own
        ids, places, columns, modes, bounds, yes, no, lost = map(list, zip(*nodes))
        save(name, [helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=ids, nodes_nodeids=places,
            nodes_featureids=columns, nodes_modes=modes, nodes_values=bounds, nodes_truenodeids=yes, nodes_falsenodeids=no,
            nodes_missing_value_tracks_true=lost, target_treeids=[leaf[0] for leaf in leaves], target_nodeids=[leaf[1] for leaf in leaves],
            target_ids=[0] * len(leaves), target_weights=[leaf[2] for leaf in leaves],
        )])
    for name, hidden, unit in (("network", 64, "Relu"), ("wide", 256, "Relu"), ("tanh", 64, "Tanh")):
        widths = [COLUMNS, hidden, hidden, 1]
        values, nodes, last = [], [], "x"
        for at, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            values.append(numpy_helper.from_array(rng.normal(0, 0.1, (inputs, outputs)).astype(np.float32), f"w{at}"))
            values.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"b{at}"))
            nodes.append(helper.make_node("Gemm", [last, f"w{at}", f"b{at}"], [f"g{at}"]))
            last = "y" if outputs == 1 else f"r{at}"
            nodes.append(helper.make_node("Sigmoid" if outputs == 1 else unit, [f"g{at}"], [last]))
        save(name, nodes, values)
    numbers = lambda count: rng.normal(size=count).tolist()
    save("logistic", [
        helper.make_node("Scaler", ["x"], ["z"], domain="ai.onnx.ml", offset=numbers(COLUMNS), scale=numbers(COLUMNS)),
        helper.make_node(
            "LinearClassifier", ["z"], ["label", "p"], domain="ai.onnx.ml", classlabels_ints=[0, 1, 2], coefficients=numbers(3 * COLUMNS),
            intercepts=numbers(3), multi_class=1, post_transform="SOFTMAX"),
        helper.make_node("Normalizer", ["p"], ["y"], domain="ai.onnx.ml", norm="L1"),
    ])
    save("vectors", [helper.make_node(
        "SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml", kernel_type="RBF", kernel_params=[0.03, 0.0, 3.0], n_supports=VECTORS,
        support_vectors=numbers(VECTORS * COLUMNS), coefficients=numbers(VECTORS), rho=[0.1])])
    save("classes", [helper.make_node(
        "SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", kernel_type="RBF", kernel_params=[0.03, 0.0, 3.0], classlabels_ints=[0, 1, 2],
        vectors_per_class=[VECTORS // 4, VECTORS // 2, VECTORS // 4], support_vectors=numbers(VECTORS * COLUMNS), coefficients=numbers(2 * VECTORS),
        rho=numbers(3), prob_a=[-1.5, -0.7, -2.0], prob_b=numbers(3), post_transform="NONE")])
    floats = lambda name, *shape: numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
    single = lambda name, value: numpy_helper.from_array(np.array(value, np.float32), name)
    whole = lambda name, values: numpy_helper.from_array(np.array(values, np.int64), name)
    steps = [
        ("Split", ["x", "sizes"], ["codes", "rest"], {"axis": 1}), ("IsNaN", ["codes"], ["lost"], {}), ("Where", ["lost", "zero", "codes"], ["known"], {}),
        ("Clip", ["known", "zero", "nine"], ["bounded"], {}), ("Cast", ["bounded"], ["at"], {"to": TensorProto.INT64}), ("Gather", ["table", "at"], ["found"], {}),
        ("Flatten", ["found"], ["embedded"], {}), ("Concat", ["embedded", "rest"], ["all"], {"axis": 1}), ("LayerNormalization", ["all", "scale", "shift"], ["n"], {}),
        ("Gemm", ["n", "w0", "b0"], ["g0"], {}), ("Gelu", ["g0"], ["a0"], {}), ("Gemm", ["a0", "w1", "b1"], ["g1"], {}), ("Sigmoid", ["g1"], ["y"], {}),
    ]
    width = COLUMNS - 4 + 4 * 8
    save("embedding", [helper.make_node(op, inputs, outputs, **given) for op, inputs, outputs, given in steps], [
        whole("sizes", [4, COLUMNS - 4]), single("zero", 0), single("nine", 9), floats("table", 10, 8), floats("scale", width), floats("shift", width),
        floats("w0", width, 64), floats("b0", 64), floats("w1", 64, 1), floats("b1", 1)])
    transformer(save, floats, single, whole)
    double = lambda name, *shape: numpy_helper.from_array(rng.normal(0, 0.1, shape), name)
    steps = [("Cast", ["x"], ["d"], {"to": TensorProto.DOUBLE}), ("Gemm", ["d", "w0", "b0"], ["g0"], {}), ("Relu", ["g0"], ["a0"], {}), ("Gemm", ["a0", "w1", "b1"], ["g1"], {}),
        ("Relu", ["g1"], ["a1"], {}), ("Gemm", ["a1", "w2", "b2"], ["g2"], {}), ("Sigmoid", ["g2"], ["p"], {}), ("Cast", ["p"], ["y"], {"to": TensorProto.FLOAT})]
    save("doubles", [helper.make_node(op, inputs, outputs, **given) for op, inputs, outputs, given in steps], [
        double("w0", COLUMNS, 64), double("b0", 64), double("w1", 64, 64), double("b1", 64), double("w2", 64, 1), double("b2", 1)])


def transformer(save, floats, single, whole, width=32, heads=4, blocks=2):
    """Saves an FT-Transformer: a token for each column and one for the class, and blocks of attention and GELU, as PyTorch exports them."""
    from onnx import helper

    tokens, size = COLUMNS + 1, width // heads
    values = [
        floats("weight", COLUMNS, width), floats("shift", 1, COLUMNS, width), floats("class", width), floats("ones", width), floats("zeros", width), floats("head", width, 1),
        whole("first", 0), whole("axis0", [0]), whole("axis1", [1]), whole("axis2", [2]), whole("token", [1, width]), single("root", size**0.5),
        whole("split", [-1, tokens, heads, size]), whole("joined", [-1, tokens, width]),
    ]
    nodes = [
        ("IsNaN", ["x"], ["lost"], {}), ("Where", ["lost", "none", "x"], ["known"], {}), ("Unsqueeze", ["known", "axis2"], ["column"], {}), ("Mul", ["column", "weight"], ["scaled"], {}),
        ("Add", ["scaled", "shift"], ["columns"], {}), ("Shape", ["x"], ["shape"], {}), ("Slice", ["shape", "axis0", "axis1"], ["rows"], {}),
        ("Concat", ["rows", "token"], ["sizes"], {"axis": 0}), ("Expand", ["class", "sizes"], ["every"], {}), ("Concat", ["every", "columns"], ["t0"], {"axis": 1}),
    ]
    values.append(single("none", 0))
    for at in range(blocks):
        of = lambda name: f"{name}{at}"
        for name, inputs, units in (("q", width, width), ("k", width, width), ("v", width, width), ("o", width, width), ("f", width, 2 * width), ("g", 2 * width, width)):
            values += [floats(f"w_{name}{at}", inputs, units), floats(f"b_{name}{at}", units)]
        dense = lambda name, given: [("MatMul", [given, f"w_{name}{at}"], [f"m_{name}{at}"], {}), ("Add", [f"m_{name}{at}", f"b_{name}{at}"], [f"{name}{at}"], {})]
        nodes.append(("LayerNormalization", [of("t"), "ones", "zeros"], [of("n")], {}))
        for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            nodes += [*dense(name, of("n")), ("Reshape", [of(name), "split"], [f"r_{name}{at}"], {}), ("Transpose", [f"r_{name}{at}"], [f"h_{name}{at}"], {"perm": order})]
        nodes += [
            ("MatMul", [f"h_q{at}", f"h_k{at}"], [of("products")], {}), ("Div", [of("products"), "root"], [of("scores")], {}), ("Softmax", [of("scores")], [of("shares")], {"axis": -1}),
            ("MatMul", [of("shares"), f"h_v{at}"], [of("mixed")], {}), ("Transpose", [of("mixed")], [of("turned")], {"perm": [0, 2, 1, 3]}), ("Reshape", [of("turned"), "joined"], [of("flat")], {}),
            *dense("o", of("flat")), ("Add", [of("t"), of("o")], [of("u")], {}), ("LayerNormalization", [of("u"), "ones", "zeros"], [of("l")], {}),
            *dense("f", of("l")), ("Gelu", [of("f")], [of("a")], {}), *dense("g", of("a")), ("Add", [of("u"), of("g")], [f"t{at + 1}"], {}),
        ]
    nodes += [("Gather", [f"t{blocks}", "first"], ["chosen"], {"axis": 1}), ("MatMul", ["chosen", "head"], ["score"], {}), ("Sigmoid", ["score"], ["y"], {})]
    save("transformer", [helper.make_node(op, inputs, outputs, **given) for op, inputs, outputs, given in nodes], values)


def fast_call(path, rows):
    """LightGBM's single-row prediction with everything prepared, as its C API offers it to servers."""
    library = ctypes.CDLL(os.path.join(os.path.dirname(lightgbm.__file__), "lib", "lib_lightgbm.so"))
    handle, config, count, length = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int64()
    assert library.LGBM_BoosterCreateFromModelfile(path.encode(), ctypes.byref(count), ctypes.byref(handle)) == 0
    double, raw = 1, 1
    assert library.LGBM_BoosterPredictForMatSingleRowFastInit(
        handle, raw, 0, -1, double, COLUMNS, b"num_threads=1", ctypes.byref(config)) == 0
    output = (ctypes.c_double * 1)()
    call = library.LGBM_BoosterPredictForMatSingleRowFast
    pointers = [ctypes.c_void_p(rows.ctypes.data + row * COLUMNS * 8) for row in range(len(rows))]
    length_at = ctypes.byref(length)
    return lambda row: call(config, pointers[row], length_at, output)


def serve(folder):
    rows = np.ascontiguousarray(np.fromfile(f"{folder}/rows.bin").reshape(-1, COLUMNS))
    calls = {name: fast_call(f"{folder}/{name}.txt", rows) for name in SIZES}
    nothing = lambda row: None
    for line in sys.stdin:
        name, count = line.split()
        call, count = calls[name], int(count)
        spent = []
        for each in (call, nothing):
            began = time.thread_time_ns()
            for row in range(count):
                each(row % ROWS)
            spent.append(time.thread_time_ns() - began)
        print((spent[0] - spent[1]) / count / 1000, flush=True)


{"prepare": prepare, "serve": serve}[sys.argv[1]](sys.argv[2])
