"""Writes ``digits.csv`` beside this file: the 1,797 handwritten digits that scikit-learn ships, each as a PNG of 8 × 8 pixels in base64."""

import base64
import csv
import io
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
with open(Path(__file__).with_name("digits.csv"), "w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["id", "scan", "digit"])
    for place, (pixels, digit) in enumerate(zip(digits.images, digits.target)):
        png = io.BytesIO()
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(png, "PNG")
        rows.writerow([f"digit {place}", base64.b64encode(png.getvalue()).decode(), int(digit)])
