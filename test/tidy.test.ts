/** Tests the architecture rules. Every rule must also detect a planted violation. */
import { describe, expect, it } from 'vitest'
import { errorTable } from '../domain/errors.ts'
import {
  issuesOfBarrels,
  issuesOfCycles,
  issuesOfErrorCodes,
  issuesOfImports,
  issuesOfNames,
  issuesOfReplicaStart,
  issuesOfRoads,
  issuesOfSyntax,
} from './tidy/rules.ts'
import { idleCallers, issuesOfNetwork } from './tidy/network.ts'
import { issuesOfTasks } from './tidy/tasks.ts'
import { issuesOfTimeLimits } from './tidy/time-limits.ts'
import { issuesOfWords, proseOf, replacedWords, textsOf } from './tidy/words.ts'
import { parseSource, readSources, readTexts } from './tidy/source.ts'
import { byHand } from './tiers.ts'

const sources = readSources()
const codes = Object.keys(errorTable)
const planted = (path: string, text: string) => [parseSource(path, text)]

describe('the tree', () => {
  it('imports only what the import table allows', () => expect(issuesOfImports(sources)).toEqual([]))
  it('has no meaningless file names', () => expect(issuesOfNames(sources)).toEqual([]))
  it('starts a replica without the SDK of Temporal', () => expect(issuesOfReplicaStart(sources)).toEqual([]))
  it('has no barrel in domain', () => expect(issuesOfBarrels(sources)).toEqual([]))
  it('has no cycle', () => expect(issuesOfCycles(sources)).toEqual([]))
  it('reads archives and folders from elsewhere only by the extractor', () =>
    expect(issuesOfRoads(sources)).toEqual([]))
  it('has no banned syntax', () => expect(issuesOfSyntax(sources)).toEqual([]))
  it('calls other systems by the one client alone', () => {
    expect(issuesOfNetwork(sources)).toEqual([])
    expect(idleCallers(sources)).toEqual([])
  })
  it('tells tasks apart in domain/tasks alone', () => expect(issuesOfTasks(sources)).toEqual([]))
  it('has one time limit for all tests that CI runs', () => expect(issuesOfTimeLimits(sources)).toEqual([]))
  it('has one name for a thing in every text that people read', () => {
    const read = sources.filter(({ path }) => !/(^|\/)test\/|^packages\/lab\//.test(path)).flatMap(textsOf)
    // What changed and what was measured is told with the names of its day.
    const pages = readTexts()
      .filter(({ path }) => path.endsWith('.md') && !/^CHANGELOG|^packages\/lab\//.test(path))
      .flatMap(({ path, text }) =>
        proseOf(text)
          .split('\n\n')
          .map((part) => ({ path, text: part })),
      )
    expect(read.length).toBeGreaterThan(5_000)
    expect(pages.length).toBeGreaterThan(2_000)
    expect(issuesOfWords([...read, ...pages])).toEqual([])
  })
  it('has a remedy for every error', () => {
    for (const [code, { status, remedy }] of Object.entries(errorTable)) {
      expect(remedy, code).toMatch(/^[A-Z].{10,}\.$/)
      expect(status, code).toBeGreaterThanOrEqual(400)
    }
  })
  it('raises every error somewhere and trips it in a test', () =>
    expect(issuesOfErrorCodes(sources, codes)).toEqual([]))
})

describe('a planted violation is found', () => {
  const found = (path: string, text: string) => issuesOfImports(planted(path, text)).length

  it.each([
    ['a package in domain', 'domain/a.ts', `import pg from 'pg'`],
    ['Node in domain', 'domain/a.ts', `import { readFileSync } from 'node:fs'`],
    ['a package by its path', 'domain/a.ts', `import { auc } from '../packages/sequential/src/auc.ts'`],
    [
      'a package by its path, in a test of the product',
      'test/domain/a.ts',
      `import { auc } from '../../packages/sequential/src/index.ts'`,
    ],
    [
      'the product in a package',
      'packages/sequential/src/a.ts',
      `import { DomainError } from '../../../domain/errors.ts'`,
    ],
    [
      'a type of the product in a package',
      'packages/sequential/src/a.ts',
      `import type { Verdict } from '../../../domain/verdict.ts'`,
    ],
    [
      'the product in the test of a package',
      'packages/sequential/test/a.test.ts',
      `import { judgeGate } from '../../../domain/evaluation/gate.ts'`,
    ],
    ['Node in a package', 'packages/sequential/src/a.ts', `import { readFileSync } from 'node:fs'`],
    [
      'the product in the package that starts servers',
      'packages/embedded/src/a.ts',
      `import { checkout } from '../../../temporal.config.ts'`,
    ],
    [
      'the product in the set-up of a package',
      'packages/embedded/src/install/a.mjs',
      `import { externalServers } from '../../../../project.mjs'`,
    ],
    [
      'a package in the set-up of a package',
      'packages/embedded/src/install/a.mjs',
      `import { Connection } from '@temporalio/client'`,
    ],
    [
      'the servers in the set-up, by their path',
      'cli/setup/a.mjs',
      `import { startPostgres } from '../../packages/embedded/src/postgres.ts'`,
    ],
    [
      'the set-up of a package by its path',
      'cli/a.ts',
      `import { run } from '../packages/embedded/src/install/run.mjs'`,
    ],
    [
      'the product in the front of HTTP',
      'packages/http-front/src/a.ts',
      `import { problemOf } from '../../../api/http/problem.ts'`,
    ],
    [
      'a type of the product in the front of HTTP',
      'packages/http-front/src/a.ts',
      `import type { Actor } from '../../../api/auth/authentication.ts'`,
    ],
    [
      'the product in the readers of models',
      'packages/predictors/src/a.ts',
      `import { quotedName } from '../../../domain/errors.ts'`,
    ],
    [
      'a native library in another file of the readers of models',
      'packages/predictors/src/a.ts',
      `import { Tensor } from 'onnxruntime-node'`,
    ],
    ['the readers of models in domain', 'domain/a.ts', `import { open } from '@tenure/predictors'`],
    [
      'the readers of models by a path',
      'api/a.ts',
      `import { open } from '../packages/predictors/src/open.ts'`,
    ],
    ...['test/api/a.test.ts', 'test/support/a.ts', 'packages/lab/serving/a.ts', 'docs/generate/a.ts'].map(
      (path): [string, string, string] => [
        `the readers of models by a path, in ${path}`,
        path,
        `import type { Model } from '${'../'.repeat(path.split('/').length - 1)}packages/predictors/src/open.ts'`,
      ],
    ),
    [
      'the product in a test of the readers of models',
      'packages/predictors/test/formats/a.test.ts',
      `import { loadVersion } from '../../../../api/serving/version/loaded-version.ts'`,
    ],
    [
      'the readers of models in an export',
      'cli/export/edge/a.ts',
      `import { open } from '@tenure/predictors'`,
    ],
    [
      'the product in the simulator',
      'packages/simulator/src/a.ts',
      `import { hash32 } from '../../../domain/serving/route.ts'`,
    ],
    [
      'the simulator by its path',
      'test/simulation/a.ts',
      `import { createWorld } from '../../packages/simulator/src/world.ts'`,
    ],
    ['the simulator in the product', 'activities/a.ts', `import { createWorld } from '@tenure/simulator'`],
    [
      'the front of HTTP by its path, in a test of the product',
      'test/api/a.test.ts',
      `import { openFastPath } from '../../packages/http-front/src/index.ts'`,
    ],
    ['Hono in the code of the front', 'packages/http-front/src/a.ts', `import { Hono } from 'hono'`],
    [
      'the front of HTTP by its path',
      'api/a.ts',
      `import { openFastPath } from '../packages/http-front/src/index.ts'`,
    ],
    [
      'the front of HTTP in the command line',
      'cli/a.ts',
      `import { openFastPath } from '@tenure/http-front'`,
    ],
    ['the servers in the API', 'api/a.ts', `import { startPostgres } from '@tenure/embedded'`],
    [
      'a part of a package where only one file may use it',
      'store/a.ts',
      `import { takeLock } from '@tenure/embedded/install/lock'`,
    ],
    ['the test of a package in its code', 'packages/sequential/src/a.ts', `import { a } from '../test/a.ts'`],
    ['another package of a package', 'packages/sequential/src/a.ts', `import { z } from 'zod'`],
    ['a package that the table does not know', 'packages/other/src/a.ts', `import { a } from './b.ts'`],
    ['the configuration in domain', 'domain/a.ts', `import { readConfig } from '../temporal.config.ts'`],
    ['the store in a workflow', 'workflows/a.ts', `import { openStore } from '../store/postgres.ts'`],
    [
      'the type of a store in a workflow',
      'workflows/a.ts',
      `import type { Store } from '../store/postgres.ts'`,
    ],
    [
      'a value of an activity in a workflow',
      'workflows/a.ts',
      `import { train } from '../activities/retrain/train.ts'`,
    ],
    [
      'a value among the types',
      'workflows/a.ts',
      `import { type A, train } from '../activities/retrain/train.ts'`,
    ],
    ['zod in a workflow', 'workflows/a.ts', `import { z } from 'zod'`],
    ['a value of domain in a model file', 'models/a.ts', `import { DomainError } from '../domain/errors.ts'`],
    ['tfjs in the words of the models', 'models/define/a.ts', `import * as tf from '@tensorflow/tfjs'`],
    [
      'the runtime of workflows in the contract',
      'workflows/messages.ts',
      `import { sleep } from '@temporalio/workflow'`,
    ],
    ['an activity in the API', 'api/a.ts', `import type { Deps } from '../activities/deps.ts'`],
    ['a workflow in the API', 'api/a.ts', `import { retrain } from '../workflows/retrain.ts'`],
    ['the worker in the API', 'api/a.ts', `import { Worker } from '@temporalio/worker'`],
    ['tfjs-node in the API, loaded late', 'api/a.ts', `await import('@tensorflow/tfjs-node')`],
    ['a side effect', 'workflows/a.ts', `import '../store/postgres.ts'`],
    ['something passed on', 'workflows/a.ts', `export { openStore } from '../store/postgres.ts'`],
    ['DuckDB in a command', 'cli/commands/a.ts', `import { DuckDBInstance } from '@duckdb/node-api'`],
    ['the API in the command line', 'cli/a.ts', `import { app } from '../api/app.ts'`],
    [
      'the lab in the product',
      'cli/a.ts',
      `import { readOptions } from '../packages/lab/harness/options.ts'`,
    ],
    [
      'the lab in a fixture of tests',
      'test/support/a.ts',
      `import { readOptions } from '../../packages/lab/harness/options.ts'`,
    ],
    [
      'the lab in another package',
      'packages/sequential/test/a.ts',
      `import { readOptions } from '../../lab/harness/options.ts'`,
    ],
    [
      'the lab in a generator of pages',
      'docs/generate/a.ts',
      `import { readOptions } from '../../packages/lab/harness/options.ts'`,
    ],
    [
      'a generator of pages in the product',
      'cli/a.ts',
      `import { makePages } from '../docs/generate/pages/pages.ts'`,
    ],
    [
      'the packing in the product',
      'cli/a.ts',
      `import { compile } from '../deploy/package/compile-package.mjs'`,
    ],
    [
      'the product in a script of pipelines',
      'deploy/ci/a.mjs',
      `import { DomainError } from '../../domain/errors.ts'`,
    ],
    [
      'the store in an example',
      'docs/examples/sky/a.ts',
      `import { openStore } from '../../../store/postgres.ts'`,
    ],
    ['a package in the set-up', 'cli/setup/a.mjs', `import { build } from 'esbuild'`],
    ['the product in the build', 'cli/build/a.mjs', `import { loadModels } from '../../models/index.ts'`],
    ['a layer that the table does not know', 'plugins/a.ts', `import { a } from './b.ts'`],
  ])('%s', (_name, path, text) => expect(found(path, text)).toBe(1))

  it.each([
    ['a list of a folder', `import { readdir } from 'node:fs/promises'`],
    ['a copy of a folder', `import { cpSync as copy } from 'node:fs'`],
    ['all of a module', `import * as files from 'node:fs'`],
    ['unpacked bytes', `import { createBrotliDecompress } from 'node:zlib'`],
  ])('%s', (_name, text) =>
    expect(issuesOfRoads(planted('cli/backup/new-road.ts', text))).toEqual([
      expect.stringMatching(/^cli\/backup\/new-road.ts reads an archive or a folder/),
    ]),
  )

  it.each([
    ['jstat where it is used', 'packages/sequential/src/distributions.ts', `import { jStat } from 'jstat'`],
    [
      'the list of formats in domain',
      'domain/a.ts',
      `import { artifactFormats } from '@tenure/predictors/format-names'`,
    ],
    ['the front of HTTP in the API', 'api/a.ts', `import { openFastPath } from '@tenure/http-front'`],
    [
      'the product and its fixtures in the lab',
      'packages/lab/a/a.ts',
      `import { openStore } from '../../../store/postgres.ts'\nimport { sumBy } from '../../../test/support/figures.ts'`,
    ],
    ['a package by its name', 'domain/a.ts', `import { auc } from '@tenure/sequential'`],
    [
      'what runs before the packages are there, by its path in the set-up',
      'cli/setup/a.mjs',
      `import { run } from '../../packages/embedded/src/install/run.mjs'`,
    ],
    [
      'the code of a package in its test',
      'packages/sequential/test/a.test.ts',
      `import { auc } from '../src/auc.ts'`,
    ],
    [
      'the types of an activity in a workflow',
      'workflows/a.ts',
      `import type { A } from '../activities/worker.ts'`,
    ],
    ['the model files in the command line', 'cli/a.ts', `import { loadModels } from '../models/index.ts'`],
    ['the contract in the API', 'api/a.ts', `import { releaseStatus } from '../workflows/messages.ts'`],
    ['DuckDB in the demo', 'cli/demo/a.ts', `import { DuckDBInstance } from '@duckdb/node-api'`],
    ['the words in a model file', 'models/a.ts', `import { csv } from './define.ts'`],
    ['the types of tfjs in the words', 'models/define/a.ts', `import type * as tf from '@tensorflow/tfjs'`],
    [
      'the packing in a test',
      'test/deploy/a.test.ts',
      `import { compile } from '../../deploy/package/compile-package.mjs'`,
    ],
    [
      'what the tests of a package support others with',
      'test/api/a.test.ts',
      `import { serve } from '../../packages/http-front/test/support/sockets.ts'`,
    ],
    ['the worker in a test', 'test/a.test.ts', `import { Worker } from '@temporalio/worker'`],
  ])('but not %s', (_name, path, text) => expect(found(path, text)).toBe(0))

  it.each([
    ['the clock', 'domain/a.ts', `export const now = () => Date.now()`, 'Date.now()'],
    ['the clock by its other name', 'domain/a.ts', `export const now = () => new Date()`, 'new Date()'],
    ['chance', 'domain/a.ts', `export const dice = () => Math.random()`, 'Math.random()'],
    ['a timer', 'domain/a.ts', `setTimeout(() => {}, 1)`, 'setTimeout'],
    ['any', 'api/a.ts', `export const a = (b: any) => b`, 'any'],
    ['an enum', 'api/a.ts', `export enum Stage { one }`, 'enum'],
    ['a class', 'api/a.ts', `export class App {}`, 'class App'],
    ['a default export', 'api/a.ts', `export default 1`, 'export default'],
    ['console', 'store/a.ts', `console.error('x')`, 'console'],
    ['the environment', 'api/a.ts', `export const a = process.env['A']`, 'process.env'],
    ['the environment in a generator of pages', 'docs/generate/a.ts', `process.env.A`, 'process.env'],
  ])('%s', (_name, path, text, word) =>
    expect(issuesOfSyntax(planted(path, text))).toEqual([`${path} has ${word}`]),
  )

  const unlimited = 'test/api/a.test.ts'
  it.each([
    ['a limit of a test', unlimited, `it('a', () => {}, 60_000)`],
    ['a limit of a table of tests', unlimited, `it.each([1])('%i', { timeout: 60_000 }, () => {})`],
    ['a limit of a set-up', 'packages/client/test/a.test.ts', `beforeAll(() => {}, 60_000)`],
    ['a limit of a condition', 'test/support/a.ts', `await expect.poll(a, { timeout, interval: 5 }).toBe(1)`],
    ['a condition that is awaited for a second', unlimited, `await vi.waitFor(() => {})`],
    ['a time', unlimited, `expect(performance.now() - from).toBeLessThan(9_000)`],
    ['a time with a name', unlimited, `const a = performance.now() - from; expect(a).toBeLessThanOrEqual(9)`],
    ['a limit of a call', unlimited, `createRuntimes({ onError, runMs: 2_000 })`],
    ['a limit of a query for others', 'test/support/a.ts', `const queryMs = 900`],
    ['a limit of a request', unlimited, `fetch(url, { signal: AbortSignal.timeout(1_000) })`],
  ])('%s', (_name, path, text) => expect(issuesOfTimeLimits(planted(path, text))).toHaveLength(1))

  it.each([
    ['one longer than the limit of all', unlimited, `it('a', { timeout: 3_600_000 }, () => {})`],
    ['one of a file that is run by hand', Object.keys(byHand)[0]!, `it('a', () => {}, 60_000)`],
    ['a number of another call', unlimited, `test.add('canary', 20)`],
    ['a limit that the test reaches', unlimited, `createRuntimes({ onError, runMs: reachedMs })`],
    ['a limit that no machine reaches', unlimited, `createRuntimes({ onError, runMs: 600_000 })`],
    ['a limit of a policy that is only read', 'test/domain/a.test.ts', `judge({ ...policy, maxMs: 9 })`],
    ['a limit that is expected', unlimited, `expect(asked).toMatchObject({ maxMs: 1_000 })`],
    ['a measured time', unlimited, `costOf({ loadMs: 40, callMs: 1 })`],
    ['an interval', unlimited, `await expect.poll(a, { interval: 5 }).toBe(1)`],
    ['a time that must have passed', unlimited, `expect(performance.now() - from).toBeGreaterThan(9)`],
  ])('but not %s', (_name, path, text) => expect(issuesOfTimeLimits(planted(path, text))).toEqual([]))

  it.each([
    ['a date that was given', 'domain/a.ts', `export const a = (ms: number) => new Date(ms)`],
    [
      'a word in a comment',
      'domain/a.ts',
      `// any enum console.log Date.now() process.env\nexport const a = 1`,
    ],
    ['a word in a message', 'domain/a.ts', "export const a = 'Date.now() is not any enum'"],
    ['console in a command', 'cli/a.ts', `console.log('x')`],
    ['the environment in the configuration', 'temporal.config.ts', `export const a = process.env`],
  ])('but not %s', (_name, path, text) => expect(issuesOfSyntax(planted(path, text))).toEqual([]))

  it.each(['domain/utils.ts', 'api/common/auth.ts', 'store/lib/a.ts', 'api/user.service.ts', 'api/Auth.ts'])(
    'the name %s',
    (path) => expect(issuesOfNames(planted(path, ''))).toHaveLength(1),
  )

  it.each([
    ['Node’s fetch', `await fetch('http://a')`],
    ['Node’s fetch as a default', `const call = (send = fetch) => send('http://a')`],
    ['Node’s fetch of the global object', `await globalThis.fetch('http://a')`],
    ['a request', `import { request } from 'node:http'`],
    ['a socket, beside a server', `import { connect, createServer } from 'node:net'`],
    ['all of a module', `import * as https from 'node:https'`],
    ['a module without its prefix', `import { get } from 'http'`],
    ['a module loaded late', `await import('node:tls')`],
    ['undici', `export { fetch } from 'undici'`],
    ['a WebSocket', `new WebSocket('ws://a')`],
  ])('a call beside the one client: %s', (_name, text) =>
    expect(issuesOfNetwork(planted('api/a.ts', text))).toHaveLength(1),
  )

  it.each([
    ['a server', `import { createServer, type Server } from 'node:http'`],
    ['a type', `import type { Socket } from 'node:net'`],
    ['a method', `const a = { fetch: 1 }; a.fetch; interface B { fetch: string }`],
  ])('but not %s', (_name, text) => expect(issuesOfNetwork(planted('api/a.ts', text))).toEqual([]))

  it.each([
    ['the kind of an output', `if (output.kind === 'number') a()`],
    ['the kind of an output that may be missing', `if ('number' !== label.output?.kind) a()`],
    ['a kind behind another name', `const a = ({ kind }: Output) => kind === 'quantiles'`],
    ['a switch over kinds', `switch (version.manifest.output.kind) { case 'number': a() }`],
    ['the name of a task', `const a = policy.task === 'binary' ? 1 : 2`],
  ])('a comparison of a task outside of domain/tasks: %s', (_name, text) => {
    expect(issuesOfTasks(planted('api/a.ts', text))).toHaveLength(1)
    expect(issuesOfTasks(planted('domain/tasks/a.ts', text))).toEqual([])
  })

  it.each([
    ['the kind of a feature', `if (feature.kind === 'number') a()`],
    ['the form of a field', `switch (field.is) { case 'numbers': a() }`],
    ['a task by its word in a table', `const a = { probability: 1, classes: 2 }`],
  ])('but not %s', (_name, text) => expect(issuesOfTasks(planted('api/a.ts', text))).toEqual([]))

  it('a barrel', () => {
    expect(issuesOfBarrels(planted('domain/index.ts', `export * from './gate.ts'`))).toHaveLength(1)
    expect(issuesOfBarrels(planted('domain/evaluation/gate.ts', `export const a = 1`))).toEqual([])
  })

  it('a cycle, also one of types', () => {
    const ring = [
      ...planted('api/a.ts', `import { b } from './b.ts'`),
      ...planted('api/b.ts', `import type { C } from './c.ts'`),
      ...planted('api/c.ts', `import { a } from './a.ts'`),
    ]
    expect(issuesOfCycles(ring)).toEqual(['a cycle: api/a.ts → api/b.ts → api/c.ts → api/a.ts'])
    expect(issuesOfCycles(ring.slice(0, 2))).toEqual([])
  })

  it('an error that nothing raises and no test trips', () => {
    const raised = planted('api/a.ts', `throw fail('not_found')`)
    const tripped = planted('test/a.test.ts', `expect(code).toBe('not_found')`)
    expect(issuesOfErrorCodes([...raised, ...tripped], ['not_found'])).toEqual([])
    expect(issuesOfErrorCodes(raised, ['not_found'])).toEqual(['not_found is tripped by no test'])
    expect(issuesOfErrorCodes(tripped, ['not_found'])).toEqual(['not_found is raised by no code'])
  })
})

describe('a second name of a thing is found', () => {
  const found = (path: string, text: string) =>
    path.endsWith('.md')
      ? issuesOfWords([{ path, text: proseOf(text) }])
      : issuesOfWords(planted(path, text).flatMap(textsOf))

  it.each([
    ['a heading of a page', 'api/dashboard/a.tsx', `export const a = <h2>Excess failures</h2>`],
    ['a message', 'cli/a.ts', 'export const a = (n: number) => `${n} of the harm budget`'],
    ['a term of the gate', 'domain/a.ts', `export const a = 'worse than the anchor'`],
    ['a status', 'cli/a.ts', `export const a = 'no proven version'`],
    ['an end', 'api/a.ts', `export const a = 'the version was withdrawn'`],
    ['a failed validation', 'docs/a.md', 'The batch is quarantined.'],
    ['an alert', 'domain/a.ts', `export const a = 'challenger refused, not better'`],
    ['a drill', 'docs/a.md', 'The drill was not held.'],
  ])('%s', (_, path, text) => expect(found(path, text)).toHaveLength(1))

  it('each of them at least once', () =>
    expect(
      replacedWords.filter(
        ({ pattern }) =>
          !pattern.test(
            'Excess failures; the anchor; no proven version; withdrawn; quarantined; not better; not held',
          ),
      ),
    ).toEqual([]))

  it.each([
    ['an identifier', 'domain/a.ts', `export const a = 'not_better'`],
    ['an attribute', 'api/a.tsx', `export const a = (x: number) => \`<text x="\${x}" text-anchor="end">\``],
    ['code in a page', 'docs/a.md', 'Its outcome is `quarantined`.\n\n```\nheld: not held\n```\n'],
    ['a proof', 'domain/a.ts', `export const a = 'not yet proven on 200 pairs'`],
  ])('not %s', (_, path, text) => expect(found(path, text)).toEqual([]))
})
