#!/bin/sh
# Runs containers where root may not raise process limits, such as inside another container: `podman --runtime deploy/image/runc.sh …`.
previous=
for argument in "$@"; do
  case "$previous" in
    --bundle | -b) changed=$argument/config.json ;;
    # Of `runc exec`, as podman calls it.
    --process | -p) changed=$argument ;;
  esac
  previous=$argument
done
[ -n "${changed:-}" ] && python3 - "$changed" <<'PYTHON'
import json, sys

path = sys.argv[1]
with open(path) as file:
    config = json.load(file)
process = config.get("process", config)
for name in ("rlimits", "oomScoreAdj"):
    process.pop(name, None)
with open(path, "w") as file:
    json.dump(config, file)
PYTHON
exec runc "$@"
