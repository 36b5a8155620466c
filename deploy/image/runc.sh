#!/bin/sh
# Runs containers where root may set no limits of processes, as within another container: `podman --runtime deploy/image/runc.sh …`.
previous=
for argument in "$@"; do
  case "$previous" in --bundle | -b) bundle=$argument ;; esac
  previous=$argument
done
[ -n "${bundle:-}" ] && python3 - "$bundle/config.json" <<'PYTHON'
import json, sys

path = sys.argv[1]
with open(path) as file:
    config = json.load(file)
for name in ("rlimits", "oomScoreAdj"):
    config["process"].pop(name, None)
with open(path, "w") as file:
    json.dump(config, file)
PYTHON
exec runc "$@"
