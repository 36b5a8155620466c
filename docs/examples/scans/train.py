"""Trains a network on PNG files, and saves it as an ONNX graph of images: ``[any, 1, 8, 8]`` of uint8, which scales its pixels itself."""

import io

import numpy
import onnx
import tenure
from PIL import Image
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.neural_network import MLPClassifier

job = tenure.job()
X, y = job.train()
pixels = numpy.array([numpy.asarray(Image.open(io.BytesIO(data))).ravel() for data in X["scan"]])
model = MLPClassifier((job.hyperparameters["units"],), max_iter=400, random_state=job.seed)
model.fit(pixels / 255, y)
job.progress(1, 1)
options = {"zipmap": False, "output_class_labels": False}
network = convert_sklearn(model, initial_types=[("scaled", FloatTensorType([None, 64]))], options={id(model): options}, target_opset=17)
graph = network.graph
steps = [
    onnx.helper.make_node("Cast", ["scan"], ["floats"], to=onnx.TensorProto.FLOAT),
    onnx.helper.make_node("Flatten", ["floats"], ["flat"]),
    onnx.helper.make_node("Div", ["flat", "most"], ["scaled"]),
]
for place, step in enumerate(steps):
    graph.node.insert(place, step)
graph.initializer.append(onnx.helper.make_tensor("most", onnx.TensorProto.FLOAT, [1], [255]))
del graph.input[:]
graph.input.append(onnx.helper.make_tensor_value_info("scan", onnx.TensorProto.UINT8, [None, 1, 8, 8]))
onnx.checker.check_model(network)
job.save_onnx(network)
