"""Serves the object of an artifact as other servers do: ``servers.py fastapi PORT FILE``, or as a runtime of MLServer."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python" / "src"))

from tenure._serve import Opened, answers_of, open_file  # noqa: E402


def frame_of(model: Opened, cells: dict[str, list[Any]]) -> Any:
    """A data frame with the categoricals of the training."""
    import pandas

    return pandas.DataFrame(
        {
            column["name"]: pandas.Categorical(cells[column["name"]], categories=column["categories"])
            if column["isText"]
            else pandas.Series(cells[column["name"]], dtype="float64")
            for column in model.columns
        }
    )


def probabilities(model: Opened, cells: dict[str, list[Any]]) -> list[float]:
    import numpy

    return numpy.frombuffer(answers_of(model, frame_of(model, cells)), dtype="float32").astype(float).tolist()


def fastapi(port: int, file: str) -> None:
    import uvicorn
    from fastapi import FastAPI, Request

    model = open_file(Path(file).read_bytes())
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Any:
        rows = (await request.json())["instances"]
        cells = {column["name"]: [row[column["name"]] for row in rows] for column in model.columns}
        return {"predictions": [{"probability": each} for each in probabilities(model, cells)]}

    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


if __name__ == "__main__":
    fastapi(int(sys.argv[2]), sys.argv[3])
else:
    from mlserver import MLModel
    from mlserver.codecs import NumpyCodec, StringCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    class Pipeline(MLModel):
        async def load(self) -> bool:
            self._model = open_file(Path(self.settings.parameters.uri).read_bytes())
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            cells = {
                each.name: StringCodec.decode_input(each) if each.datatype == "BYTES" else NumpyCodec.decode_input(each).ravel()
                for each in payload.inputs
            }
            import numpy

            rows = payload.inputs[0].shape[0]
            output = NumpyCodec.encode_output("probability", numpy.array(probabilities(self._model, cells)))
            return InferenceResponse(model_name=self.name, outputs=[output])
