#!/usr/bin/env bash
# Writes report.md as a note of the merge request, and replaces an earlier note.
set -euo pipefail
mark='<!-- tenure-report -->'
notes="$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
ask() {
  curl -sS --fail-with-body -H "private-token: $CI_REPORT_TOKEN" -H 'content-type: application/json' "$@"
}
body=$(node -e 'process.stdout.write(JSON.stringify({ body: process.argv[1] + "\n" + require("node:fs").readFileSync(0, "utf8") }))' \
  "$mark" <"$CI_REPORT/report.md")
known=$(ask "$notes?per_page=100" | node -e '
  const found = JSON.parse(require("node:fs").readFileSync(0, "utf8")).find(({ body }) => body.startsWith(process.argv[1]))
  process.stdout.write(String(found?.id ?? ""))' "$mark")
if [ -n "$known" ]; then
  ask -X PUT "$notes/$known" --data-binary @- <<<"$body" >/dev/null
else
  ask -X POST "$notes" --data-binary @- <<<"$body" >/dev/null
fi
