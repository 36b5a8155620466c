#!/bin/sh
# Builds the two base images of the Dockerfile from Debian packages and Node from npm, for use without an image registry:
# `deploy/image/base.sh`. The images get the names in the Dockerfile, below localhost/.
# - The base image holds the C and C++ libraries, certificates and a user; no shell and no package manager.
# - The build image holds Debian with Node, npm and binutils; only the first stage of the Dockerfile uses it.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${TENURE_CACHE:-$HOME/.cache/tenure}/images
node=$(ls -d "${TENURE_CACHE:-$HOME/.cache/tenure}"/node-*/node | tail -1)
export STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot
mkdir -p "$cache"

base=$cache/base
rm -rf "$base" && mkdir -p "$base/debs" "$base/root/var/lib/dpkg/status.d"
(cd "$base/debs" && apt-get download -q libc6 libgcc-s1 libstdc++6 base-files netbase ca-certificates)
for deb in "$base"/debs/*.deb; do
  dpkg-deb -x "$deb" "$base/root"
  dpkg-deb -f "$deb" > "$base/root/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"
done
cat "$base"/root/usr/share/ca-certificates/mozilla/*.crt > "$base/ca.crt"
(
  cd "$base/root"
  rm -rf usr/lib/*/gconv usr/lib/*/audit usr/share/man usr/share/locale usr/share/ca-certificates usr/share/lintian usr/share/gdb usr/share/gcc* usr/sbin etc/dpkg etc/profile.d
  find usr/share/doc -type f ! -name copyright -delete
  mkdir -p etc/ssl/certs tmp home
  mv "$base/ca.crt" etc/ssl/certs/ca-certificates.crt
  chmod 1777 tmp
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > etc/passwd
  printf 'root:x:0:\nnonroot:x:65532:\n' > etc/group
  install -d -o 65532 -g 65532 home/nonroot
)
container=$(buildah from scratch)
buildah add -q "$container" "$base/root" /
buildah config --user 65532 --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$container"
buildah commit -q --rm "$container" localhost/distroless/cc-debian12:nonroot

if [ ! -f "$cache/build.tar" ]; then
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,binutils,libstdc++6 bookworm "$cache/build.tar"
fi
container=$(buildah from scratch)
buildah add -q "$container" "$cache/build.tar" /
buildah copy -q "$container" "$node" /usr/local/bin/node
buildah copy -q "$container" "$(dirname "$(readlink -f "$(command -v npm)")")/.." /usr/local/lib/node_modules/npm
buildah run "$container" -- ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
buildah commit -q --rm "$container" localhost/node:24-bookworm
