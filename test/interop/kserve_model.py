"""Serves a model by KServe's server for Python: ``kserve_model.py MODEL HTTP_PORT GRPC_PORT``. Reads the file again when it changes."""

import sys
from pathlib import Path

import joblib
import numpy
import pandas
from kserve import InferOutput, InferResponse, Model, ModelServer

path, http_port, grpc_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


class Orders(Model):
    def __init__(self):
        super().__init__("orders")
        self.read = 0.0
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        changed = path.stat().st_mtime
        if changed != self.read:
            self.read, self.model = changed, joblib.load(path)
        columns = {}
        for tensor in payload.inputs:
            values = tensor.as_numpy().ravel().tolist()
            columns[tensor.name] = [v.decode() if isinstance(v, bytes) else v for v in values]
        scores = self.model.predict_proba(pandas.DataFrame(columns))
        output = InferOutput("predict_proba", list(scores.shape), "FP64")
        output.set_data_from_numpy(numpy.asarray(scores), binary_data=False)
        return InferResponse(payload.id, self.name, [output])


ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1).start([Orders()])
