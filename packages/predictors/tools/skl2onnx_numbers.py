"""Makes skl2onnx 1.20 convert histogram gradient boosting: skl2onnx returns NumPy numbers for a node, which onnx refuses."""

import numpy as np
import skl2onnx.common._container as container


def plain_numbers(value):
    if isinstance(value, list):
        return [plain_numbers(each) for each in value]
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value


def take_numpy_numbers():
    make_node = container.make_node
    container.make_node = lambda *given, **named: make_node(*given, **{k: plain_numbers(v) for k, v in named.items()})
