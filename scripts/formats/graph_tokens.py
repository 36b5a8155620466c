"""
Generates the parts of random ONNX graphs that have tokens: the attention of transformers as exporters write it, operators along any dimension,
and whole numbers before embeddings.
"""

import numpy as np


def sizes(g, x, *wanted):
    """Returns a shape for `Reshape`: a constant, or sizes that are computed from the shape of `x`. None is the number of rows, -1 what is left."""
    if g.chance(0.5) or wanted.count(-1) > 0 or g.opset < 13:
        open_rows = -1 if wanted.count(-1) == 0 else 0
        return g.constant(np.array([open_rows if each is None else each for each in wanted]))
    shape = g.node("Shape", [x.name], "sizes", ())
    parts = []
    for each in wanted:
        if each is not None:
            parts.append(g.constant(np.array([each])))
            continue
        if g.chance(0.5):
            rows = g.node("Gather", [shape.name, g.constant(np.int64(0))], "sizes", (), axis=0)
            parts.append(g.node("Unsqueeze", [rows.name, g.constant(np.array([0]))], "sizes", ()).name)
        else:
            parts.append(g.node("Slice", [shape.name, g.constant(np.array([0])), g.constant(np.array([1])), g.constant(np.array([0]))], "sizes", ()).name)
    return g.node("Concat", parts, "sizes", (), axis=0).name


def reshaped(g, x, *wanted):
    """Reshapes a value; None is the number of rows."""
    return g.node("Reshape", [x.name, sizes(g, x, *wanted)], x.kind, wanted[1:] if wanted[0] is None else ())


def transposed(g, x, *order):
    return g.node("Transpose", [x.name], x.kind, (), perm=list(order))


def dense(g, x, wide, units):
    """Multiplies each token by the same weights, with a bias on either side of the sum."""
    found = g.node("MatMul", [x.name, g.constant(g.floats(wide, units, scale=0.7))], "float", (*x.tail[:-1], units))
    if g.chance(0.2):
        return found
    inputs = [found.name, g.constant(g.floats(units))]
    return g.node("Add", inputs if g.chance(0.5) else inputs[::-1], "float", found.tail)


def tokens(g, x):
    """Makes a few tokens of a row of numbers, which are bounded so that rounding decides no softmax."""
    x = g.node("Tanh", [x.name], "float", x.tail)
    count, wide = x.tail[-1], int(g.rng.choice([2, 4, 6, 8]))
    axis = g.constant(np.array([len(x.tail) + 1]))
    column = g.node("Unsqueeze", [x.name, axis], "float", (count, 1))
    found = g.node("Mul", [column.name, g.constant(g.floats(1, count, wide) if g.chance(0.5) else g.floats(count, wide))], "float", (count, wide))
    if g.chance(0.7):
        found = g.node("Add", [found.name, g.constant(g.floats(1, count, wide))], "float", found.tail)
    if g.chance(0.5):
        first = g.node("Expand", [g.constant(g.floats(wide)), expanded(g, x, 1, wide)], "float", (1, wide))
        found = g.node("Concat", [first.name, found.name], "float", (count + 1, wide), axis=1)
    return found


def expanded(g, x, *tail):
    shape = g.node("Shape", [x.name], "sizes", ())
    rows = g.node("Slice", [shape.name, g.constant(np.array([0])), g.constant(np.array([1]))], "sizes", ())
    return g.node("Concat", [rows.name, g.constant(np.array(tail))], "sizes", (), axis=0).name


def scaled(g, x, width):
    by = np.float32(np.sqrt(width))
    if g.chance(0.3):
        return x
    return g.node("Div", [x.name, g.constant(by)], "float", x.tail) if g.chance(0.5) else g.node("Mul", [x.name, g.constant(np.reshape(1 / by, (1,)))], "float", x.tail)


def parts_of(g, x, count, wide, style):
    """Returns queries, keys and values: of three products, or of one that is divided."""
    if style == "apart":
        return [dense(g, x, wide, wide) for _ in range(3)]
    joined = dense(g, x, wide, 3 * wide)
    if style == "slices":
        axis = g.constant(np.array([2]))
        bounds = [(g.constant(np.array([at * wide])), g.constant(np.array([(at + 1) * wide]))) for at in range(3)]
        return [g.node("Slice", [joined.name, first, end, axis], "float", (count, wide)) for first, end in bounds]
    apart = reshaped(g, joined, None, count, 3, wide)
    moved = transposed(g, apart, 2, 0, 1, 3)
    return [g.node("Gather", [moved.name, g.constant(np.int64(at))], "float", (count, wide), axis=0) for at in range(3)]


def attention(g, x):
    """Adds attention among tokens with heads, in one of the ways of writing it."""
    if g.opset < 13 or x.tail[-1] > 6:
        return g.node("Tanh", [x.name], x.kind, x.tail)
    x = tokens(g, x)
    count, wide = x.tail
    heads = int(g.rng.choice([1, 2]))
    size = wide // heads
    style = str(g.rng.choice(["apart", "slices", "gathers"]))
    queries, keys, values = parts_of(g, x, count, wide, style)
    way = str(g.rng.choice(["heads", "merged", "behind", "einsum"]))
    if way == "einsum":
        q, k, v = (reshaped(g, each, None, count, heads, size) for each in (queries, keys, values))
        found = g.node("Einsum", [scaled(g, q, size).name, k.name], "float", (), equation="b i h d, b j h d -> b h i j")
        found = g.node("Softmax", [found.name], "float", (), axis=-1)
        found = g.node("Einsum", [found.name, v.name], "float", (), equation="bhij,bjhd->bihd")
    elif way == "behind":
        q, k, v = (reshaped(g, transposed(g, each, 1, 0, 2), count, -1, size) for each in (queries, keys, values))
        found = g.node("MatMul", [transposed(g, scaled(g, q, size), 1, 0, 2).name, transposed(g, k, 1, 2, 0).name], "float", ())
        found = g.node("Softmax", [found.name], "float", (), axis=2)
        found = g.node("MatMul", [found.name, transposed(g, v, 1, 0, 2).name], "float", ())
        found = transposed(g, reshaped(g, transposed(g, found, 1, 0, 2), count, -1, wide), 1, 0, 2)
    else:
        q, k, v = (transposed(g, reshaped(g, each, None, count, heads, size), 0, 2, 1, 3) for each in (queries, keys, values))
        back = (0, 1, 3, 2)
        if way == "merged":
            q, k, v = (reshaped(g, each, -1, count, size) for each in (q, k, v))
            back = (0, 2, 1)
        found = g.node("MatMul", [scaled(g, q, size).name, transposed(g, k, *back).name], "float", ())
        found = g.node("Softmax", [scaled(g, found, size).name], "float", (), axis=-1)
        found = g.node("MatMul", [found.name, v.name], "float", ())
        if way == "merged":
            found = reshaped(g, found, -1, heads, count, size)
        found = transposed(g, found, 0, 2, 1, 3)
    found = reshaped(g, found, None, count, wide) if way != "behind" else found
    found = dense(g, g.node("Identity", [found.name], "float", (count, wide)), wide, wide)
    found = g.node("Add", [x.name, found.name], "float", (count, wide))
    return collected(g, found)


def collected(g, x):
    """Makes one row of tokens: their mean, the first one, or all of them."""
    count, wide = x.tail
    if g.opset >= 17 and g.chance(0.4):
        x = g.node("LayerNormalization", [x.name, g.constant(g.floats(wide)), g.constant(g.floats(wide))], "float", x.tail, axis=-1)
    if g.chance(0.3):
        return g.node("Gather", [x.name, g.constant(np.int64(g.rng.integers(0, count)))], "float", (wide,), axis=1)
    if g.chance(0.3):
        inputs = [x.name, g.constant(np.array([1]))] if g.opset >= 18 else [x.name]
        return g.node("ReduceMean", inputs, "float", (wide,), keepdims=0, **({} if g.opset >= 18 else {"axes": [1]}))
    return x if g.chance(0.5) else g.node("Flatten", [x.name], "float", (count * wide,))


def moved(g, x):
    """Arranges the numbers of a row: its dimensions in another order, or a part along any of them."""
    if len(x.tail) < 2:
        parts = [each for each in range(2, x.tail[-1] + 1) if x.tail[-1] % each == 0]
        if not parts:
            return g.node("Unsqueeze", [x.name, g.constant(np.array([1]))], x.kind, (1, *x.tail)) if g.opset >= 13 else x
        first = int(g.rng.choice(parts))
        shape = np.array([-1, first, x.tail[-1] // first])
        return g.node("Reshape", [x.name, g.constant(shape)], x.kind, (first, x.tail[-1] // first))
    axis = int(g.rng.integers(1, len(x.tail) + 1))
    size = x.tail[axis - 1]
    with_size = lambda wide: (*x.tail[: axis - 1], wide, *x.tail[axis:])
    way = int(g.rng.integers(5))
    if way == 0 or g.opset < 13:
        order = [int(each) for each in g.rng.permutation(len(x.tail))]
        return g.node("Transpose", [x.name], x.kind, [x.tail[each] for each in order], perm=[0, *(each + 1 for each in order)])
    if way == 1:
        first = int(g.rng.integers(0, size))
        lists = [[first], [2**62], [axis]]
        return g.node("Slice", [x.name, *(g.constant(np.array(each)) for each in lists)], x.kind, with_size(size - first))
    if way == 2:
        places = g.rng.integers(-size, size, int(g.rng.integers(1, 4)))
        return g.node("Gather", [x.name, g.constant(places)], x.kind, with_size(len(places)), axis=axis)
    if way == 3:
        return g.node("Concat", [x.name, x.name], x.kind, with_size(size * 2), axis=axis)
    inputs = [x.name, g.constant(np.array([axis]))]
    op = str(g.rng.choice(["ReduceSum", "ReduceMean"])) if g.opset >= 18 else "ReduceSum"
    return g.node(op, inputs, x.kind, with_size(1))


def whole_embedding(g, x):
    """Chooses rows of a table by whole numbers after an operator on them."""
    if g.opset < 13:
        return g.node("Cast", [x.name], "float", x.tail, to=1)
    count = int(g.rng.integers(4, 9))
    low = g.node("Max", [x.name, g.constant(np.int64(-2))], "int64", x.tail)
    high = g.node("Min", [low.name, g.constant(np.int64(count - 3))], "int64", x.tail)
    offsets = np.int64(2) if g.chance(0.5) else g.rng.integers(0, 3, x.tail[-1])
    places = g.node("Add", [high.name, g.constant(offsets)], "int64", x.tail)
    if g.chance(0.5):
        return g.node("Gather", [g.constant(g.floats(count + 2, 3)), places.name], "float", (*x.tail, 3), axis=0)
    truth = g.node(str(g.rng.choice(["Equal", "Less", "Greater"])), [places.name, g.constant(np.int64(3))], "bool", x.tail)
    return g.node("Cast", [truth.name], "float", x.tail, to=1)


def own_weights(g, x):
    """Multiplies each of several tokens by weights of its own."""
    if g.opset < 13:
        return moved(g, x)
    wide, count, units, way = x.width, int(g.rng.integers(1, 4)), int(g.rng.integers(1, 4)), int(g.rng.integers(3))
    ints = lambda *numbers: g.constant(np.array(numbers, np.int64))
    tokens = g.node("Unsqueeze", [x.name, ints(1)], "float", (1, wide))
    tokens = g.node("Mul", [tokens.name, g.constant(g.floats(count, wide))], "float", (count, wide))
    if way == 0:
        made = g.node("Einsum", [tokens.name, g.constant(g.floats(count, wide, units))], "float", (count, units), equation="nkh,kho->nko")
    elif way == 1:
        turned = g.node("Transpose", [tokens.name], "float", (wide,), perm=[1, 0, 2])
        made = g.node("MatMul", [turned.name, g.constant(g.floats(count, wide, units))], "float", (units,))
        made = g.node("Transpose", [made.name], "float", (count, units), perm=[1, 0, 2])
    else:
        single = g.node("Unsqueeze", [tokens.name, ints(2)], "float", (count, 1, wide))
        shape = (1, count, wide, units) if g.chance(0.5) else (count, wide, units)
        made = g.node("MatMul", [single.name, g.constant(g.floats(*shape))], "float", (count, 1, units))
        made = g.node("Squeeze", [made.name, ints(2)], "float", (count, units))
    return g.node("Flatten", [made.name], "float", (count * units,))


def double_layer(g, x):
    """Adds an operator on numbers of 64 bits."""
    wide = x.tail[-1]
    doubles = lambda *shape: g.constant(g.rng.normal(size=shape))
    way = int(g.rng.integers(8))
    if way == 6:
        summands = [x.name, *(doubles(wide) if g.chance(0.5) else x.name for _ in range(g.rng.integers(0, 3)))]
        return g.node("Sum", summands, "double", x.tail)
    if way == 7 and g.opset >= 13:
        bounds = [g.constant(np.float64(each)) for each in np.sort(g.rng.normal(size=2))]
        return g.node("Clip", [x.name, *bounds], "double", x.tail) if g.chance(0.5) else g.node("LpNormalization", [x.name], "double", x.tail, axis=1, p=int(g.rng.choice([1, 2])))
    if way == 0 and g.chance(0.2):
        return g.node("Unsqueeze", [g.node("MatMul", [x.name, doubles(wide)], "double", ()).name, g.constant(np.array([1]))], "double", (1,)) if g.opset >= 13 else x
    if way == 0:
        units = int(g.rng.integers(1, 5))
        return g.node("MatMul", [x.name, doubles(wide, units)], "double", (units,))
    if way == 1 and g.opset >= 11:
        units, turned = int(g.rng.integers(1, 5)), int(g.chance(0.5))
        inputs = [x.name, doubles(*((units, wide) if turned else (wide, units)))] + ([doubles(units)] if g.chance(0.7) else [])
        return g.node("Gemm", inputs, "double", (units,), **({"transB": 1} if turned else {}))
    if way == 2 and g.opset >= 18:
        op = str(g.rng.choice(["ReduceSum", "ReduceMean", "ReduceL2", "ReduceSumSquare"]))
        total = g.node(op, [x.name, g.constant(np.array([1]))], "double", (1,))
        return g.node("Div", [x.name, total.name], "double", x.tail) if g.chance(0.5) else total
    if way == 3 and g.opset >= 13:
        return g.node("Softmax", [x.name], "double", x.tail, axis=-1)
    if way == 4 and g.opset >= 14:
        op = str(g.rng.choice("Abs Neg Sqrt Reciprocal Relu Exp Log Sigmoid Tanh".split()))
        return g.node(op, [x.name], "double", x.tail)
    return g.node(str(g.rng.choice(["Add", "Sub", "Mul", "Div"])), [x.name, doubles(wide) if g.chance(0.6) else doubles()], "double", x.tail)
