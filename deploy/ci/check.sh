#!/usr/bin/env bash
# Checks a project, evaluates its models on a running system, simulates their policies, and writes report.md. Exits with 6 if a check fails.
# With CI_RELEASE, reports that release instead, and writes what an approval names to checked.txt, in one line: release, version, stage, and
# the digests of artifact, evaluation and policy.
set -uo pipefail
mkdir -p "$CI_REPORT"
rm -f "$CI_REPORT"/*.json "$CI_REPORT"/report.md "$CI_REPORT"/checked.txt
result=0
# run FILE WORDS…: stores the JSON document of a command. Exit code 6 is a negative result; any other code is an error of the command.
run() {
  local file=$1 code=0
  shift
  # The command may be several words: npx --no-install tenure.
  ${TENURE:-npx --no-install tenure} "$@" --json >"$CI_REPORT/$file.json" || code=$?
  if [ "$code" -ne 0 ]; then
    echo "tenure $*: exit code $code" >&2
    [ "$result" -eq 0 ] && result=$code
  fi
}
if [ -n "${CI_RELEASE:-}" ]; then
  run release releases show "$CI_RELEASE"
else
  run check check
fi
for model in ${CI_MODELS:-}; do
  # An evaluation needs the rows and the champion of a running system.
  [ -n "${TENURE_URL:-}" ] && run "try-$model" try "$model"
  for scenario in ${CI_SCENARIOS:-}; do
    run "simulate-$model-${scenario//[^a-z0-9.]/_}" simulate --policy "$model" --scenario "$scenario"
  done
done
node "$(dirname "${BASH_SOURCE[0]}")/report.mjs" "$CI_REPORT" >"$CI_REPORT/report.md" || exit 1
[ -n "${GITHUB_STEP_SUMMARY:-}" ] && cat "$CI_REPORT/report.md" >>"$GITHUB_STEP_SUMMARY"
cat "$CI_REPORT/report.md"
exit "$result"
