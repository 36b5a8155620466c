"""Writes the three tables of the team's day into a folder: churn.csv, demand.csv and fraud.csv. `python data.py FOLDER`"""
import sys
from pathlib import Path

import numpy as np
import pandas as pd

folder = Path(sys.argv[1])
random = np.random.default_rng(56)
end = pd.Timestamp("2026-10-30")


def times(rows: int, days: int) -> pd.DatetimeIndex:
    seconds = np.sort(random.integers(0, days * 86_400, rows))
    return pd.DatetimeIndex(end - pd.Timedelta(days=days) + pd.to_timedelta(seconds, "s"))


def churn(rows: int = 60_000) -> pd.DataFrame:
    months = random.integers(1, 72, rows)
    charges = random.gamma(6, 12, rows).round(2)
    internet = random.choice(["fibre", "dsl", "none"], rows, p=[0.5, 0.35, 0.15])
    contract = random.choice(["month", "year", "two years"], rows, p=[0.55, 0.25, 0.2])
    logit = 0.02 * (charges - 72) - 0.03 * months + 0.9 * (contract == "month") + 0.6 * (internet == "fibre") - 0.9
    left = random.random(rows) < 1 / (1 + np.exp(-logit))
    table = pd.DataFrame({
        "Customer ID": 100_000 + random.permutation(rows),
        "Snapshot Date": times(rows, 365).strftime("%Y-%m-%d %H:%M:%S"),
        "Months": months,
        "Total Charges ($)": (charges * months).round(2),
        "Monthly Charges": charges,
        "Internet Service": internet,
        "Contract": contract,
        # Two columns that are filled in once a customer has left.
        "Final Bill": np.where(left, (charges * 0.4).round(2).astype(str), ""),
        "Cancel Reason": np.where(left, random.choice(["price", "moved"], rows), ""),
        "Churn": np.where(left, "Yes", "No"),
    })
    table.loc[random.random(rows) < 0.02, "Total Charges ($)"] = np.nan
    return table


def demand(rows: int = 300_000) -> pd.DataFrame:
    at = pd.DatetimeIndex(end - pd.Timedelta(days=500) + pd.to_timedelta(np.arange(rows) // 600, "D"))
    article = np.arange(rows) % 30
    shop = np.arange(rows) // 30 % 20
    promo = random.random(rows) < 0.1
    price = (2 + article * 0.3) * np.where(promo, 0.8, 1)
    week = at.day_of_week.to_numpy()
    level = np.exp(1.2 + 0.03 * article + 0.02 * shop + 0.5 * promo + 0.25 * np.isin(week, [4, 5]) - 0.04 * price)
    return pd.DataFrame({
        "Datum": at.strftime("%d.%m.%Y"),
        "Artikel": [f"A{code:02d}" for code in article],
        "Filiale": [f"F{code:02d}" for code in shop],
        "Wochentag": week,
        "Aktion": np.where(promo, "ja", "nein"),
        "Preis": price.round(2),
        "Absatz": random.negative_binomial(4, 4 / (4 + level)),
    })


def fraud(rows: int = 300_000) -> pd.DataFrame:
    at = times(rows, 119)
    shop = random.integers(0, 30, rows)
    amount = random.lognormal(3.5, 1, rows).round(2)
    age = random.exponential(600, rows).round()
    today = random.poisson(1.5, rows)
    distance = random.exponential(20, rows).round(1)
    logit = -7.6 + 0.5 * np.log(amount) * (shop < 5) + 0.5 * today - 0.001 * age + 0.01 * distance
    bad = random.random(rows) < 1 / (1 + np.exp(-logit))
    known = at + pd.to_timedelta(np.where(bad, random.uniform(2, 45, rows), 45), "D")
    unknown = known >= end
    return pd.DataFrame({
        "payment_id": np.arange(rows),
        "paid_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "customer": random.integers(0, 40_000, rows),
        "mcc": [str(4_800 + code) for code in shop],
        "amount": amount,
        "account_days": age.astype(int),
        "payments_today": today,
        "distance": distance,
        "fraud_known_at": np.where(unknown, "", known.strftime("%Y-%m-%dT%H:%M:%SZ")),
        "fraud": np.where(unknown, "", np.where(bad, "fraud", "genuine")),
    })


for table in (churn, demand, fraud):
    table().to_csv(folder / f"{table.__name__}.csv", index=False)
