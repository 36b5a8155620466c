"""Sends requests and outcomes of the three models as a service and a notebook would: `python service.py FOLDER`, with TENURE_URL and TENURE_KEY."""
import os
import sys
from pathlib import Path

import pandas as pd
import tenure

folder = Path(sys.argv[1])
client = tenure.Client(os.environ["TENURE_URL"], os.environ["TENURE_KEY"], timeout_s=60)

customers = pd.read_csv(folder / "churn.csv").tail(2_500)
customers.columns = customers.columns.str.replace("Total Charges ($)", "Total_Charges", regex=False).str.replace(" ", "_")
answers = client.predict("churn", customers[["Months", "Total_Charges", "Monthly_Charges", "Internet_Service", "Contract"]])
print("churn:", len(answers), "answers of", *answers["version"].unique())

sales = pd.read_csv(folder / "demand.csv").tail(600)
print("demand:", len(client.predict("demand", sales[["Artikel", "Filiale", "Wochentag", "Aktion", "Preis"]])), "intervals")

payments = pd.read_csv(folder / "fraud.csv", dtype={"mcc": str}).head(500)
features = payments[["mcc", "amount", "account_days", "payments_today", "distance"]]
for row, number in zip(features.to_dict("records"), payments["payment_id"]):
    client.predict("fraud", row, reference=f"P{number}")
# The chargebacks come weeks later and know the number of the payment alone.
client.outcomes([
    {"model": "fraud", "reference": f"P{number}", "value": fraud == "fraud"}
    for number, fraud in zip(payments["payment_id"], payments["fraud"])
])
print("fraud:", len(features), "answers and outcomes by the payment's number")
