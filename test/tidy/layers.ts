/**
 * Defines which layer may import which. A package of `packages/` imports nothing of the product, except the lab, and the verification of certificates, which repeats the judges of the domain; the product imports it by its name, never by a path. One impure import breaks the workflow bundle; another adds 100 MB to an API replica. Reviews
 * overlook both.
 */

export interface Layer {
  /** Layers whose values may be imported; every layer may import itself. A layer of a package is imported by a path only where it is named. */
  values: readonly string[]
  /** Layers, or single files, from which only types may be imported. */
  types?: readonly string[]
  /** Packages that may be imported; `node:` for Node's modules. A pattern that ends in `*` matches a prefix. */
  packages: readonly string[]
  /** Packages from which only types may be imported. */
  typePackages?: readonly string[]
  /** Packages that only these files may import, as path prefixes. */
  only?: Readonly<Record<string, readonly string[]>>
}

const everything = ['*'] as const
const product = [
  'activities',
  'api',
  'cli',
  'domain',
  'models',
  'project.mjs',
  'store',
  'temporal.config.ts',
  'workflows',
] as const

export const layers: Readonly<Record<string, Layer>> = {
  domain: {
    values: [],
    // Those parts of the predictors that need neither Node nor a library.
    packages: [
      '@tenure/predictors/features',
      '@tenure/predictors/format-names',
      '@tenure/predictors/json',
      '@tenure/predictors/network-limits',
      '@tenure/sequential',
    ],
  },
  store: {
    values: ['domain', 'project.mjs'],
    packages: [
      '@tenure/predictors/features',
      '@tenure/sequential',
      'node:*',
      'pg',
      'sql-template-tag',
      'zod',
      'node-pg-migrate',
    ],
    only: {
      '@tenure/embedded/install/lock': ['store/python/python-environment.ts', 'store/signing/key-files.ts'],
      aws4fetch: ['store/endpoint-client.ts', 'store/objects/s3/s3-store.ts'],
      tar: ['store/foreign/foreign-archive.ts'],
      undici: ['store/undici.ts'],
    },
  },
  // A model file imports only define.ts, which validates with the domain's rules and reads files.
  models: { values: ['models/define'], types: ['domain'], packages: [], typePackages: ['@tensorflow/tfjs'] },
  'models/define': {
    values: ['domain', 'project.mjs'],
    packages: ['node:*', 'esbuild'],
    only: {
      '@tenure/embedded/install/machine': ['models/define/python-model.ts'],
    },
    typePackages: ['@tensorflow/tfjs'],
  },
  'models/index': {
    values: ['domain', 'models', 'models/define', 'project.mjs'],
    packages: ['node:*'],
  },
  'docs/examples': { values: ['models/define'], packages: [] },
  workflows: {
    values: ['domain', 'workflows/messages'],
    types: ['activities'],
    packages: ['@temporalio/workflow'],
    only: { '@temporalio/common': ['workflows/input/failure-converter.ts'] },
  },
  // Shared by the processes that run no workflows.
  'workflows/messages': { values: ['domain'], packages: [], typePackages: ['@temporalio/workflow'] },
  activities: {
    values: [
      'domain',
      'store',
      'models',
      'workflows/client',
      'activities/alerts/delivery',
      'activities/telemetry',
      'temporal.config.ts',
      'cli/build/workflows.mjs',
    ],
    types: ['workflows'],
    packages: [
      '@tenure/predictors/features',
      '@tenure/predictors/format-names',
      '@tenure/predictors/memory-limit',
      '@tenure/sequential',
      'node:*',
      '@temporalio/activity',
      '@temporalio/client',
      'arquero',
      '@duckdb/node-api',
      'pino',
    ],
    typePackages: ['@tensorflow/tfjs'],
    only: {
      '@tenure/embedded/install/lock': ['activities/trainers/python-environment.ts'],
      '@opentelemetry/api': ['activities/tracing/'],
      '@temporalio/interceptors-opentelemetry': ['activities/tracing/'],
      '@tensorflow/tfjs-node': ['activities/tensorflow/tfjs.ts'],
      '@temporalio/worker': [
        'activities/worker.ts',
        'activities/worker/create-worker.ts',
        'activities/worker/payload-options.ts',
        'activities/upgrade/',
      ],
    },
  },
  // Reads what should run in Temporal and what runs: for the worker that maintains it and for the command line.
  'workflows/client': {
    values: ['domain', 'workflows/messages', 'workflows/triggers/messages.ts'],
    packages: ['@temporalio/client', '@temporalio/envconfig', '@temporalio/proto', 'node:crypto'],
    typePackages: ['@temporalio/common'],
  },
  // Sends traces, metrics and logs for workers and replicas. Loaded only when configured.
  'activities/telemetry': { values: ['domain'], packages: ['node:*', '@opentelemetry/*'] },
  // Delivers alerts for the control worker, and for replicas while the control worker is silent.
  'activities/alerts/delivery': {
    values: ['domain', 'store'],
    types: ['temporal.config.ts'],
    packages: ['standardwebhooks'],
    only: { nodemailer: ['activities/alerts/delivery/send.ts'] },
  },
  // Renders data as pictures or text for pages and the terminal.
  'api/charts': { values: ['domain'], packages: ['@tenure/sequential', '@observablehq/plot', 'linkedom'] },
  api: {
    values: [
      'domain',
      'store',
      'models',
      'activities/alerts/delivery',
      'api/charts',
      'activities/telemetry',
      // Requests, snapshots and batches compute columns by one implementation.
      'activities/data/prepared-rows.ts',
      // Users and triggers ask for compressions in one way.
      'activities/retrain/compressed-artifact.ts',
      'workflows/messages.ts',
      'workflows/triggers/messages.ts',
      'workflows/client/model-schedules.ts',
      'workflows/client/payload-check.ts',
      'workflows/client/payload-codec.ts',
      'workflows/client/payload-keys.ts',
      'workflows/client/pollers.ts',
      'workflows/client/schedules.ts',
      'temporal.config.ts',
      'cli/build/launch.mjs',
      'project.mjs',
    ],
    types: ['workflows'],
    packages: [
      '@tenure/http-front',
      '@tenure/predictors',
      '@tenure/predictors/features',
      '@tenure/predictors/format-names',
      '@tenure/predictors/json',
      '@tenure/predictors/memory-limit',
      '@tenure/sequential',
      'node:*',
      'hono',
      'hono/*',
      '@hono/*',
      '@temporalio/client',
      'zod',
      'pino',
      'prom-client',
    ],
    only: {
      '@grpc/grpc-js': ['api/grpc/'],
      '@opentelemetry/api': ['api/tracing/'],
      '@opentelemetry/core': ['api/tracing/'],
      '@temporalio/interceptors-opentelemetry': ['api/tracing/'],
      '@nats-io/jetstream': ['api/streams/nats.ts'],
      '@nats-io/transport-node': ['api/streams/nats.ts'],
      '@platformatic/kafka': ['api/streams/kafka.ts', 'api/streams/kafka/'],
      'markdown-it': ['api/dashboard/components/markdown.tsx'],
      'openid-client': ['api/auth/oidc.ts'],
    },
  },
  cli: {
    values: [
      'domain',
      'store',
      'models',
      'api/charts',
      // The SQL of model files is checked where a snapshot would run it.
      'activities/data/check-sql.ts',
      'activities/data/prepared-rows.ts',
      'activities/check/compile-script.ts',
      // `doctor` tries the jail that a replica would use.
      'api/serving/runtime/python-process.ts',
      'workflows/messages.ts',
      'temporal.config.ts',
      'project.mjs',
      'cli/build',
      'workflows/client',
    ],
    types: ['workflows'],
    packages: [
      '@tenure/embedded',
      '@tenure/predictors/features',
      '@tenure/predictors/format-names',
      '@tenure/predictors/memory-limit',
      '@tenure/sequential',
      'node:*',
      'commander',
      '@temporalio/client',
    ],
    only: {
      '@duckdb/node-api': ['cli/demo/', 'cli/export/'],
      '@tenure/predictors': ['cli/commands/registry/score.ts'],
      '@tenure/predictors/edge': ['cli/export/'],
      '@tenure/predictors/json': ['cli/commands/registry/score.ts'],
      esbuild: ['cli/export/'],
      yaml: ['cli/installation/'],
    },
  },
  // Runs before any package is installed, the links to those of this repository included.
  'cli/setup': {
    values: ['cli/build', 'packages/embedded/src/install'],
    packages: ['node:*'],
  },
  // Is used without the product: its code imports neither Node nor the product.
  'packages/sequential/src': {
    values: [],
    packages: [],
    only: { jstat: ['packages/sequential/src/distributions.ts'] },
  },
  // Is used without the product: its readers of models. Only the files that run a library import it.
  'packages/predictors/src': {
    values: [],
    packages: ['node:*'],
    only: {
      zod: ['packages/predictors/src/formats/endpoint/endpoint-file.ts'],
      'onnxruntime-node': [
        'packages/predictors/src/formats/onnx/session/feeds.ts',
        'packages/predictors/src/formats/onnx/session/graph-session.ts',
        'packages/predictors/src/formats/onnx/session/web-session.ts',
      ],
      '@tensorflow/tfjs-backend-cpu': ['packages/predictors/src/tensorflow/tfjs-worker.ts'],
      '@tensorflow/tfjs-core': ['packages/predictors/src/tensorflow/tfjs-worker.ts'],
      '@tensorflow/tfjs-layers': ['packages/predictors/src/tensorflow/tfjs-worker.ts'],
    },
  },
  'packages/predictors': {
    values: ['packages/predictors/src'],
    packages: [
      'node:*',
      'vitest',
      'esbuild',
      'fast-check',
      '@tenure/predictors',
      '@tenure/predictors/features',
      '@tenure/predictors/format-names',
      '@tenure/predictors/json',
      '@tenure/embedded/install/machine',
      '@tenure/sequential',
      '@tensorflow/*',
      'onnxruntime-node',
    ],
  },
  // Is used without the product: the servers of one machine.
  'packages/embedded/src': {
    values: ['packages/embedded/src/install'],
    packages: ['node:*'],
    only: { '@temporalio/client': ['packages/embedded/src/temporal.ts'] },
  },
  // Plain JavaScript, because the set-up runs it before any package is installed.
  'packages/embedded/src/install': {
    values: [],
    packages: ['node:*'],
    only: { '@temporalio/testing': ['packages/embedded/src/install/download-temporal.mjs'] },
  },
  'packages/embedded': {
    values: ['packages/embedded/src', 'packages/embedded/src/install'],
    packages: ['node:*', 'vitest', '@tenure/embedded', '@temporalio/client', 'pg'],
  },
  // Its tests, examples and packing.
  'packages/sequential': {
    values: ['packages/sequential/src'],
    packages: ['node:*', 'vitest', '@tenure/sequential'],
  },
  // Is used without the product, in front of any server: Node alone.
  'packages/http-front/src': { values: [], packages: ['node:*'] },
  'packages/http-front': {
    values: ['packages/http-front/src'],
    packages: ['node:*', 'vitest', '@tenure/http-front', 'hono', '@hono/node-server'],
  },
  // Is used without the product: it drives the SDK of Temporal in virtual time.
  'packages/simulator/src': {
    values: [],
    packages: ['node:*', '@temporalio/activity', '@temporalio/common', '@temporalio/workflow'],
    only: { esbuild: ['packages/simulator/src/bundle.ts'] },
  },
  'packages/simulator': {
    values: ['packages/simulator/src'],
    packages: ['node:*', 'vitest', '@tenure/simulator', '@temporalio/activity', '@temporalio/workflow'],
  },
  // Is used without the product: packing puts the judges that it repeats into it.
  'packages/certificate/src': { values: ['domain'], packages: ['node:*'] },
  'packages/certificate': {
    values: ['packages/certificate/src'],
    packages: ['node:*', 'vitest', '@tenure/certificate'],
  },
  // Runs in programs of users and in browsers.
  'packages/client/src': { values: [], packages: [] },
  'packages/client': { values: ['packages/client/src'], packages: ['node:*', 'vitest', '@tenure/client'] },
  // Bundled for browsers: only what needs neither Node nor a package.
  'cli/export/edge': {
    values: ['domain', 'api/serving/codec/row-reader.ts'],
    packages: ['@tenure/predictors/edge', '@tenure/predictors/features'],
  },
  'temporal.config.ts': {
    values: [
      'domain',
      'store/objects/settings.ts',
      'store/secret-files.ts',
      'store/settings-reader.ts',
      'store/tls/settings.ts',
      'activities/telemetry/settings.ts',
      'workflows/client/settings.ts',
      'project.mjs',
    ],
    packages: ['node:*', '@tenure/embedded/install/machine'],
  },
  'vitest.config.ts': { values: everything, packages: everything },
  // The project of a process. Plain JavaScript, because it is read before anything is compiled.
  'project.mjs': { values: [], packages: ['node:*'] },
  // Compiles and runs the processes: plain JavaScript, because it runs before anything is compiled.
  'cli/build': {
    values: ['project.mjs'],
    packages: [
      'node:*',
      '@tenure/embedded/install/lock',
      'esbuild',
      '@temporalio/worker',
      '@temporalio/common',
    ],
  },
  // Scripts of pipelines: they run where nothing of Tenure is installed.
  deploy: { values: [], packages: ['node:*'] },
  // Packs the product for npm and for the container image.
  'deploy/package': {
    values: ['api/routes/python-wheel.mjs', 'cli/build', 'cli/export/web-runtime.mjs', 'cli/setup'],
    packages: ['node:*', '@tenure/embedded/install/machine', 'esbuild'],
  },
  // Commands of operators who run Temporal themselves.
  'deploy/promote-build': {
    values: ['activities', 'cli', 'temporal.config.ts'],
    packages: ['node:*', '@temporalio/client'],
  },
  'deploy/temporal-cluster': {
    values: ['cli', 'domain', 'temporal.config.ts'],
    packages: [
      'node:*',
      'pg',
      '@temporalio/client',
      '@temporalio/common',
      '@tenure/embedded/install/run',
      '@tenure/embedded/install/temporal-cluster',
    ],
  },
  // The generators of the reference pages and of the pictures.
  docs: { values: [...product, 'test'], packages: everything },
  // The one package that imports the product and its fixtures, because it measures and attacks them as a whole. Nothing imports it. It and
  // the tests of the product take models of the fixtures of the predictors, whose code they import by its name.
  'packages/lab': { values: [...product, 'deploy', 'packages/predictors', 'test'], packages: everything },
  test: {
    // Of these packages, what their tests support those of the product with.
    values: [...product, 'deploy', 'docs', 'packages/http-front', 'packages/predictors', 'vitest.config.ts'],
    packages: everything,
  },
}

/** Returns the layer of a path: its first directory, or the file itself at the root. Parts that other layers share are separate layers. */
export function layerOf(path: string): string {
  const shared =
    /^packages\/[^/]+(?:\/src(?:\/install)?(?=\/))?/.exec(path)?.[0] ??
    /^(?:models\/(?:define|index)|cli\/(?:build|setup|export\/edge)|activities\/(?:alerts\/delivery|telemetry)|api\/charts|deploy\/(?:package|promote-build|temporal-cluster)|docs\/examples|workflows\/(?:client|messages))(?=[./])/.exec(
      path,
    )?.[0]
  return shared ?? path.split('/')[0] ?? path
}

export interface Import {
  from: string
  /** A path in the project, or the name of a package. */
  to: string
  inside: boolean
  typeOnly: boolean
  /** Loaded on use, by `import(…)`. */
  isLate: boolean
}

/** Returns why an import is not allowed; undefined when it is. */
export function issueOfImport(each: Import): string | undefined {
  const layer = layers[layerOf(each.from)]
  if (layer === undefined) return `${each.from} lies in no layer of the table (test/tidy/layers.ts)`
  if (!each.inside)
    return packageAllowed(layer, each) ? undefined : `${each.from} imports the package ${each.to}`
  const target = layerOf(each.to)
  const own = packageOf(each.to)
  if (own !== undefined && own !== packageOf(each.from) && !layer.values.includes(target))
    return `${each.from} imports ${each.to}: import a package by its name`
  if (target === layerOf(each.from) || matches(layer.values, each.to)) return undefined
  if (each.typeOnly && matches(layer.types ?? [], each.to)) return undefined
  const onlyTypes = matches(layer.types ?? [], each.to) ? ' (only `import type` is allowed)' : ''
  return `${each.from} imports ${each.to}${onlyTypes}`
}

/** The folder of a package of this repository; undefined for the product. */
const packageOf = (path: string): string | undefined => /^packages\/[^/]+/.exec(path)?.[0]

function packageAllowed(layer: Layer, { from, to, typeOnly }: Import): boolean {
  if (typeOnly && matches(layer.typePackages ?? [], to)) return true
  const owners = Object.entries(layer.only ?? {}).find(([name]) => name === to)?.[1]
  if (owners !== undefined) return owners.some((owner) => from.startsWith(owner))
  return matches(layer.packages, to)
}

function matches(allowed: readonly string[], name: string): boolean {
  return allowed.some((each) =>
    each.endsWith('*')
      ? name.startsWith(each.slice(0, -1))
      : name === each || layerOf(name) === each || layerOf(name).startsWith(`${each}/`),
  )
}
