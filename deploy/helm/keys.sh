#!/bin/sh
# Prints the Secrets with the signing keys and the subject key of a new installation. Writes nothing to disk.
#
#   deploy/helm/keys.sh | kubectl --namespace tenure create -f -
#
# `create` refuses to replace existing keys: versions signed with them would no longer load.
set -eu

secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: { name: %s }\ndata:\n' "$1"
}
# Prints one file of a Secret, with the content of standard input.
file() {
  printf '  %s: %s\n' "$1" "$(base64 | tr -d '\n')"
}

trust=''
for purpose in artifacts replicas heads certificates; do
  private=$(openssl genpkey -algorithm ed25519)
  public=$(printf '%s\n' "$private" | openssl pkey -pubout)
  secret "tenure-key-$purpose"
  printf '%s\n' "$private" | file private.pem
  trust="$trust$(printf '%s\n' "$public" |
    awk 'BEGIN { printf "[{ \"publicPem\": \"" } { printf "%s\\n", $0 } END { print "\" }]" }' | file "$purpose.json")
"
done
secret tenure-trust
printf '%s' "$trust"
secret tenure-subjects
openssl rand -hex 32 | file subjects.key
