"""Calls a replica whose predictions are open on this machine with MLflow's client of its scoring server, which sends no key."""

import json
import sys

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port = sys.argv[1].split(":")
client = ScoringServerClient(host, int(port))
client.wait_server_ready()
assert client.get_version()[0].isdigit()

names = ["sepalLength", "sepalWidth", "petalLength", "petalWidth"]
rows = np.random.default_rng(1).uniform(0.1, 7, (100, 4))
frame = pd.DataFrame(rows, columns=names)


def answer(data: object, **options: object) -> list[str]:
    return client.invoke(data, **options).get_predictions("ndarray").tolist()


records = frame.to_dict("records")
# A frame is sent as dataframe_split, an array and a list as inputs. A text is sent as it is: the client itself fails on a dict (3.17.2).
texts = [
    {"dataframe_records": records},
    {"instances": rows.tolist()},
    {"inputs": {name: rows[:, at].tolist() for at, name in enumerate(names)}},
]
answers = [answer(data) for data in (frame, rows, records, *map(json.dumps, texts))]
assert set(answers[0]) <= {"setosa", "versicolor", "virginica"} and len(answers[0]) == 100, answers[0]
for other in answers:
    assert other == answers[0], other
assert answer(frame, params={"routing_key": "a"}) == answers[0]
try:
    client.invoke(frame[names[:3]])
    raise AssertionError("three columns were answered")
except Exception as error:
    assert "petalWidth" in str(error), error
print("all calls agree")
