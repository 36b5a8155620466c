"""Trains a network on pixels, and saves it as an ONNX graph of images: ``[any, 1, 8, 8]``, which a vector of 64 numbers fills."""

import numpy
import onnx
import tenure
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.neural_network import MLPClassifier

job = tenure.job()
X, y = job.train()
model = MLPClassifier((job.hyperparameters["units"],), max_iter=400, random_state=job.seed)
model.fit(numpy.stack(X["scan"]), y)
job.progress(1, 1)
options = {"zipmap": False, "output_class_labels": False}
network = convert_sklearn(model, initial_types=[("flat", FloatTensorType([None, 64]))], options={id(model): options}, target_opset=17)
graph = network.graph
graph.node.insert(0, onnx.helper.make_node("Flatten", ["scan"], ["flat"]))
del graph.input[:]
graph.input.append(onnx.helper.make_tensor_value_info("scan", onnx.TensorProto.FLOAT, [None, 1, 8, 8]))
onnx.checker.check_model(network)
job.save_onnx(network)
