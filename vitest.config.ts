/**
 * How the tests run: in four processes that keep the modules they have loaded, because each load of Temporal's and TensorFlow's
 * native libraries costs a second. The files that need no server are a project of their own, so that running one of them
 * does not start Postgres and Temporal.
 */
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

const withoutServers = [
  'packages/*/test/*.test.ts',
  'test/domain/**/*.test.ts',
  'test/activities/data/**/*.test.ts',
  'test/activities/privacy/**/*.test.ts',
  'test/api/http/{openapi,model-openapi,compression,schemas}.test.ts',
  'test/api/routes/registry/artifact-upload.test.ts',
  'test/api/metrics/promlint.test.ts',
  'test/api/serving/{formats,explanation,network}/**/*.test.ts',
  'test/activities/arguments.test.ts',
  'test/activities/artifact/**/*.test.ts',
  'test/store/{artifacts,outgoing,outgoing-fetch,schema-issues,foreign/*,signing/*,objects/*}.test.ts',
  'test/alerts/{send,formats,escaping}.test.ts',
  'test/telemetry/*.test.ts',
  'test/bench/**/*.test.ts',
  'test/activities/{tensorflow/{training-loop,importance},trainers/{program,python-environment,result-folder}}.test.ts',
  'test/cli/{commands/{all-commands,format},demo/narrator,supervisor/{browser,merged-log},simulate/world,sync/load-models}.test.ts',
  'test/deploy/{chart,ci,containers,monitoring}.test.ts',
  'test/charts/**/*.test.ts',
  'test/models/{trainer,behaviour-tests,triggers}.test.ts',
  'test/tidy.test.ts',
  'test/api/transport/http-fuzz.test.ts',
  'test/api/serving/formats/*.test.ts',
  'test/api/serving/runtime/*.test.ts',
  'test/config.test.ts',
  'test/cli/{setup,build}/*.test.ts',
  'test/project.test.ts',
  'test/scripts/{pages,temporal-cluster/*}.test.ts',
  'test/support/reference/*.test.ts',
  'test/docs/{alert-channels,bring-your-model,figures,links,security,states}.test.ts',
  'test/cli/doctor/object-store.test.ts',
  'test/cli/{init,check}/*.test.ts',
  'test/cli/local-actor.test.ts',
  'test/cli/embedded/servers.test.ts',
  'test/cli/supervisor/supervisor.test.ts',
  'test/support/kept-threads.test.ts',
]

const atLength = [
  'test/packages/*.test.ts',
  'test/faults/long/**/*.test.ts',
  'test/examples/*.test.ts',
  'test/interop/*.test.ts',
]

export default defineConfig({
  test: {
    pool: 'forks',
    isolate: false,
    // The compiled sources of the run before: most of them are still valid. And of packages what V8 has compiled.
    experimental: { fsModuleCache: true },
    execArgv: ['--import', new URL('./test/support/test-process.mjs', import.meta.url).href],
    unstubEnvs: true,
    // Where it is set, Node 20 parses all certificates of the machine at each start, for twice the time of the rest of its start.
    env: { NODE_EXTRA_CA_CERTS: '' },
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    reporters: ['default'],
    teardownTimeout: 30_000,
    // A condition is awaited, however busy the machine is; only one that never comes true fails. So tests name no deadline of their own.
    expect: { poll: { timeout: 200_000, interval: 50 } },
    testTimeout: 600_000,
    hookTimeout: 600_000,
    projects: [
      {
        extends: true,
        test: { name: 'pure', include: withoutServers },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/**/*.test.ts'],
          exclude: [...withoutServers, ...atLength],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          include: atLength,
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
})
