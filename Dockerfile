# One image for every process of Tenure except the training worker. The command selects the process: `api/start.mjs` (the default),
# `cli/launch.mjs activities/worker.ts control`, `cli/tenure.mjs models sync`. With `--build-arg TRAINS=--trains` it also
# contains TensorFlow, for `cli/launch.mjs activities/worker.ts train`. Postgres and Temporal run elsewhere (see compose.yaml).
#
# `npm run image` builds and runs it, even without access to an image registry: docs/how-to/machines/container-image.md.

ARG NODE=docker.io/library/node:24-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${NODE} AS build
# A file with the certificate of the proxy, if the build machine is behind one.
ARG NODE_EXTRA_CA_CERTS
ARG PIP_CERT
ARG TRAINS
ENV TENURE_CACHE=/opt/tenure-cache
RUN install -d $TENURE_CACHE \
 && if [ -n "$TRAINS" ]; then \
      apt-get update && apt-get install -y --no-install-recommends g++ python3 python3-pip && rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /src
# Rarely changed layers come first, so that a changed source file does not download the packages again.
COPY package.json package-lock.json .npmrc ./
COPY packages/certificate/package.json packages/certificate/
COPY packages/client/package.json packages/client/
COPY packages/embedded/package.json packages/embedded/
COPY packages/http-front/package.json packages/http-front/
COPY packages/lab/package.json packages/lab/
COPY packages/predictors/package.json packages/predictors/
COPY packages/sequential/package.json packages/sequential/
COPY packages/simulator/package.json packages/simulator/
RUN npm ci --ignore-scripts --omit=dev --no-audit --no-fund
COPY . .
RUN node deploy/package/image.mjs /opt/tenure $TRAINS \
 && strip -o /opt/node "$(command -v node)" \
 && rm -rf $TENURE_CACHE/partial $TENURE_CACHE/tensorflow-*/include \
 && chmod -R a+rX $TENURE_CACHE \
 && for folder in state artifacts batches subjects trust/artifacts trust/replicas trust/heads trust/certificates; do \
      install -d /opt/state/$folder; \
    done \
 && for purpose in artifacts replicas heads certificates; do \
      install -d -m 700 /opt/state/keys /opt/state/keys/$purpose; \
    done

FROM ${BASE}
ARG BUILD_ID=unversioned
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    NODE_ENV=production \
    TENURE_BUILD_ID=$BUILD_ID \
    TENURE_CACHE=/opt/tenure-cache \
    TENURE_STATE=/var/lib/tenure/state \
    TENURE_ARTIFACTS=/var/lib/tenure/artifacts \
    TENURE_BATCHES=/var/lib/tenure/batches \
    TENURE_KEYS=/var/lib/tenure/keys \
    TENURE_TRUST=/var/lib/tenure/trust \
    TENURE_SUBJECT_KEY=/var/lib/tenure/subjects/subjects.key
COPY --from=build /opt/node /usr/local/bin/node
COPY --from=build /opt/tenure-cache /opt/tenure-cache
COPY --from=build /opt/tenure /opt/tenure
COPY --from=build --chown=65532:65532 /opt/state /var/lib/tenure
# A process that reads rows or trains runs in its own process group, with limits set by a shell.
COPY --from=build /bin/dash /bin/sh
COPY --from=build /bin/cat /usr/bin/nice /usr/bin/
WORKDIR /opt/tenure
USER 65532:65532
EXPOSE 7400
# Node is process 1 and receives SIGTERM; `npm start` would run it as a child process.
ENTRYPOINT ["/usr/local/bin/node"]
CMD ["--max-semi-space-size=2", "api/start.mjs"]
