"""Servers that answer the LightGBM models of the bench of forests: python peers.py KIND PORT FOLDER.

KIND: fastapi (LightGBM's Booster), fastapi-ort (ONNX Runtime), kserve (LightGBM in KServe's model server). FOLDER holds NAME.txt and NAME.onnx, as
predictors.py makes them. One process each, one thread for the model. MLServer needs no program: its runtime for LightGBM loads NAME.txt.
"""

import pathlib
import sys

import numpy as np

kind, port, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
NAMES = ["300x31", "1000x64"]


def boosters():
    import lightgbm

    return {name: lightgbm.Booster(model_file=str(folder / f"{name}.txt"), params={"num_threads": 1}) for name in NAMES}


def fastapi_app():
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Rows(BaseModel):
        instances: list[list[float]]

    if kind == "fastapi-ort":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        sessions = {name: onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]) for name in NAMES}
        answer = lambda name, rows: sessions[name].run(None, {"x": np.asarray(rows, np.float32)})[0].ravel().tolist()
    else:
        loaded = boosters()
        answer = lambda name, rows: loaded[name].predict(np.asarray(rows, np.float64), num_threads=1).tolist()
    app = FastAPI()

    @app.post("/{name}")
    async def predict(name: str, rows: Rows):
        return {"predictions": answer(name, rows.instances)}

    return app


def serve_kserve():
    from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

    class Forest(Model):
        def __init__(self, name, booster):
            super().__init__(name)
            self.booster, self.ready = booster, True

        async def predict(self, payload: InferRequest, headers=None, response_headers=None):
            answers = self.booster.predict(payload.inputs[0].as_numpy(), num_threads=1)
            output = InferOutput("predict", list(answers.shape), "FP64")
            output.set_data_from_numpy(answers, binary_data=False)
            return InferResponse(payload.id, self.name, [output])

    server = ModelServer(http_port=port, workers=1, enable_grpc=False, access_log_format=None)
    server.start([Forest(name, booster) for name, booster in boosters().items()])


if kind == "kserve":
    serve_kserve()
else:
    import uvicorn

    uvicorn.run(fastapi_app(), host="127.0.0.1", port=port, access_log=False, log_level="warning")
