"""Generates random trees for the operators of ai.onnx.ml: every comparison, transform, aggregate and numbering of nodes."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graph_operators import ML, Value

MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
AGGREGATES = ["AVERAGE", "SUM", "MIN", "MAX"]
BOUNDS = [0.0, -0.5, 0.5, 1.0, 1e9, np.inf, -np.inf, 1e-40]


def grow_tree(g, columns, depth, modes):
    """Returns None for a leaf, or a node (column, mode, bound, tracks missing, true, false)."""
    if depth == 0 or g.chance(0.15):
        return None
    bound = float(np.float32(g.rng.choice(BOUNDS) if g.chance(0.4) else g.rng.normal()))
    tracks = int(g.chance(0.3))
    return (int(g.rng.integers(columns)), str(g.rng.choice(modes)), bound, tracks, *(grow_tree(g, columns, depth - 1, modes) for _ in range(2)))


def listed(tree):
    """Returns the nodes in order, the root first: (node, index of true, index of false), with None for leaves."""
    nodes = []

    def place(each):
        at = len(nodes)
        nodes.append((each, 0, 0))
        if each is not None:
            nodes[at] = (each, place(each[4]), place(each[5]))
        return at

    place(tree)
    return nodes


def leaf_weights(g, targets, positive):
    """Returns (target, weight) pairs of a leaf; some leaves weigh several targets, or none."""
    count = int(g.rng.choice([1, 1, 1, 0, targets])) if targets > 1 else int(not g.chance(0.03))
    chosen = sorted(g.rng.choice(targets, count, replace=False).tolist())
    return [(target, float(np.float32(abs(weight) if positive else weight))) for target, weight in zip(chosen, g.rng.normal(size=count))]


def older(g, x):
    """Builds a TreeEnsembleRegressor or TreeEnsembleClassifier."""
    is_classifier = g.chance(0.5)
    targets = int(g.rng.integers(1, 4))
    modes = MODES[: int(g.rng.choice([1, 4, 6], p=[0.5, 0.35, 0.15]))]
    trees = [listed(grow_tree(g, x.width, int(g.rng.integers(1, 5)), modes)) for _ in range(g.rng.integers(1, 12))]
    only = int(g.rng.integers(targets)) if is_classifier and g.chance(0.4) else None
    positive, per_tree = g.chance(0.4), g.chance(0.3)
    first_id, step = int(g.rng.choice([0, 0, 5])), int(g.rng.choice([1, 1, 3]))
    lists = {name: [] for name in "treeids nodeids featureids modes values truenodeids falsenodeids missing_value_tracks_true hitrates".split()}
    weights = []
    for index, nodes in enumerate(trees):
        number = lambda at: first_id + step * at
        for at, (each, yes, no) in enumerate(nodes):
            column, mode, bound, tracks = each[:4] if each else (0, "LEAF", 0.0, 0)
            row = (index, number(at), column, mode, bound, number(yes) if each else 0, number(no) if each else 0, tracks, 1.0)
            for name, value in zip(lists, row):
                lists[name].append(value)
            if each is None:
                found = leaf_weights(g, targets, positive)
                if only is not None:
                    found = [(only, weight) for _, weight in found[:1]]
                elif per_tree:
                    found = [(index % targets, weight) for _, weight in found[:1]]
                weights += [(index, number(at), *each) for each in found]
    if g.chance(0.5) and not any(lists["missing_value_tracks_true"]):
        del lists["missing_value_tracks_true"]
    if g.chance(0.5):
        del lists["hitrates"]
    if not weights:
        weights = [(0, lists["nodeids"][lists["modes"].index("LEAF")], 0, 0.5)]
    kind = "class" if is_classifier else "target"
    given = {f"nodes_{name}": values for name, values in lists.items()}
    given |= {f"{kind}_{name}": [each[at] for each in weights] for at, name in enumerate(["treeids", "nodeids", "ids", "weights"])}
    if g.ml >= 3 and x.kind == "double" and g.chance(0.5):
        for name in ["nodes_values", f"{kind}_weights"]:
            given[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(given.pop(name), np.float64))
        if "nodes_hitrates" in given:
            given["nodes_hitrates_as_tensor"] = numpy_helper.from_array(np.array(given.pop("nodes_hitrates"), np.float64))
    if g.chance(0.7):
        given["post_transform"] = str(g.rng.choice(TRANSFORMS, p=[0.4, 0.2, 0.3, 0.05, 0.05]))
    classes = max(2, targets) if is_classifier else targets
    if g.chance(0.4):
        size = int(g.rng.choice([1, classes])) if is_classifier and classes == 2 else classes + int(g.mistake())
        base = g.rng.normal(size=size).astype(np.float32)
        if given.get("nodes_values_as_tensor") is not None:
            given["base_values_as_tensor"] = numpy_helper.from_array(base.astype(np.float64))
        else:
            given["base_values"] = base.tolist()
    if is_classifier:
        given["classlabels_int64s" if g.chance(0.5) else "classlabels_strings"] = list(range(classes))
        if "classlabels_strings" in given:
            given["classlabels_strings"] = [f"k{each}" for each in given["classlabels_strings"]]
        return g.node("TreeEnsembleClassifier", [x.name], "float", (classes,), ML, place=1, outputs=2, **given)
    if g.chance(0.5):
        given["aggregate_function"] = str(g.rng.choice(AGGREGATES))
    return g.node("TreeEnsembleRegressor", [x.name], "float", (targets,), ML, n_targets=targets, **given)


def newest(g, x):
    """Builds a TreeEnsemble of version 5, whose splits have the type of its input."""
    targets = int(g.rng.integers(1, 4))
    dtype = np.float64 if x.kind == "double" else np.float32
    modes = MODES[: int(g.rng.choice([1, 4, 6]))] + (["BRANCH_MEMBER"] if g.chance(0.2) else [])
    trees = [listed(grow_tree(g, x.width, int(g.rng.integers(1, 5)), modes)) for _ in range(g.rng.integers(1, 12))]
    # A tree of one leaf is encoded as a node whose two sides lead to it.
    trees = [nodes if nodes[0][0] else [((0, "BRANCH_LEQ", 0.0, 0), 1, 1), (None, 0, 0)] for nodes in trees]
    roots, rows, leaves, members = [], [], [], []
    for nodes in trees:
        inner = {at: len(rows) + place for place, at in enumerate(at for at, (each, _, _) in enumerate(nodes) if each)}
        ends = {at: len(leaves) + place for place, at in enumerate(at for at, (each, _, _) in enumerate(nodes) if not each)}
        place = lambda at: (ends[at], 1) if at in ends else (inner[at], 0)
        roots.append(len(rows))
        for each, yes, no in nodes:
            if each is None:
                leaves.append((int(g.rng.integers(targets)), float(g.rng.normal())))
                continue
            if each[1] == "BRANCH_MEMBER":
                members += [*g.rng.choice([0.0, 1.0, 2.0, 3.0, 5.0, -1.0], 2, replace=False).tolist(), np.nan]
            code = 6 if each[1] == "BRANCH_MEMBER" else MODES.index(each[1])
            rows.append((each[0], code, each[2], *place(yes), *place(no), each[3]))
    columns, codes, bounds, yes, yes_ends, no, no_ends, tracks = map(list, zip(*rows))
    tensor = lambda values, kind=dtype: numpy_helper.from_array(np.array(values, kind))
    given = {"membership_values": tensor(members)} if members else {}
    if any(tracks) or g.chance(0.5):
        given["nodes_missing_value_tracks_true"] = tracks
    if g.chance(0.6):
        given["aggregate_function"] = int(g.rng.integers(4))
    if g.chance(0.4):
        given["post_transform"] = int(g.rng.integers(5))
    return g.node(
        "TreeEnsemble", [x.name], x.kind, (targets,), ML, n_targets=targets, tree_roots=roots, nodes_featureids=columns,
        nodes_modes=tensor(codes, np.uint8), nodes_splits=tensor(bounds), nodes_truenodeids=yes, nodes_trueleafs=yes_ends,
        nodes_falsenodeids=no, nodes_falseleafs=no_ends, leaf_targetids=[each[0] for each in leaves],
        leaf_weights=tensor([each[1] for each in leaves]), **given,
    )  # fmt: skip


def grow_trees(g, inputs):
    """Adds trees on the columns directly or after operators, and operators that may follow trees."""
    values = [Value(name, kind, (width,)) for name, kind, width in inputs]
    if len(values) > 1 or values[0].kind == "bool":
        parts = [each if each.kind == "float" else g.node("Cast", [each.name], "float", each.tail, to=1) for each in values]
        x = g.node("Concat", [each.name for each in parts], "float", (len(parts),), axis=1)
    else:
        x = values[0]
    if x.kind == "double" and g.chance(0.4):
        x = g.node("Cast", [x.name], "float", x.tail, to=1)
    if x.kind == "float" and g.chance(0.3):
        op = str(g.rng.choice(["Scaler", "Imputer", "Relu", "Mul", "Identity"]))
        if op == "Scaler":
            x = g.node("Scaler", [x.name], "float", x.tail, ML, offset=g.floats(x.width).tolist(), scale=g.floats(x.width).tolist())
        elif op == "Imputer":
            x = g.node("Imputer", [x.name], "float", x.tail, ML, imputed_value_floats=[0.5], replaced_value_float=float("nan"))
        else:
            x = g.node(op, [x.name, *([g.constant(np.float32(2))] if op == "Mul" else [])], x.kind, x.tail)
    y = newest(g, x) if g.ml >= 5 and x.kind in ("float", "double") else older(g, x)
    if g.chance(0.3):
        op = str(g.rng.choice(["Normalizer", "Identity", "Cast", "Sigmoid", "Flatten"]))
        if op == "Normalizer" and y.kind == "float":
            y = g.node("Normalizer", [y.name], "float", y.tail, ML, norm=str(g.rng.choice(["L1", "L2"])))
        elif op == "Cast":
            y = g.node("Cast", [y.name], "double", y.tail, to=TensorProto.DOUBLE)
        elif op != "Normalizer":
            y = g.node(op, [y.name], y.kind, y.tail)
    return y
