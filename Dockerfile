# One image for every process of Tenure; the command chooses which: `api/start.mjs` (the default),
# `scripts/launch.mjs activities/worker.ts control`, `scripts/launch.mjs activities/worker.ts train`. Postgres and Temporal run
# elsewhere (see compose.yaml).
#
# Written with care, but it could not be built where it was written: no container engine was at hand.

FROM node:24-bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/tenure
# The addon links to the library in this directory, so it keeps its path in the final image.
ENV TENURE_CACHE=/opt/tenure-cache
# What changes seldom comes first: the packages and the library are not fetched again when a source file changes.
COPY package.json package-lock.json .npmrc ./
COPY scripts/setup.mjs scripts/setup.mjs
COPY scripts/setup scripts/setup
COPY scripts/build scripts/build
RUN node scripts/setup.mjs --without=temporal,postgres \
 && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
 && rm -r $TENURE_CACHE/packages-*
COPY . .
# The user below cannot write here, so the processes are compiled now. A start compares the times of all sources with those of
# the build, and layers keep whole seconds only; so all files get one of those first.
RUN find . -type f -exec touch -d @1700000000 {} + \
 && node scripts/build.mjs

FROM node:24-bookworm-slim
ARG BUILD_ID=unversioned
ENV NODE_ENV=production \
    TENURE_BUILD_ID=$BUILD_ID \
    TENURE_CACHE=/opt/tenure-cache \
    TENURE_STATE=/var/lib/tenure/state \
    TENURE_ARTIFACTS=/var/lib/tenure/artifacts \
    TENURE_BATCHES=/var/lib/tenure/batches \
    TENURE_KEYS=/var/lib/tenure/keys \
    TENURE_TRUST=/var/lib/tenure/trust \
    TENURE_SUBJECT_KEY=/var/lib/tenure/subjects/subjects.key
COPY --from=build /opt/tenure-cache /opt/tenure-cache
COPY --from=build /opt/tenure /opt/tenure
WORKDIR /opt/tenure
RUN install -d -o node -g node /var/lib/tenure/state /var/lib/tenure/artifacts /var/lib/tenure/batches /var/lib/tenure/subjects \
 && for purpose in artifacts commands heads; do \
      install -d -o node -g node -m 700 /var/lib/tenure/keys /var/lib/tenure/keys/$purpose; \
      install -d -o node -g node /var/lib/tenure/trust /var/lib/tenure/trust/$purpose; \
    done
USER node
EXPOSE 7400
# Node itself is process 1 and hears SIGTERM; `npm start` would stand between.
ENTRYPOINT ["node"]
CMD ["--max-semi-space-size=2", "api/start.mjs"]
