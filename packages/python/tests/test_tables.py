"""Tests of the client with data frames, NumPy values and large tables. Those with pandas are skipped without it."""

from __future__ import annotations

import asyncio
import datetime
import importlib.util
import json
import math
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SOURCE))

from tenure import AsyncClient, Client, _client  # noqa: E402
from tenure._tables import chunks, plain, records  # noqa: E402

has_pandas = importlib.util.find_spec("pandas") is not None


class TablesTest(unittest.TestCase):
    """A server that predicts the sum of each row, and explains it; the second request for predictions meets the candidate."""

    def setUp(self) -> None:
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        test = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                test.sent.append((self.path, {name.lower(): value for name, value in self.headers.items()}, data))
                text = json.dumps(test.answer(self.path, data)).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.client = Client(self.url, "tnr_secret")

    def tearDown(self) -> None:
        self.client.close()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, data: bytes) -> Any:
        if path.startswith("/v1/outcomes/bulk"):
            return {"received": 1, "accepted": 1, "stored": 1, "unknown": 0, "refused": 0, "issues": []}
        body = json.loads(data)
        if path == "/v1/outcomes":
            count = len(body["outcomes"])
            return {"received": count, "accepted": count, "stored": count, "unknown": 0}
        rows = body["instances"]
        sums = [sum(each for each in row.values() if isinstance(each, (int, float))) for row in rows]
        if path.endswith("/explain"):
            attributed = [
                {"answer": 0.5, "base": 1.0, "score": 1.0 + total, "attributions": [
                    {"feature": name, "value": value, "attribution": value or 0} for name, value in row.items()
                ]}
                for row, total in zip(rows, sums)
            ]
            return {"model": "m", "version": "m_v1", "method": "linear", "scale": "answer", "explanations": attributed}
        later = len(self.sent) > 1
        return {
            "model": "m",
            "version": "m_v2" if later else "m_v1",
            "arm": "candidate" if later else "champion",
            "generation": 1,
            "predictions": [
                {"id": f"{len(self.sent)}-{row}", "label": "a", "probabilities": {"a": total, "b": 0.5}}
                for row, total in enumerate(sums)
            ],
            **({"unknown_categories": {"colour": ["blue"]}, "defaulted": [{"instance": 3, "feature": "x"}]} if later else {}),
        }

    async def _explained(self, rows: Any) -> Any:
        async with AsyncClient(self.url) as client:
            return await client.explain("m", rows)

    def instances(self) -> list[list[dict[str, Any]]]:
        return [json.loads(data)["instances"] for _, _, data in self.sent]

    def test_more_rows_than_one_request_takes_are_sent_in_parts(self) -> None:
        found = self.client.predict("m", [{"x": row} for row in range(2_500)], routing_key="u")
        self.assertEqual([len(each) for each in self.instances()], [1_000, 1_000, 500])
        self.assertEqual([each["probabilities"]["a"] for each in found["predictions"]], list(range(2_500)))
        self.assertEqual((found["version"], found["unknown_categories"]), ("m_v1", {"colour": ["blue"]}))
        self.assertEqual([each["instance"] for each in found["defaulted"]], [1_003, 2_003])
        self.assertEqual([found["predictions"][at]["version"] for at in (0, 999, 1_000)], ["m_v1", "m_v1", "m_v2"])
        for named in ({"reference": "r"}, {"idempotency_key": "i"}):
            with self.assertRaisesRegex(ValueError, "name one request, and the rows take 2"):
                self.client.predict("m", [{"x": 1}] * 1_001, **named)

    def test_parts_are_bounded_in_bytes(self) -> None:
        rows = [{"x": "y" * 100}] * 10
        self.assertEqual([len(part) for part in chunks(rows, 1_000, 350)], [3, 3, 3, 1])
        self.assertEqual([len(part) for part in chunks(rows, 1_000, 10)], [1] * 10)
        self.assertEqual([len(part) for part in chunks([], 10, 10)], [0])

    def test_a_missing_number_is_null_and_an_infinite_one_is_named(self) -> None:
        self.client.predict("m", {"x": math.nan, "y": None})
        self.assertEqual(self.instances()[-1], [{"x": None, "y": None}])
        with self.assertRaisesRegex(ValueError, 'row 1, "x": inf is not a finite number'):
            self.client.predict("m", [{"x": 1.0}, {"x": math.inf}])
        with self.assertRaisesRegex(TypeError, 'row 0, "x": .* is not a value of JSON'):
            self.client.predict("m", {"x": object()})
        with self.assertRaisesRegex(TypeError, "row 0 is list, not a row by the names of its columns"):
            self.client.predict("m", [[1, 2]])  # type: ignore[list-item]

    def test_names_a_column_that_is_there_twice_and_a_whole_number_that_a_double_does_not_hold(self) -> None:
        cases: list[tuple[Any, str]] = [
            ([{"1": 1.0, 1: 2.0}], 'row 0 has two columns of the name "1"'),
            ([{"size": 2**53}, {"size": 2**53 + 1}], r'row 1, "size": 9007199254740993 is a whole number beyond 2\*\*53'),
            ([{"size": {"1": 1.0, 1: 2.0}}], 'a mapping has two columns of the name "1"'),
        ]
        if has_pandas:
            import numpy
            import pandas

            sizes, ages = pandas.DataFrame({"size": [1.0], "age": [2]}), pandas.DataFrame({"size": [99.0]})
            both = pandas.concat([sizes, ages], axis=1)
            cases += [
                (both, 'the data frame has two columns of the name "size"'),
                ([both.iloc[0]], 'row 0 has two columns of the name "size"'),
                (pandas.DataFrame([[1, 2]], columns=["1", 1]), 'the data frame has two columns of the name "1"'),
                (pandas.DataFrame({"id": numpy.array([2**60 + 1], dtype="uint64")}), 'row 0, "id": 1152921504606846977 is a whole'),
            ]
        for rows, message in cases:
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                self.client.predict("m", rows)
        with self.assertRaisesRegex(ValueError, '"big": 1152921504606846977 is a whole number'):
            self.client.retrain("m", hyperparameters={"big": 2**60 + 1})

    @unittest.skipUnless(has_pandas, "no pandas")
    def test_a_time_of_pandas_without_a_zone_is_one_of_this_machine(self) -> None:
        import pandas

        text = _client._time_text(pandas.Timestamp("2026-11-30 12:00:00.000000001"))
        self.assertEqual(text, datetime.datetime(2026, 11, 30, 12).astimezone().isoformat())

    def test_outcomes_are_sent_in_parts_and_counted_together(self) -> None:
        counts = self.client.outcomes({"prediction_id": str(each), "value": True} for each in range(12_000))
        self.assertEqual((len(self.sent), counts["stored"]), (2, 12_000))
        with self.assertRaisesRegex(ValueError, "outcome 1 has no value"):
            self.client.outcomes([{"prediction_id": "a", "value": 1}, {"prediction_id": "b", "value": math.nan}])

    def test_a_file_of_outcomes_is_uploaded_as_it_is(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "outcomes.csv"
            path.write_text("prediction_id,value,observed_at\np,1,2026-01-01T00:00:00Z\n")
            self.assertEqual(self.client.upload_outcomes(path, model="a b")["stored"], 1)
            sent, headers, data = self.sent[-1]
            self.assertEqual((sent, data), ("/v1/outcomes/bulk?model=a%20b", path.read_bytes()))
            self.assertEqual((headers["content-type"], "idempotency-key" in headers), ("text/csv", True))
            with self.assertRaisesRegex(ValueError, "ends with none of .csv"):
                self.client.upload_outcomes(Path(folder) / "outcomes.xlsx")

    def test_explanations_are_asked_for_ten_rows_at_a_time(self) -> None:
        found = self.client.explain("m", [{"x": row} for row in range(25)], of="a", version="m_v1")
        self.assertEqual([len(each) for each in self.instances()], [10, 10, 5])
        self.assertEqual(json.loads(self.sent[0][2])["of"], "a")
        self.assertEqual([each["score"] for each in found["explanations"]], [1.0 + row for row in range(25)])

    def test_the_client_says_what_it_calls_and_not_its_key(self) -> None:
        self.assertEqual(repr(self.client), f"Client({self.url!r}, with a key)")
        self.assertEqual(repr(AsyncClient(self.url)), f"AsyncClient({self.url!r}, without a key)")

    @unittest.skipUnless(has_pandas, "pandas is not installed")
    def test_a_data_frame_is_answered_by_a_data_frame(self) -> None:
        import numpy
        import pandas

        table = pandas.DataFrame(
            {
                "x": [1.0, math.nan, 3.0],
                "n": pandas.array([1, None, 3], dtype="Int64"),
                "kind": pandas.Categorical(["a", None, "b"]),
                "flag": [True, False, True],
                "at": pandas.to_datetime(["2026-01-01", None, "2026-01-03T12:00"], format="ISO8601"),
            },
            index=[7, 8, 9],
        )
        answer = self.client.predict("m", table)
        self.assertEqual(
            self.instances()[0],
            [
                {"x": 1.0, "n": 1, "kind": "a", "flag": True, "at": "2026-01-01T00:00:00"},
                {"x": None, "n": None, "kind": None, "flag": False, "at": None},
                {"x": 3.0, "n": 3, "kind": "b", "flag": True, "at": "2026-01-03T12:00:00"},
            ],
        )
        self.assertEqual(list(answer.index), [7, 8, 9])
        self.assertEqual(list(answer.columns), ["id", "version", "arm", "label", "probability_a", "probability_b"])
        self.assertEqual(list(answer["probability_a"]), [3.0, 0.0, 7.0])
        explained = asyncio.run(self._explained(table[["x"]].fillna(0)))
        self.assertEqual(list(explained["score"]), list(1 + explained["x"]))
        # One row, and rows of NumPy values.
        self.client.predict("m", table.iloc[0])
        self.client.predict("m", [{"x": numpy.float32(0.5), "n": numpy.int64(3), "flag": numpy.bool_(True)}])
        self.assertEqual(self.instances()[-2][0]["kind"], "a")
        self.assertEqual(self.instances()[-1], [{"x": 0.5, "n": 3, "flag": True}])
        with self.assertRaisesRegex(TypeError, "an array has no names of columns"):
            self.client.predict("m", numpy.zeros((2, 2)))

    @unittest.skipUnless(has_pandas, "pandas is not installed")
    def test_outcomes_of_a_data_frame_have_its_columns_and_no_empty_cells(self) -> None:
        import numpy
        import pandas

        table = pandas.DataFrame(
            {"prediction_id": ["a", "b"], "value": [numpy.True_, numpy.False_], "observed_at": [pandas.Timestamp("2026-01-01", tz="UTC"), pandas.NaT]}
        )
        self.client.outcomes(table)
        first, second = json.loads(self.sent[-1][2])["outcomes"]
        self.assertEqual(first, {"prediction_id": "a", "value": True, "observed_at": "2026-01-01T00:00:00+00:00"})
        self.assertEqual((second["value"], second["observed_at"][:2]), (False, "20"))
        self.assertEqual(plain([numpy.datetime64("NaT"), numpy.arange(2), pandas.NA]), [None, [0, 1], None])
        self.assertEqual(records(pandas.DataFrame({3: [1]})), [{"3": 1}])


if __name__ == "__main__":
    unittest.main()
