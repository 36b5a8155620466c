"""Runs the notebook that the first argument names in a kernel, and prints what its cells have shown as JSON."""

import json
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
# However long a release takes on a busy machine, the test ends the process.
NotebookClient(notebook, timeout=None, startup_timeout=600).execute()
shown = []
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        shown.append(data.get("text/plain", output.get("text", "")))
print(json.dumps(shown))
