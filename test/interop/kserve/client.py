"""Calls a replica with KServe's clients: gRPC, and HTTP with its default protocol (version 1) and with version 2. Their answers must agree."""

import asyncio
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

url, grpc_address, key = sys.argv[1:4]
bearer = {"authorization": f"Bearer {key}"}
metadata = list(bearer.items())


def request(rows: np.ndarray, is_binary: bool) -> InferRequest:
    tensor = InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=is_binary)
    return InferRequest("iris", [tensor], request_id="a")


async def call() -> None:
    rows = np.random.default_rng(1).uniform(0.1, 7, (100, 4)).astype(np.float32)
    async with InferenceGRPCClient(grpc_address, retries=0) as client:
        assert await client.is_server_live(headers=metadata)
        assert await client.is_server_ready(headers=metadata)
        assert await client.is_model_ready("iris", headers=metadata)
        answers = [await client.infer(request(rows, is_binary), headers=metadata) for is_binary in (True, False)]
        try:
            await client.infer(request(rows[:, :3], True), headers=metadata)
            raise AssertionError("three columns were answered")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await second.is_server_live(url)
    assert await second.is_server_ready(url)
    assert await second.is_model_ready(url, "iris", headers=bearer)
    for is_binary in (True, False):
        answers.append(await second.infer(url, request(rows, is_binary), model_name="iris", headers=dict(bearer)))
    first = InferenceRESTClient()
    assert await first.is_model_ready(url, "iris", headers=bearer)
    plain = await first.infer(url, {"instances": rows.tolist()}, model_name="iris", headers=bearer)

    # Texts are bytes in raw answers, and texts in JSON.
    wanted, *others = [
        {output.name: output.as_numpy().tolist() for output in answer.outputs} for answer in answers
    ]
    for each in (wanted, *others):
        each["label"] = [label.decode() if isinstance(label, bytes) else label for label in each["label"]]
    assert {answer.id for answer in answers} == {"a"}, answers
    assert set(wanted) == {"probabilities", "label"}, wanted
    for other in others:
        assert other["label"] == wanted["label"], other
        assert np.allclose(other["probabilities"], wanted["probabilities"], atol=1e-6), other
    assert plain["predictions"] == wanted["label"], plain


asyncio.run(call())
print("all calls agree")
