"""Quantizes an ONNX file to 8 bits with ONNX Runtime's own tool, statically, by rows of training.

Reads one line of JSON: ``model`` and ``to``, two paths; ``rows``, the path of numbers of 64 bits; and ``inputs``, the
name, type, width and, for a tensor, shape of each input, which a row holds in this order. Prints one line of JSON:
``refused``, or ``counts``.
"""

import json
import resource
import sys
from typing import Any, Dict, Iterator, List, Optional

import numpy as np
import onnx
from onnx import numpy_helper, version_converter
from onnxruntime import quantization

batch_rows = 100
#: A matrix with a smaller share of the weights costs more steps than it saves bytes.
least_share = 0.1
multiplying = ("Conv", "Gemm", "MatMul")
#: The first version of the operators whose scales may differ by channel.
least_opset = 13


class Batches(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, rows: Any, inputs: List[Dict[str, Any]]) -> None:
        self.batches = self.each(rows, inputs)

    def each(self, rows: Any, inputs: List[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
        for start in range(0, len(rows), batch_rows):
            some, at, batch = rows[start : start + batch_rows], 0, {}
            for each in inputs:
                shape = each.get("shape", [each["width"]])
                batch[each["name"]] = some[:, at : at + each["width"]].astype(each["type"]).reshape(-1, *shape)
                at += each["width"]
            yield batch

    def get_next(self) -> Optional[Dict[str, Any]]:
        return next(self.batches, None)


def hold_constants(graph: Any) -> None:
    """Makes tensors of 32 bits of the graph itself of those in Constant nodes, and of those of 16 bits that a Cast widens."""
    # An initializer that is an input too is its default alone.
    given = {each.name for each in graph.input}
    held = {each.name: each for each in graph.initializer if each.name not in given}
    for node in list(graph.node):
        tensor, attributes = None, {each.name: each for each in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            tensor = attributes["value"].t
        elif node.op_type == "Cast" and node.input[0] in held and attributes["to"].i == onnx.TensorProto.FLOAT:
            tensor = numpy_helper.from_array(numpy_helper.to_array(held[node.input[0]]).astype(np.float32))
        if tensor is not None:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            held[tensor.name] = tensor
            graph.node.remove(node)


def quantize(model: str, to: str, rows: str, inputs: List[Dict[str, Any]], width: int) -> Dict[str, Any]:
    values = np.fromfile(rows).reshape(-1, width)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) == 0:
        return {"refused": "every row of training has a missing value, and the tool needs rows of numbers"}
    graph = onnx.load(model)
    opset = next((each.version for each in graph.opset_import if each.domain in ("", "ai.onnx")), least_opset)
    if opset < least_opset:
        try:
            graph = version_converter.convert_version(graph, least_opset)
        except Exception as error:
            why = str(error).strip().partition("\n")[0][:200]
            return {"refused": f"the graph has opset {opset}, and 8 bits by channel need {least_opset}: export it with that or a later one. A conversion failed: {why}"}
    hold_constants(graph.graph)
    sizes = {each.name: int(np.prod(each.dims)) for each in graph.graph.initializer if each.data_type == 1}
    total = sum(sizes.values())
    chosen, weights = [], set()
    for at, node in enumerate(graph.graph.node):
        # The tool finds nodes by their names, and a file may lack them or give one name to several.
        node.name = f"node {at}"
        known = [name for name in node.input if name in sizes]
        largest = max(known, key=lambda name: sizes[name], default=None)
        if node.op_type in multiplying and largest is not None and sizes[largest] >= least_share * total:
            chosen.append(node.name)
            weights.add(largest)
    if not chosen:
        return {"refused": f"no {', '.join(multiplying)} of the graph has a constant matrix with a tenth of its weights"}
    quantization.quantize_static(
        graph,
        to,
        Batches(values, inputs),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        # With 8 bits, sums of processors without VNNI overflow, and their answers would be others.
        reduce_range=True,
        nodes_to_quantize=chosen,
    )
    left = total - sum(sizes[name] for name in weights)
    return {"counts": {"weights of 32 bits": {"parent": total, "child": left}}}


if __name__ == "__main__":
    try:
        made = quantize(**json.loads(sys.stdin.readline()))
    except MemoryError:
        most = resource.getrlimit(resource.RLIMIT_DATA)[0] // 1_048_576
        made = {"refused": f"the tool of ONNX Runtime needs more than the {most} MB of memory that it may take"}
    print(json.dumps(made))
