#!/usr/bin/env bash
# Writes report.md as a comment of the pull request, and replaces an earlier comment.
set -euo pipefail
mark='<!-- tenure-report -->'
comments="$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments"
ask() {
  curl -sS --fail-with-body -H "authorization: Bearer $GITHUB_TOKEN" -H 'accept: application/vnd.github+json' \
    -H 'x-github-api-version: 2022-11-28' "$@"
}
body=$(node -e 'process.stdout.write(JSON.stringify({ body: process.argv[1] + "\n" + require("node:fs").readFileSync(0, "utf8") }))' \
  "$mark" <"$CI_REPORT/report.md")
known=$(ask "$comments?per_page=100" | node -e '
  const found = JSON.parse(require("node:fs").readFileSync(0, "utf8")).find(({ body }) => body.startsWith(process.argv[1]))
  process.stdout.write(String(found?.id ?? ""))' "$mark")
if [ -n "$known" ]; then
  ask -X PATCH "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues/comments/$known" --data-binary @- <<<"$body" >/dev/null
else
  ask -X POST "$comments" --data-binary @- <<<"$body" >/dev/null
fi
