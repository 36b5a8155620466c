"""Tests of the client against a server in this process."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import unittest
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SOURCE = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SOURCE))

from tenure import AsyncClient, Client, TenureError  # noqa: E402

Reply = tuple[int, Any, dict[str, str]]


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


def problem(code: str, status: int, retryable: bool, **headers: str) -> Reply:
    body = {"code": code, "detail": "it is so", "remedy": "Do this.", "retryable": retryable}
    return reply(body, status, x_request_id="req-1", **headers)


class ClientTest(unittest.TestCase):
    def setUp(self) -> None:
        self.sent: list[tuple[str, str, dict[str, str], Any]] = []
        self.replies: list[Reply] = [reply({})]
        test = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                test.sent.append((self.command, self.path, headers, body))
                status, given, more = test.replies[min(len(test.sent), len(test.replies)) - 1]
                text = given if isinstance(given, bytes) else json.dumps(given).encode()
                self.send_response(status)
                for name, value in {**more, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.client = Client(self.url, "tnr_a")

    def tearDown(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.server.server_close()

    def _once(self, retries: int) -> Client:
        client = Client(self.url, max_retries=retries)
        self.addCleanup(client.close)
        return client

    def test_sends_what_each_method_names_with_the_key(self) -> None:
        client = self.client
        client.predict("a b", {"x": 1}, routing_key="u", reference="A-7", deadline_ms=50, request_id="r", idempotency_key="i")
        client.predict("iris", [{"x": 1}, {"x": None}])
        client.infer("iris", [], version="iris_v1.0.0", routing_key="u", reference="A-7", outputs=["label"])
        client.outcomes([{"prediction_id": "p", "value": 1, "observed_at": "2026-01-01T00:00:00Z"}])
        client.events([{"routing_key": "u", "name": "buy", "value": 2, "occurred_at": "2026-01-01T00:00:00Z"}])
        client.retrain("iris", reason="why", hyperparameters={"units": 4})
        client.approve("rel_1", reason="good", artifact_digest="sha256:a")
        client.reject("rel_1")
        client.call("GET", "/v1/search?q=a b%20é")
        client.call("POST", "/v1/batches", {"model": "iris"}, headers={"Idempotency-Key": "own"})
        client.call("POST", "/v1/models/iris:predict", {"instances": []})
        observed = {"prediction_id": "p", "value": 1, "observed_at": "2026-01-01T00:00:00Z"}
        bought = {"routing_key": "u", "name": "buy", "value": 2, "occurred_at": "2026-01-01T00:00:00Z"}
        infer = {"inputs": [], "outputs": [{"name": "label"}], "parameters": {"routing_key": "u", "reference": "A-7"}}
        self.assertEqual(
            [(method, path, body) for method, path, _headers, body in self.sent],
            [
                ("POST", "/v1/models/a%20b/predict", {"instances": [{"x": 1}], "routing_key": "u", "reference": "A-7"}),
                ("POST", "/v1/models/iris/predict", {"instances": [{"x": 1}, {"x": None}]}),
                ("POST", "/v2/models/iris/versions/iris_v1.0.0/infer", infer),
                ("POST", "/v1/outcomes", {"outcomes": [observed]}),
                ("POST", "/v1/events", {"events": [bought]}),
                ("POST", "/v1/models/iris/retrainings", {"reason": "why", "hyperparameters": {"units": 4}}),
                ("POST", "/v1/releases/rel_1/approve", {"reason": "good", "artifact_digest": "sha256:a"}),
                ("POST", "/v1/releases/rel_1/reject", {}),
                ("GET", "/v1/search?q=a%20b%20%C3%A9", None),
                ("POST", "/v1/batches", {"model": "iris"}),
                ("POST", "/v1/models/iris:predict", {"instances": []}),
            ],
        )
        first = self.sent[0][2]
        self.assertEqual(first["authorization"], "Bearer tnr_a")
        self.assertEqual((first["x-deadline-ms"], first["x-request-id"], first["idempotency-key"]), ("50", "r", "i"))
        keys = {headers["idempotency-key"] for _method, _path, headers, _body in self.sent[5:8]}
        self.assertEqual(len(keys), 3)
        self.assertEqual([headers.get("idempotency-key") for _m, _p, headers, _b in self.sent[8:]], [None, "own", None])
        self.assertNotIn("idempotency-key", self.sent[1][2])

    def test_reads_the_log_page_by_page_up_to_the_limit(self) -> None:
        self.replies = [
            reply({"predictions": [], "next_cursor": "a"}),
            reply({"predictions": [{"id": "1"}, {"id": "2"}], "next_cursor": "b"}),
            reply({"predictions": [{"id": "3"}]}),
        ]
        found = self.client.predictions("iris", routing_key="a&b", since="2026-01-01")
        self.assertEqual([each["id"] for each in found], ["1", "2", "3"])
        query = "/v1/predictions?model=iris&routing_key=a%26b&since=2026-01-01&limit=1000"
        self.assertEqual([path for _m, path, _h, _b in self.sent], [query, f"{query}&cursor=a", f"{query}&cursor=b"])
        self.replies = self.replies[1:2]
        self.sent.clear()
        self.assertEqual(len(self.client.predictions("iris", limit=2)), 2)
        self.assertEqual([path for _m, path, _h, _b in self.sent], ["/v1/predictions?model=iris&limit=2"])
        with self.assertRaisesRegex(ValueError, "less than 1"):
            self.client.predictions("iris", limit=0)

    def test_takes_times_of_python(self) -> None:
        zoned = datetime(2026, 3, 1, 10, tzinfo=timezone(timedelta(hours=1)))
        self.replies = [reply({"predictions": []})] * 3
        self.client.predictions("iris", since=date(2026, 3, 1), until=zoned)
        self.client.predictions("iris", since=zoned.astimezone().replace(tzinfo=None))
        sent = [parse_qs(urlsplit(path).query) for _m, path, _h, _b in self.sent]
        self.assertEqual((sent[0]["since"], sent[0]["until"]), (["2026-03-01"], ["2026-03-01T10:00:00+01:00"]))
        self.assertEqual(datetime.fromisoformat(sent[1]["since"][0]), zoned)

    def test_repeats_while_a_retry_can_help_with_the_same_idempotency_key(self) -> None:
        self.replies = [problem("overloaded", 503, True), problem("overloaded", 503, True), reply({"id": "a"})]
        self.assertEqual(self.client.retrain("iris"), {"id": "a"})
        self.assertEqual(len({headers["idempotency-key"] for _m, _p, headers, _b in self.sent}), 1)
        self.assertEqual(len(self.sent), 3)

    def test_waits_for_retry_after(self) -> None:
        self.replies = [problem("rate_limited", 429, True, retry_after="1"), reply({})]
        began = time.monotonic()
        self.client.call("GET", "/v1/models")
        self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_does_not_repeat_before_a_distant_retry_after_and_ignores_a_date(self) -> None:
        self.replies = [problem("overloaded", 503, True, retry_after="60"), reply({})]
        with self.assertRaises(TenureError):
            self.client.call("GET", "/v1/models")
        self.assertEqual(len(self.sent), 1)
        self.replies = [reply({}), problem("overloaded", 503, True, retry_after="Wed, 21 Oct 2065 07:28:00 GMT"), reply({})]
        self.assertEqual(self.client.call("GET", "/v1/models"), {})
        self.assertEqual(len(self.sent), 3)

    def test_gives_up_after_the_retries_and_at_once_where_none_helps(self) -> None:
        self.replies = [problem("overloaded", 503, True)]
        with self.assertRaises(TenureError) as busy:
            self._once(1).predict("iris", {})
        self.assertEqual((busy.exception.code, busy.exception.status, len(self.sent)), ("overloaded", 503, 2))
        self.replies = [problem("missing_feature", 422, False)]
        with self.assertRaises(TenureError) as wrong:
            self.client.predict("iris", {})
        self.assertEqual(len(self.sent), 3)
        error = wrong.exception
        self.assertEqual((error.code, error.remedy, error.request_id), ("missing_feature", "Do this.", "req-1"))
        self.assertEqual(str(error), "missing_feature: it is so: Do this.")

    def test_reads_the_errors_of_other_protocols_and_of_a_proxy(self) -> None:
        for given, code, detail, retryable in (
            (reply({"error": "no rows", "code": "no_instances"}, 422), "no_instances", "no rows", False),
            (reply({"message": "no", "code": "invalid_request"}, 400), "invalid_request", "no", False),
            (reply(b"<html>", 502), "unknown", "status 502", False),
            (reply(b"", 503), "unknown", "status 503", True),
            (reply(b"<html>"), "unknown", "status 200 without JSON", False),
        ):
            self.sent.clear()
            self.replies = [given]
            with self.assertRaises(TenureError) as thrown:
                self._once(0).infer("iris", [])
            error = thrown.exception
            self.assertEqual((error.code, error.detail, error.retryable), (code, detail, retryable))

    def test_names_a_server_that_cannot_be_reached(self) -> None:
        with self.assertRaises(TenureError) as thrown:
            Client("http://127.0.0.1:1", max_retries=0).call("GET", "/livez")
        self.assertEqual((thrown.exception.code, thrown.exception.retryable), ("unreachable", True))
        with self.assertRaises(ValueError):
            Client("127.0.0.1:1")

    def test_waits_for_a_release_a_retraining_and_a_command(self) -> None:
        for id, path, running, ended in (
            ("rel_1", "/v1/releases/rel_1?limit=1", {"stage": "canary"}, {"outcome": "promoted"}),
            ("retrain/iris/1", "/v1/retrainings/retrain%2Firis%2F1", {}, {"outcome": "registered"}),
            ("cmd_1", "/v1/commands/cmd_1", {"state": "waiting"}, {"state": "delivered"}),
        ):
            self.sent.clear()
            self.replies = [reply(running), reply(ended)]
            self.assertEqual(self.client.wait(id, every_s=0.001), ended)
            self.assertEqual([sent[1] for sent in self.sent], [path, path])
        self.sent.clear()
        self.replies = [reply({"stage": "canary"})]
        found = self.client.wait("rel_1", until=lambda state: state["stage"] == "canary")
        self.assertEqual(found, {"stage": "canary"})
        with self.assertRaises(TenureError) as late:
            self.client.wait("rel_1", every_s=0.01, timeout_s=0.015)
        self.assertEqual(late.exception.code, "timeout")
        with self.assertRaises(ValueError):
            self.client.wait("iris")

    def test_the_asynchronous_client_does_the_same_at_once(self) -> None:
        self.replies = [reply({"predictions": [], "version": "iris_v1.0.0"})]

        async def ask() -> list[Any]:
            async with AsyncClient(self.url, "tnr_a") as client:
                answers = await asyncio.gather(*(client.predict("iris", {"x": n}) for n in range(20)))
                await client.outcomes([])
                await client.events([{"routing_key": "u", "name": "buy"}])
                await client.retrain("iris")
                await client.approve("rel_1")
                await client.reject("rel_1")
                await client.infer("iris", [])
                self.replies = [reply({"outcome": "promoted"})]
                return [*answers, await client.wait("rel_1")]

        answers = asyncio.run(ask())
        self.assertEqual(answers[-1], {"outcome": "promoted"})
        self.assertEqual(len(self.sent), 27)
        self.assertEqual(sorted(body["instances"][0]["x"] for *_head, body in self.sent[:20]), list(range(20)))


if __name__ == "__main__":
    unittest.main()
