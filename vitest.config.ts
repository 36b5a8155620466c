/**
 * How the tests run: in processes that keep the modules they have loaded, because each load of Temporal's and TensorFlow's
 * native libraries costs a second. The files that need no server are a project of their own, so that running one of them
 * does not start Postgres and Temporal.
 */
import { totalmem } from 'node:os'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'
import { atLength, byHand, packages, programs, unit } from './test/tiers.ts'

const processes = 'test/support/compiled.ts'
const servers = { globalSetup: [processes, 'test/support/global-setup.ts'] }

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
    // Many files wait for a time or a process: four of them kept two cores busy for two thirds of a run.
    maxWorkers: totalmem() > 12 * 2 ** 30 ? 6 : 4,
    sequence: { sequencer: LongestFirst },
    reporters: ['default'],
    teardownTimeout: 30_000,
    // A condition is awaited, however busy the machine is; only one that never comes true fails. So tests name no deadline of their own.
    expect: { poll: { timeout: 200_000, interval: 50 } },
    testTimeout: 1_200_000,
    // The first run on a machine builds a server of Kubernetes in a hook: 11 minutes on two idle cores, and more than 20 beside other work.
    hookTimeout: 3_000_000,
    projects: [
      { extends: true, test: { name: 'pure', include: unit, exclude: [...programs, ...atLength] } },
      {
        extends: true,
        test: { name: 'programs', include: programs, exclude: atLength, globalSetup: [processes] },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/**/*.test.ts'],
          exclude: [...unit, ...programs, ...atLength],
          ...servers,
        },
      },
      { extends: true, test: { name: 'packages', include: packages, exclude: atLength } },
      { extends: true, test: { name: 'long', include: atLength, exclude: Object.keys(byHand), ...servers } },
      { extends: true, test: { name: 'by-hand', include: Object.keys(byHand), ...servers } },
    ],
  },
})
