"""
Generates random ONNX graphs of the operators that Tenure lowers and of others, with every kind of attribute that their versions allow.
"""

from dataclasses import dataclass, replace

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graph_tokens import attention, double_layer, moved, own_weights, whole_embedding

ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Value:
    """A value of the graph. `tail` holds its dimensions after the row dimension."""

    name: str
    kind: str
    tail: tuple

    @property
    def width(self):
        return int(np.prod(self.tail))


class Graph:
    def __init__(self, rng, opset, mistakes):
        self.rng, self.opset, self.mistakes = rng, opset, mistakes
        self.ml = int(rng.choice([1, 2, 3, 5], p=[0.05, 0.35, 0.35, 0.25]))
        self.nodes, self.initializers, self.count = [], [], 0

    def chance(self, share):
        return self.rng.random() < share

    def mistake(self):
        """Returns whether to generate something that ONNX Runtime refuses."""
        return self.mistakes and self.chance(0.25)

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, array):
        """Adds a constant, as an initializer or a node of each form, and returns its name."""
        array, name = np.asarray(array), self.name()
        if self.chance(0.7):
            self.initializers.append(numpy_helper.from_array(array, name))
            return name
        if self.opset >= 12 and array.ndim <= 1 and array.size > 0 and array.dtype in (np.float32, np.int64) and self.chance(0.5):
            text = "float" if array.dtype == np.float32 else "int"
            named = {f"value_{text}": array.item()} if array.ndim == 0 else {f"value_{text}s": array.tolist()}
        else:
            named = {"value": numpy_helper.from_array(array, "")}
        self.nodes.append(helper.make_node("Constant", [], [name], **named))
        return name

    def node(self, op, inputs, kind, tail, domain="", place=0, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return Value(names[place], kind, tuple(int(each) for each in tail))

    def floats(self, *shape, scale=1.0):
        """Returns numbers, some of them zero, whole or denormal."""
        values = self.rng.normal(size=shape) * scale
        rest = self.rng.random(shape)
        values = np.where(rest < 0.05, 0.0, np.where(rest < 0.1, np.round(values), values))
        return np.asarray(values, np.float32)


def axis_of(g, value):
    """Returns the index of the last dimension, counted from either end."""
    if g.mistake():
        return int(g.rng.integers(-4, 5))
    return -1 if g.chance(0.5) else len(value.tail)


def unary(g, x):
    op = str(g.rng.choice("Abs Neg Reciprocal Sqrt Exp Log Softsign Sigmoid Softplus Tanh Relu Identity Dropout Floor Ceil Sign Erf Sin Cos Mish".split()))
    if (op in ("Sign", "Erf") and g.opset < 9) or (op == "Mish" and g.opset < 18):
        op = "Ceil"
    return g.node(op, [x.name], x.kind, x.tail)


def gelu(g, x):
    """Adds GELU, which is written out in versions without the operator."""
    if g.opset >= 20:
        given = {} if g.chance(0.3) else {"approximate": str(g.rng.choice(["none", "tanh"]))}
        return g.node("Gelu", [x.name], x.kind, x.tail, **given)
    if g.opset < 9:
        return unary(g, x)
    # ONNX Runtime fuses the operators, so that their products do not overflow.
    x = g.node("Tanh", [x.name], x.kind, x.tail)
    inner = g.node("Div", [x.name, g.constant(np.float32(np.sqrt(2)))], x.kind, x.tail)
    inner = g.node("Erf", [inner.name], x.kind, x.tail)
    inner = g.node("Add", [inner.name, g.constant(np.float32(1))], x.kind, x.tail)
    inner = g.node("Mul", [x.name, inner.name], x.kind, x.tail)
    return g.node("Mul", [inner.name, g.constant(np.float32(0.5))], x.kind, x.tail)


def shaped(g, x):
    """Adds activations with attributes."""
    op = str(g.rng.choice("LeakyRelu HardSigmoid Elu Celu Selu HardSwish ThresholdedRelu".split()))
    if (op == "Celu" and g.opset < 12) or (op == "HardSwish" and g.opset < 14) or (op == "ThresholdedRelu" and g.opset < 10):
        op = "Elu"
    given = {}
    if op != "HardSwish" and g.chance(0.7):
        given["alpha"] = float(g.rng.choice([0.0 if op != "Celu" or g.mistake() else 0.4, 0.3, 2.0, -0.5]))
    if op == "HardSigmoid" and g.chance(0.5):
        given["beta"] = float(g.rng.normal())
    if op == "Selu" and g.chance(0.5):
        given["gamma"] = 0.7
    return g.node(op, [x.name], x.kind, x.tail, **given)


def softmax(g, x):
    op = str(g.rng.choice(["Softmax", "LogSoftmax", "Hardmax"], p=[0.5, 0.4, 0.1]))
    given = {} if g.chance(0.4) else {"axis": axis_of(g, x)}
    if g.opset < 11 and "axis" in given:
        given["axis"] = len(x.tail)
    return g.node(op, [x.name], x.kind, x.tail, **given)


def clip(g, x):
    bounds = [float(each) for each in np.sort(g.rng.normal(size=2))]
    if g.chance(0.1):
        bounds.reverse()
    if g.opset < 11:
        given = {name: bound for name, bound in zip(["min", "max"], bounds) if g.chance(0.6)}
        return g.node("Clip", [x.name], x.kind, x.tail, **given)
    dtype = np.float64 if g.mistake() else np.float32
    inputs = [g.constant(dtype(bound)) if g.chance(0.6) else "" for bound in bounds]
    while inputs and inputs[-1] == "":
        inputs.pop()
    return g.node("Clip", [x.name, *inputs], x.kind, x.tail)


def prelu(g, x):
    shape = [(x.tail[-1],), (1,), (1, x.tail[-1])][g.rng.integers(3)] if x.tail else (1,)
    return g.node("PRelu", [x.name, g.constant(g.floats(*shape))], x.kind, x.tail)


def pair(g, x, others):
    op = str(g.rng.choice(["Add", "Sub", "Mul", "Div", "Min", "Max"], p=[0.22, 0.22, 0.22, 0.22, 0.06, 0.06]))
    beside = [each for each in others if each.kind == x.kind and (each.tail == x.tail or each.width == 1 == len(each.tail) == len(x.tail))]
    if beside and g.chance(0.5):
        other = beside[g.rng.integers(len(beside))]
        tail, second = x.tail, other.name
    else:
        last = x.tail[-1] if x.tail else 1
        wide = int(g.rng.integers(2, 5)) if last == 1 and x.tail else last
        shape = [(), (1,), (wide,), (1, wide)][g.rng.integers(4 if x.tail else 2)]
        if g.mistake():
            shape = (wide + 1,)
        tail, second = (*x.tail[:-1], max(last, shape[-1] if shape else 1)) if x.tail else (), g.constant(g.floats(*shape))
    inputs = [x.name, second] if g.chance(0.6) else [second, x.name]
    return g.node(op, inputs, x.kind, tail)


def power(g, x):
    """Raises to a constant power, or a constant to the power of the numbers."""
    exponent = np.float32(g.rng.choice([2, 3, 0.5, -1, 1.5, 0, 1]))
    if g.opset >= 12 and g.chance(0.3):
        exponent = np.int64(g.rng.integers(-1, 4))
    if g.chance(0.1):
        exponent = g.floats(x.tail[-1])
    shape = [(), (1,), (1, 1)][g.rng.integers(3)] if np.ndim(exponent) == 0 else np.shape(exponent)
    inputs = [x.name, g.constant(np.reshape(exponent, shape))]
    return g.node("Pow", inputs if exponent.dtype == np.int64 or g.chance(0.9) else inputs[::-1], x.kind, x.tail)


def several(g, x, others):
    op = str(g.rng.choice(["Sum", "Mean", "Max", "Min"], p=[0.4, 0.2, 0.2, 0.2]))
    beside = [each for each in others if each.kind == x.kind and each.tail == x.tail] or [x]
    names = [x.name, *(beside[g.rng.integers(len(beside))].name for _ in range(g.rng.integers(0, 3)))]
    return g.node(op, names, x.kind, x.tail)


def reduction(g, x):
    names = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp"]
    op = str(g.rng.choice(names, p=[0.25, 0.25, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1]))
    axis = axis_of(g, x) if g.opset >= 11 else len(x.tail)
    keep = int(g.chance(0.5))
    tail = (*x.tail[:-1], 1) if keep else x.tail[:-1]
    given = {} if keep and g.chance(0.5) else {"keepdims": keep}
    as_input = g.opset >= (13 if op == "ReduceSum" else 18)
    if as_input != g.mistake():
        return g.node(op, [x.name, g.constant(np.array([axis]))], x.kind, tail, **given)
    return g.node(op, [x.name], x.kind, tail, axes=[axis], **given)


def product(g, x):
    units = int(g.rng.integers(1, 6))
    if g.chance(0.15):
        return g.node("MatMul", [x.name, g.constant(g.floats(x.tail[-1]))], x.kind, x.tail[:-1])
    wide = x.tail[-1] + int(g.mistake())
    return g.node("MatMul", [x.name, g.constant(g.floats(wide, units))], x.kind, (*x.tail[:-1], units))


def gemm(g, x):
    units, transposed = int(g.rng.integers(1, 6)), int(g.chance(0.5))
    wide = x.width + int(g.mistake())
    inputs = [x.name, g.constant(g.floats(*((units, wide) if transposed else (wide, units))))]
    given = {"transB": transposed * int(g.rng.choice([1, 1, 2]))} if transposed else {}
    if g.chance(0.4):
        given["alpha"] = float(g.rng.choice([0.0, 0.5, -2.0, 1.0]))
    if g.chance(0.4):
        given["beta"] = float(g.rng.choice([0.0, 0.5, -2.0, 1.0]))
    if g.chance(0.7) or g.opset < 11:
        shape = [(units,), (1, units), (1,), (), (1, 1), (units + 1,)][g.rng.integers(6 if g.mistake() else 5)]
        inputs.append(g.constant(g.floats(*shape)))
    return g.node("Gemm", inputs, x.kind, (units,), **given)


def batch_normalization(g, x):
    lists = [g.floats(x.width) for _ in range(3)] + [np.abs(g.floats(x.width)) + np.float32(0.1)]
    if g.mistake():
        lists[2] = lists[2][:-1]
    given = {"epsilon": 0.01} if g.chance(0.5) else {}
    return g.node("BatchNormalization", [x.name, *map(g.constant, lists)], x.kind, x.tail, **given)


def concat(g, x, others):
    parts = [each for each in others if each.kind == x.kind and each.tail[:-1] == x.tail[:-1] and len(each.tail) == len(x.tail)]
    parts = [x, *(parts[g.rng.integers(len(parts))] for _ in range(g.rng.integers(0, 3)) if parts)]
    wide = sum(each.tail[-1] for each in parts)
    return g.node("Concat", [each.name for each in parts], x.kind, (*x.tail[:-1], wide), axis=axis_of(g, x))


def cut(g, x):
    wide = x.tail[-1]
    first = int(g.rng.integers(0, wide))
    end = int(g.rng.integers(first + 1, wide + 1))
    starts, ends = first - wide if g.chance(0.3) else first, end if g.chance(0.5) else end - wide if end < wide else 2**62
    axis, step = axis_of(g, x) if g.opset >= 10 else len(x.tail), int(g.rng.choice([1, 1, 1, 2])) if g.opset >= 10 else 1
    tail = (*x.tail[:-1], -(-(end - first) // step))
    if g.opset < 10:
        return g.node("Slice", [x.name], x.kind, tail, starts=[starts], ends=[ends], axes=[axis])
    lists = [[starts], [ends], [axis]] + ([[step]] if step != 1 or g.chance(0.5) else [])
    return g.node("Slice", [x.name, *(g.constant(np.array(each)) for each in lists)], x.kind, tail)


def split(g, x):
    wide = x.tail[-1]
    count = int(g.rng.integers(1, min(wide, 3) + 1))
    edges = [0, *sorted(g.rng.choice(np.arange(1, wide), count - 1, replace=False).tolist()), wide]
    sizes = np.diff(edges)
    inputs, given = [x.name], {"axis": axis_of(g, x) if g.opset >= 11 else len(x.tail)}
    if wide % count == 0 and g.chance(0.4):
        sizes = np.full(count, wide // count)
        if g.opset >= 18:
            given["num_outputs"] = count
    elif g.opset >= 18 and g.chance(0.2) and -(-wide // count) * (count - 1) < wide:
        given["num_outputs"], size = count, -(-wide // count)
        sizes = np.array([size] * (count - 1) + [wide - size * (count - 1)])
    elif g.opset >= 13:
        inputs.append(g.constant(sizes.astype(np.int64)))
    else:
        given["split"] = sizes.tolist()
    place = int(g.rng.integers(count))
    return g.node("Split", inputs, x.kind, (*x.tail[:-1], sizes[place]), place=place, outputs=count, **given)


def gather(g, x):
    wide = x.tail[-1]
    low = -wide if g.opset >= 11 else 0
    places = g.rng.integers(low, wide + int(g.mistake()), int(g.rng.integers(1, wide + 2)))
    if g.chance(0.15):
        return g.node("Gather", [x.name, g.constant(np.int64(places[0]))], x.kind, x.tail[:-1], axis=len(x.tail))
    places = places.astype(np.int32) if g.chance(0.3) else places
    return g.node("Gather", [x.name, g.constant(places)], x.kind, (*x.tail[:-1], len(places)), axis=len(x.tail))


def reshape(g, x):
    shapes = [[-1, x.width], [0, -1], [0, x.width], [-1, 1, x.width], [0, 0, -1] if len(x.tail) == 2 else [0, -1, 1]]
    if x.width == 1:
        shapes.append([-1])
    if g.mistake():
        shapes.append([0, x.width + 1])
    at = int(g.rng.integers(len(shapes)))
    shape = shapes[at]
    tail = [x.tail[place] if dim == 0 else dim for place, dim in enumerate(shape[1:])]
    left = x.width // int(abs(np.prod([each for each in tail if each != -1], dtype=int)) or 1)
    return g.node("Reshape", [x.name, g.constant(np.array(shape))], x.kind, [left if each == -1 else each for each in tail])


def squeezed(g, x):
    if x.tail and 1 in x.tail and g.chance(0.6):
        place = x.tail.index(1)
        op, axis, tail = "Squeeze", place + 1, x.tail[:place] + x.tail[place + 1 :]
    else:
        axis = int(g.rng.integers(1, len(x.tail) + 2))
        op, tail = "Unsqueeze", (*x.tail[: axis - 1], 1, *x.tail[axis - 1 :])
    if g.opset >= 13:
        axis = axis - len(x.tail) - (2 if op == "Unsqueeze" else 1) if g.chance(0.4) else axis
        return g.node(op, [x.name, g.constant(np.array([axis]))], x.kind, tail)
    return g.node(op, [x.name], x.kind, tail, axes=[axis])


def flatten(g, x):
    return g.node("Flatten", [x.name], x.kind, (x.width,), **({"axis": 1} if g.chance(0.5) else {}))


def cast(g, x):
    """Casts to another type and back, or once."""
    codes = {"float": 1, "int32": 6, "int64": 7, "bool": 9, "double": 11, "half": 10}
    kinds = ["double", "double", "int64", "bool", "float", "half"]
    kind = str(g.rng.choice(kinds))
    if x.kind != "float" and (x.kind == "string" or g.chance(0.7)):
        kind = "float"
    found = g.node("Cast", [x.name], kind, x.tail, to=codes[kind])
    return g.node("Cast", [found.name], "float", x.tail, to=1) if kind == "half" or (kind != "float" and g.chance(0.7)) else found


def layer_normalization(g, x):
    if g.opset < 17:
        return batch_normalization(g, x) if flat(x) else unary(g, x)
    wide = x.tail[-1] + int(g.mistake())
    lists = [g.floats(wide) for _ in range(1 + int(g.chance(0.7)))]
    given = {} if g.chance(0.5) else {"axis": axis_of(g, x)}
    if g.chance(0.5):
        given["epsilon"] = 0.01
    return g.node("LayerNormalization", [x.name, *map(g.constant, lists)], x.kind, x.tail, **given)


def choice(g, x):
    """Compares with a constant, and chooses between two numbers or turns the truth into a number."""
    names = ["Less", "Greater", "Equal"] + (["LessOrEqual", "GreaterOrEqual"] if g.opset >= 16 else [])
    bounds = lambda: g.constant(np.float32(g.rng.choice([0, 0.1, -1])) if g.chance(0.5) else g.floats(x.tail[-1]))
    compare = lambda: g.node(str(g.rng.choice(names if g.opset >= 11 else names[:2])), [x.name, bounds()], "bool", x.tail)
    odd = lambda: g.node(str(g.rng.choice(["IsNaN"] + (["IsInf"] if g.opset >= 10 else []))), [x.name], "bool", x.tail)
    found = compare() if g.opset < 9 or g.chance(0.8) else odd()
    if g.chance(0.3):
        found = g.node("Not", [found.name], "bool", x.tail)
    if g.chance(0.3):
        found = g.node(str(g.rng.choice(["And", "Or", "Xor"])), [found.name, compare().name], "bool", x.tail)
    if g.opset < 9 or g.chance(0.3):
        return g.node("Cast", [found.name], "float", x.tail, to=1)
    sides = [x.name, bounds()]
    return g.node("Where", [found.name, *(sides if g.chance(0.5) else sides[::-1])], x.kind, x.tail)


def embedding(g, x):
    """Chooses rows of a table, by numbers that are whole within it."""
    count, wide = int(g.rng.integers(2, 7)), int(g.rng.integers(1, 5))
    whole = x
    if x.kind == "float":
        if g.opset < 13:
            return unary(g, x)
        bound = g.node("Clip", [x.name, g.constant(np.float32(-count if g.chance(0.5) else 0)), g.constant(np.float32(count - 1))], "float", x.tail)
        # NaN is in no table.
        known = g.node("Where", [g.node("IsNaN", [x.name], "bool", x.tail).name, g.constant(np.float32(0)), bound.name], "float", x.tail)
        whole = g.node("Cast", [known.name], "int64", x.tail, to=7)
    return g.node("Gather", [g.constant(g.floats(count, wide)), whole.name], "float", (*x.tail, wide), axis=0)


def support_vectors(g, x):
    count = int(g.rng.integers(1, 8))
    kernel = str(g.rng.choice(["LINEAR", "RBF", "POLY", "SIGMOID"]))
    given = {"kernel_type": kernel, "kernel_params": [0.3, float(g.rng.choice([0, 0.5])), 3.0]}
    lists = {"support_vectors": g.floats(count * x.width).tolist(), "coefficients": g.floats(count).tolist(), "rho": g.floats(1).tolist()}
    if g.chance(0.1):
        given["one_class"] = 1
    return g.node("SVMRegressor", [x.name], "float", (1,), ML, n_supports=count, **given, **lists)


def classified_vectors(g, x):
    """Adds a classifier by support vectors, with probabilities or, of two classes, with scores."""
    classes = int(g.rng.integers(2, 5))
    counts = g.rng.integers(1, 4, classes).tolist()
    count, pairs = sum(counts), classes * (classes - 1) // 2
    given = {"kernel_type": str(g.rng.choice(["LINEAR", "RBF", "POLY", "SIGMOID"])), "kernel_params": [0.3, float(g.rng.choice([0, 0.5])), 3.0]}
    lists = {"support_vectors": g.floats(count * x.width).tolist(), "coefficients": g.floats((classes - 1) * count).tolist(), "rho": g.floats(pairs).tolist()}
    if classes > 2 or g.chance(0.7):
        lists |= {"prob_a": (-np.abs(g.floats(pairs)) - 0.1).tolist(), "prob_b": g.floats(pairs).tolist()}
    if g.mistake():
        lists["rho"] = [*lists["rho"], 0.5]
    labels = {"classlabels_ints": list(range(classes))} if g.chance(0.5) else {"classlabels_strings": [f"k{at}" for at in range(classes)]}
    return g.node("SVMClassifier", [x.name], "float", (classes,), ML, place=1, outputs=2, vectors_per_class=counts, post_transform="NONE", **given, **lists, **labels)


def shares(g, x):
    """Adds what skl2onnx writes for probabilities that were scored one by one."""
    if g.opset < 13:
        return normalizer(g, x)
    p = g.node(str(g.rng.choice(["Exp", "Sigmoid", "Abs"], p=[0.2, 0.2, 0.6])), [x.name], x.kind, x.tail)
    total = g.node("ReduceSum", [p.name, g.constant(np.array([1]))], x.kind, (1,))
    truth = g.node("Cast", [total.name], "bool", (1,), to=9)
    none = g.node("Cast", [g.node("Not", [truth.name], "bool", (1,)).name], x.kind, (1,), to=1)
    scaled = g.node("Mul", [none.name, g.constant(np.float32(x.width))], x.kind, (1,))
    divisor = g.node("Add", [total.name, scaled.name], x.kind, (1,))
    return g.node("Div", [g.node("Add", [p.name, none.name], x.kind, x.tail).name, divisor.name], x.kind, x.tail)


def equal_numbers(g, x):
    """Adds equal numbers beside those of a row."""
    if g.opset < 9:
        return unary(g, x)
    shape = g.node("Shape", [x.name], "int64", (2,))
    given = {} if g.chance(0.3) else {"value": numpy_helper.from_array(g.floats(1), "")}
    equal = g.node("ConstantOfShape", [shape.name], "float", x.tail, **given)
    return g.node("Concat", [x.name, equal.name], "float", (2 * x.width,), axis=1)


def lp_normalization(g, x):
    given = {} if g.chance(0.3) else {"p": int(g.rng.choice([1, 2]))}
    return g.node("LpNormalization", [x.name], x.kind, x.tail, **given, **({} if g.chance(0.3) else {"axis": axis_of(g, x)}))


def running_sum(g, x):
    if g.opset < 11:
        return unary(g, x)
    given = {} if g.chance(0.8) else {str(g.rng.choice(["exclusive", "reverse"])): 1}
    return g.node("CumSum", [x.name, g.constant(np.array(axis_of(g, x)))], x.kind, x.tail, **given)


def foreign(g, x):
    """Adds operators that Tenure leaves to ONNX Runtime."""
    which = int(g.rng.integers(4))
    if which == 0:
        condition = g.node("Greater" if g.opset < 9 or g.chance(0.5) else "Less", [x.name, g.constant(np.float32(0.1))], "bool", x.tail)
        if g.opset < 9:
            return g.node("Cast", [condition.name], "float", x.tail, to=1)
        return g.node("Where", [condition.name, x.name, g.constant(np.float32(-1))], x.kind, x.tail)
    if which == 1:
        given = {"select_last_index": int(g.rng.integers(2))} if g.opset >= 12 else {}
        best = g.node("ArgMax", [x.name], "int64", (*x.tail[:-1], 1), axis=len(x.tail), keepdims=1, **given)
        return g.node("Cast", [best.name], "float", best.tail, to=1)
    if which == 2 and g.opset >= 11:
        return g.node("TopK", [x.name, g.constant(np.array([1]))], x.kind, (*x.tail[:-1], 1), outputs=2, axis=len(x.tail))
    return g.node("Erf" if g.opset >= 9 else "Ceil", [x.name], x.kind, x.tail)


def scaler(g, x):
    size = 1 if g.chance(0.3) else x.width + int(g.mistake())
    return g.node("Scaler", [x.name], "float", x.tail, ML, offset=g.floats(size).tolist(), scale=g.floats(size).tolist())


def normalizer(g, x):
    given = {} if g.chance(0.2) else {"norm": str(g.rng.choice(["L1", "L2", "MAX"]))}
    return g.node("Normalizer", [x.name], "float", x.tail, ML, **given)


def imputer(g, x):
    fills = g.floats(1 if g.chance(0.4) else x.width + int(g.mistake())).tolist()
    replaced = float(g.rng.choice([np.nan, 0.0, 1.0, np.inf]))
    return g.node("Imputer", [x.name], "float", x.tail, ML, imputed_value_floats=fills, replaced_value_float=replaced)


def linear(g, x):
    units = int(g.rng.integers(1, 4))
    given = {"coefficients": g.floats(units * x.width).tolist(), "post_transform": "NONE"}
    if g.chance(0.5):
        if g.chance(0.7):
            given["intercepts"] = g.floats(units).tolist()
        if g.chance(0.2):
            given["post_transform"] = str(g.rng.choice(["LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]))
        return g.node("LinearRegressor", [x.name], "float", (units,), ML, targets=units, **given)
    given["post_transform"] = str(g.rng.choice(["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"], p=[0.3, 0.3, 0.3, 0.05, 0.05]))
    given["intercepts"] = g.floats(units).tolist()
    count = 2 if units == 1 else units
    labels = {"classlabels_ints": list(range(count))} if g.chance(0.5) else {"classlabels_strings": [f"k{at}" for at in range(count)]}
    return g.node("LinearClassifier", [x.name], "float", (count,), ML, place=1, outputs=2, multi_class=int(g.chance(0.3)), **given, **labels)


def extractor(g, x):
    places = g.rng.integers(0, x.width + int(g.mistake()), int(g.rng.integers(1, 4)))
    return g.node("ArrayFeatureExtractor", [x.name, g.constant(places)], x.kind, (len(places),), ML)


def one_hot(g, x):
    given = {"cats_strings": ["red", "blue", "grün"]} if x.kind == "string" else {"cats_int64s": [0, 1, 2, 5, -1]}
    found = g.node("OneHotEncoder", [x.name], "float", (1, len(list(given.values())[0])), ML, **given, zeros=1)
    return flatten(g, found)


def label(g, x):
    given = {"keys_strings": ["red", "", "grün"]}
    if g.chance(0.5):
        given["values_floats"] = [0.5, -1.0, float("nan")] if g.chance(0.2) else [0.5, -1.0, 3.0]
    else:
        given["values_int64s"] = [3, -1, 7]
    if g.chance(0.6):
        given["default_float" if "values_floats" in given else "default_int64"] = 9
    whole = "values_int64s" in given
    found = g.node("LabelEncoder", [x.name], "int64" if whole else "float", x.tail, ML, **given)
    return g.node("Cast", [found.name], "float", found.tail, to=1) if whole else found


def flat(value):
    return len(value.tail) == 1


# Function, weight, and accepted values.
ANY = lambda x: x.kind == "float"
ROW = lambda x: x.kind == "float" and flat(x)
LISTED = lambda x: x.kind == "float" and len(x.tail) > 0
OPERATORS = [
    (unary, 5, ANY), (shaped, 3, ANY), (softmax, 2, LISTED), (clip, 2, ANY), (prelu, 1, LISTED), (pair, 6, ANY), (several, 1, ANY),
    (reduction, 2, LISTED), (product, 3, LISTED), (gemm, 3, ROW), (batch_normalization, 2, ROW), (concat, 2, lambda x: x.tail and x.kind != "string"),
    (cut, 2, LISTED), (split, 2, LISTED), (gather, 2, LISTED), (reshape, 2, lambda x: x.kind != "string"), (squeezed, 2, ANY), (flatten, 1, ANY),
    (cast, 1, ANY), (foreign, 0.4, LISTED), (gelu, 1, ANY), (power, 1, LISTED), (layer_normalization, 1, LISTED), (choice, 1.5, LISTED),
    (embedding, 1, LISTED), (support_vectors, 0.5, ROW), (classified_vectors, 0.7, ROW), (shares, 0.7, ROW), (equal_numbers, 0.5, ROW), (lp_normalization, 0.7, ROW), (running_sum, 0.5, ROW), (own_weights, 1, ROW), (scaler, 1, ROW), (normalizer, 1, ROW), (imputer, 1, ROW), (linear, 1, ROW), (extractor, 1, ROW),
    (one_hot, 1, lambda x: x.tail == (1,) and x.kind != "bool"), (label, 4, lambda x: x.kind == "string"),
    (attention, 3, ROW), (moved, 2, LISTED), (whole_embedding, 3, lambda x: x.kind == "int64" and flat(x)), (double_layer, 8, lambda x: x.kind == "double" and flat(x)),
    (cast, 6, lambda x: x.kind not in ("float", "string")), (one_hot, 4, lambda x: x.kind == "string"),
]  # fmt: skip


def grow(g, inputs):
    """Adds operators on the values so far. Returns a row of numbers."""
    values = [Value(name, kind, (width,)) for name, kind, width in inputs]
    for _ in range(g.rng.integers(1, 10)):
        x = values[-1] if g.chance(0.6) else values[g.rng.integers(len(values))]
        fitting = [(make, weight) for make, weight, takes in OPERATORS if takes(x)]
        weights = np.array([weight for _, weight in fitting], float)
        make = fitting[g.rng.choice(len(fitting), p=weights / weights.sum())][0]
        values.append(make(g, x, values[:-1]) if make in (pair, several, concat) else make(g, x))
    last = values[-1]
    while last.kind == "string":
        last = label(g, last)
    if last.kind not in ("float", "double"):
        last = g.node("Cast", [last.name], "float", last.tail, to=1)
    if len(last.tail) > 1:
        last = flatten(g, last)
    return replace(last, name=g.node("Identity", [last.name], last.kind, last.tail).name) if last.name in [name for name, _, _ in inputs] else last
