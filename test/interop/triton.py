"""Calls every method of the gRPC service with Triton's client, and compares the answers with those over HTTP."""

import sys
from queue import Queue
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

http_address, grpc_address, key = sys.argv[1:4]
headers = {"authorization": f"Bearer {key}"}
over_grpc = grpc.InferenceServerClient(grpc_address)
over_http = http.InferenceServerClient(http_address)

assert over_grpc.is_server_live(headers=headers)
assert over_grpc.is_server_ready(headers=headers)
assert over_grpc.is_model_ready("iris", headers=headers)
assert over_grpc.is_model_ready("iris", "iris_v1.0.0", headers=headers)
server = over_grpc.get_server_metadata(headers=headers, as_json=True)
assert server == over_http.get_server_metadata(headers=headers), server
model = over_grpc.get_model_metadata("iris", headers=headers, as_json=True)
same = over_http.get_model_metadata("iris", headers=headers)
assert [each["name"] for each in model["inputs"]] == [each["name"] for each in same["inputs"]]
assert [(each["name"], each["datatype"]) for each in model["outputs"]] == [
    (each["name"], each["datatype"]) for each in same["outputs"]
]
index = over_grpc.get_model_repository_index(headers=headers, as_json=True)["models"]
assert [each["name"] for each in index] == ["flight", "iris"], index
assert [each["name"] for each in over_http.get_model_repository_index(headers=headers)] == ["flight", "iris"]


def inputs(module: Any, rows: np.ndarray) -> list[Any]:
    made = module.InferInput("x", list(rows.shape), "FP32" if rows.dtype == np.float32 else "FP64")
    made.set_data_from_numpy(rows)
    return [made]


chance = np.random.default_rng(1)
for rows in (1, 2, 100, 1_000):
    for kind in (np.float32, np.float64):
        data = chance.uniform(0.1, 7, (rows, 4)).astype(kind)
        one = over_grpc.infer("iris", inputs(grpc, data), request_id="a", headers=headers)
        other = over_http.infer("iris", inputs(http, data), request_id="a", headers=dict(headers))
        assert one.get_response().id == "a"
        for name in ("probabilities", "label"):
            assert np.array_equal(one.as_numpy(name), other.as_numpy(name)), name

texts = []
for name, datatype, values in (
    ("distance", "FP64", np.array([900.0, 300.0])),
    ("hour", "INT64", np.array([8, 23], dtype=np.int64)),
    ("origin", "BYTES", np.array(["ORD", "SEA"], dtype=object)),
    ("day", "BYTES", np.array(["workday", "weekend"], dtype=object)),
):
    made = grpc.InferInput(name, [2], datatype)
    made.set_data_from_numpy(values)
    texts.append(made)
flight = over_grpc.infer("flight", texts, outputs=[grpc.InferRequestedOutput("probability")], headers=headers)
assert flight.as_numpy("probability").shape == (2,) and flight.as_numpy("label") is None

answers: "Queue[tuple[Any, Any]]" = Queue()
over_grpc.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
for number in range(50):
    over_grpc.async_stream_infer("iris", inputs(grpc, data[:1]), request_id=str(number))
seen = []
for _ in range(50):
    result, error = answers.get(timeout=60)
    assert error is None, error
    seen.append(result.get_response().id)
over_grpc.stop_stream()
assert seen == [str(number) for number in range(50)], seen

for name, given, status in (("tulip", data[:1], "NOT_FOUND"), ("iris", data[:1, :3], "INVALID_ARGUMENT")):
    try:
        over_grpc.infer(name, inputs(grpc, given), headers=headers)
        raise AssertionError("it was answered")
    except InferenceServerException as error:
        assert status in str(error.status()), error
print("all calls agree")
