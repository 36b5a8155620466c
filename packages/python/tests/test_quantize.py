"""Tests which weights of a graph get 8 bits, and that ONNX Runtime answers with it as before. Needs onnx and onnxruntime."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Optional
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from tenure._rows import has  # noqa: E402

width = 8


@unittest.skipUnless(has("onnx") and has("onnxruntime"), "no onnx and onnxruntime")
class Quantize(unittest.TestCase):
    def setUp(self) -> None:
        import numpy

        self.random = numpy.random.default_rng(1)
        self.first, self.second, self.last = (self.weights(width, 64), self.weights(64, 64), self.weights(64, 1))

    def weights(self, *dims: int) -> Any:
        return (self.random.normal(size=dims) / 8).astype("float32")

    def network(self, nodes: list[Any], tensors: dict[str, Any], *, opset: int = 17, inputs: Optional[dict[str, Any]] = None, outputs: Any = ("y",)) -> Any:
        """x → first → nodes from h to i → last → y."""
        from onnx import TensorProto, helper, numpy_helper

        given = {"x": [None, width], **(inputs or {})}
        all_tensors = {"first": self.first, "last": self.last, **tensors}
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "first"], ["h"]), *nodes, helper.make_node("MatMul", ["i", "last"], ["y"])],
            "network",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(values, name) for name, values in all_tensors.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        return model

    def quantize(self, model: Any) -> dict[str, Any]:
        """Quantizes a network, and compares all of its outputs for the rows with those of the file."""
        import numpy
        import onnx
        import onnxruntime
        from tenure import _quantize

        rows = self.random.random((60, width))
        with tempfile.TemporaryDirectory() as made:
            file, to, values = (str(Path(made) / name) for name in ("model.onnx", "quantized.onnx", "rows.f64"))
            onnx.save(model, file)
            rows.tofile(values)
            found = _quantize.quantize(file, to, values, [{"name": "x", "type": "float32", "width": width}], width)
            if "refused" in found:
                return found
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            one, other = (onnxruntime.InferenceSession(each, options).run(None, {"x": rows.astype("float32")}) for each in (file, to))
            for before, after in zip(one, other):
                numpy.testing.assert_allclose(after, before, atol=0.1 * float(numpy.ptp(before)))
            return {**found["counts"]["weights of 32 bits"], "share": Path(to).stat().st_size / Path(file).stat().st_size}

    def test_weights_are_found_wherever_a_graph_holds_them(self) -> None:
        from onnx import helper, numpy_helper

        def multiply(*names: str) -> list[Any]:
            return [helper.make_node("MatMul", [one, "second"], [other]) for one, other in zip(names, names[1:])]

        def constant(name: str, values: Any) -> Any:
            return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))

        widen = helper.make_node("Cast", ["narrow"], ["second"], to=1)
        half = self.second.astype("float16")
        total = width * 64 + 64 * 64 + 64
        for name, nodes, tensors, share in (
            ("an initializer", multiply("h", "i"), {"second": self.second}, 0.5),
            ("an initializer of two operators", multiply("h", "m", "i"), {"second": self.second}, 0.5),
            ("a Constant node", [constant("second", self.second), *multiply("h", "i")], {}, 0.5),
            ("a Constant node of two operators", [constant("second", self.second), *multiply("h", "m", "i")], {}, 0.5),
            ("16 bits", [widen, *multiply("h", "i")], {"narrow": half}, 0.8),
            ("a Constant node of 16 bits", [constant("narrow", half), widen, *multiply("h", "i")], {}, 0.8),
        ):
            with self.subTest(name):
                found = self.quantize(self.network(nodes, tensors))
                self.assertEqual((found["parent"], found["child"]), (total, 64))
                self.assertLess(found["share"], share)

    def test_a_constant_that_is_an_output_too_stays_one(self) -> None:
        from onnx import helper, numpy_helper

        other = helper.make_node("Constant", [], ["z"], value=numpy_helper.from_array(self.second))
        found = self.quantize(self.network([other, helper.make_node("MatMul", ["h", "second"], ["i"])], {"second": self.second}, outputs=("y", "z")))
        self.assertEqual(found["child"], width * 64 + 64 * 64 + 64)

    def test_the_default_of_an_input_that_is_widened_stays_an_input(self) -> None:
        from onnx import TensorProto, helper

        model = self.network(
            [helper.make_node("Cast", ["narrow"], ["second"], to=1), helper.make_node("MatMul", ["h", "second"], ["i"])],
            {"narrow": self.second.astype("float16")},
        )
        model.graph.input.append(helper.make_tensor_value_info("narrow", TensorProto.FLOAT16, [64, 64]))
        found = self.quantize(model)
        self.assertEqual(found["parent"], width * 64 + 64)

    def test_operators_of_earlier_versions_are_converted(self) -> None:
        from onnx import helper

        for opset in (9, 11, 12, 13, 21):
            with self.subTest(opset=opset):
                nodes = [helper.make_node("MatMul", ["h", "second"], ["i"])]
                found = self.quantize(self.network(nodes, {"second": self.second}, opset=opset))
                self.assertEqual(found.get("child"), 64, found)

    def test_operators_that_cannot_be_converted_are_refused_with_the_version(self) -> None:
        from onnx import helper

        from tenure import _quantize

        # A stand-in: the converter has adapters for all operators that are tried here.
        model = self.network([helper.make_node("MatMul", ["h", "second"], ["i"])], {"second": self.second}, opset=7)
        with mock.patch.object(_quantize.version_converter, "convert_version", side_effect=RuntimeError("no adapter\nat 3")):
            found = self.quantize(model)
        self.assertEqual(
            found["refused"], "the graph has opset 7, and 8 bits by channel need 13: export it with that or a later one. A conversion failed: no adapter"
        )


if __name__ == "__main__":
    unittest.main()
