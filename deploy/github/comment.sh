#!/usr/bin/env bash
# Writes report.md as a comment of the pull request, and replaces an earlier comment of its own.
set -euo pipefail
ask() {
  curl -sS --fail-with-body -H "authorization: Bearer $GITHUB_TOKEN" -H 'accept: application/vnd.github+json' \
    -H 'x-github-api-version: 2022-11-28' "$@"
}
repository="$GITHUB_API_URL/repos/$GITHUB_REPOSITORY"
comments="$repository/issues/$PULL_REQUEST/comments" comment="$repository/issues/comments" update=PATCH
# The token of a workflow may not ask who it is.
me=$(ask "$GITHUB_API_URL/user" 2>/dev/null | node -p 'JSON.parse(require("node:fs").readFileSync(0, "utf8")).login') ||
  me='github-actions[bot]'
source "$(dirname "${BASH_SOURCE[0]}")/../ci/comment.sh"
