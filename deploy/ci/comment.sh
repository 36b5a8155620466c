#!/usr/bin/env bash
# Writes report.md as a comment, in place of the earlier one of the same account. Sourced by the comment.sh of a host, which defines `ask`,
# `comments` (the list), `comment` (one of them, without its id), `update` (the method) and `me` (the own account).
mark='<!-- tenure-report -->'
body=$(node -e 'process.stdout.write(JSON.stringify({ body: process.argv[1] + "\n" + require("node:fs").readFileSync(0, "utf8") }))' \
  "$mark" <"$CI_REPORT/report.md")
for ((page = 1; ; page++)); do
  # An author can write the mark too; a comment of another account stays what it is.
  read -r count known <<<"$(ask "$comments?per_page=100&page=$page" | node -e '
    const listed = JSON.parse(require("node:fs").readFileSync(0, "utf8"))
    const [, mark, me] = process.argv
    const own = listed.find(({ body, user, author }) => body?.startsWith(mark) && (user?.login ?? author?.username) === me)
    console.log(listed.length, own?.id ?? "")' "$mark" "$me")"
  if [ -n "$known" ] || [ "$count" -lt 100 ]; then break; fi
done
if [ -n "$known" ]; then
  ask -X "$update" "$comment/$known" --data-binary @- <<<"$body" >/dev/null
else
  ask -X POST "$comments" --data-binary @- <<<"$body" >/dev/null
fi
