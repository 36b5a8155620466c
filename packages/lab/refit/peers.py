"""
Makes payments of which a third of a percent are fraud, and compares models on those of the weeks after the retraining.

`peers.py rows FILE SEED MOVES` writes the payments as Parquet. `peers.py compare` reads a job as JSON from standard input, and prints a JSON line
a model: its training rows and its average precision.
"""

import json
import sys

import duckdb
import lightgbm
import numpy as np
from sklearn.metrics import average_precision_score

sys.path.insert(0, __file__.rsplit("/", 1)[0] + "/fraud")
from train import CATEGORIES, fit

DAYS_BEFORE, DAYS_AFTER, ROWS_A_DAY = 119, 28, 2_521
MCCS, COUNTRIES = 30, 12
FRAUDS = 0.0033
NAMES = ["amount", "hour", "mcc", "country", "accountDays", "paymentsToday", "distance"]


def shares(size):
    weights = 1 / np.arange(1, size + 1) ** 0.7
    return weights / weights.sum()


def write_rows(file, seed, moves):
    random = np.random.default_rng(seed)
    count = (DAYS_BEFORE + DAYS_AFTER) * ROWS_A_DAY
    day = np.sort(random.uniform(0, DAYS_BEFORE + DAYS_AFTER, count))
    mcc, country = (random.choice(size, count, p=shares(size)) for size in (MCCS, COUNTRIES))
    amount = random.lognormal(3.5, 1.2, count)
    hour = np.floor(day * 24) % 24
    account = random.exponential(600, count)
    today = random.poisson(1.5, count)
    distance = random.lognormal(2, 1.5, count)
    # The shops and countries where fraud happens; with `moves`, others take their place within 147 days.
    turn = (np.pi / 2) * (day / (DAYS_BEFORE + DAYS_AFTER)) * moves
    def effect(size, codes, spread):
        now, then = random.normal(0, spread, (2, size))
        return np.cos(turn) * now[codes] + np.sin(turn) * then[codes]

    log_odds = (
        0.35 * (np.log(amount) - 3.5)
        + effect(MCCS, mcc, 1.0)
        + effect(COUNTRIES, country, 0.8)
        + 0.5 * (hour < 6)
        - 0.4 * np.log1p(account / 60)
        + 0.35 * today
        + 0.2 * (np.log(distance) - 2)
        + 0.4 * ((np.log(amount) > 4.5) & (today > 2))
        + random.normal(0, 0.5, count)
    )
    low, high = -20.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(-log_odds - middle))) < FRAUDS else (low, middle)
    fraud = random.uniform(size=count) < 1 / (1 + np.exp(-log_odds - low))
    # A charge-back comes after 2 to 45 days; a payment without one is genuine after 45.
    known = day + np.where(fraud, random.uniform(2, 45, count), 45)
    columns = {
        "id": np.arange(count),
        "day": day,
        "known": known,
        "amount": amount.round(2),
        "hour": hour,
        "mcc": mcc,
        "country": country,
        "accountDays": account.round(1),
        "paymentsToday": today.astype(float),
        "distance": distance.round(2),
        "fraud": fraud,
    }
    begin = "timestamp '2026-01-01'"
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    connection.register("columns", columns)
    connection.execute(
        f"""copy (
          select id, {begin} + to_microseconds(cast(day * 86400e6 as bigint)) as paidAt,
            {begin} + to_microseconds(cast(known * 86400e6 as bigint)) as knownAt,
            amount, hour, cast(mcc as text) as mcc, cast(country as text) as country, accountDays, paymentsToday, distance, fraud
          from columns
        ) to '{file}' (format parquet, compression zstd)"""
    )


def compare(job):
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    as_of = f"timestamp '{job['asOf']}'"
    matured = f"paidAt <= {as_of} - interval '{job['maturedDays']} days'"
    codes = {name: {str(text): code for code, text in enumerate(job["values"][name])} for name in CATEGORIES}

    def read(where, label="cast(fraud as int)"):
        found = connection.execute(f"select {', '.join(NAMES)}, {label} as label from '{job['rows']}' where {where} order by id").fetchnumpy()
        columns = [[codes[name][str(text)] for text in found[name]] if name in codes else found[name] for name in NAMES]
        return np.column_stack(columns), found["label"]

    later = read(f"paidAt > {as_of}")
    known = f"knownAt <= {as_of}"
    trained = {
        "matured": read(f"{matured} and {known}"),
        "known": read(known),
        "assumed": read(f"paidAt <= {as_of}", f"cast(fraud and {known} as int)"),
    }
    models = {name: lightgbm.Booster(model_file=file) for name, file in job["models"].items()}
    models |= {name: fit(X, y, NAMES, job["seed"], job["rounds"]) for name, (X, y) in trained.items()}
    X, y = later
    for name, model in models.items():
        rows = {} if name not in trained else {"rows": len(trained[name][1]), "frauds": int(trained[name][1].sum())}
        print(json.dumps({"model": name, "precision": average_precision_score(y, model.predict(X)), **rows}))


if __name__ == "__main__":
    if sys.argv[1] == "rows":
        write_rows(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        compare(json.load(sys.stdin))
