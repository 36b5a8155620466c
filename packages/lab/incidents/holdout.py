"""Releases a version if its AUC on the test rows is at most 0.02 below that of the first one: an example of protocol.md."""

import json
import sys


def auc(labels, answers):
    """The share of pairs of a yes and a no that are ranked rightly; ties count half."""
    rows = sorted(zip(answers, labels))
    rank_sum, start = 0.0, 0
    while start < len(rows):
        end = start
        while end < len(rows) and rows[end][0] == rows[start][0]:
            end += 1
        rank_sum += (start + end + 1) / 2 * sum(label for _, label in rows[start:end])
        start = end
    yes = sum(labels)
    return (rank_sum - yes * (yes + 1) / 2) / (yes * (len(rows) - yes))


threshold = None
sys.stdin.readline()  # the features of the case
for line in sys.stdin:
    candidate = json.loads(line).get("candidate")
    verdict = {"verdict": "hold"}
    if candidate:
        test = candidate["test"]
        found = auc([row["label"] for row in test], [row["candidate"] for row in test])
        threshold = found - 0.02 if threshold is None else threshold
        if found >= threshold:
            verdict = {"verdict": "release"}
        else:
            verdict["alarm"] = f"{candidate['id']} is not used"
    print(json.dumps(verdict), flush=True)
