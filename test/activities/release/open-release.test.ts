/** Tests the latency of the champion that a release stores when it opens. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { writeTicks } from '../../../store/release/tick-counters.ts'
import { openStore } from '../../../store/postgres.ts'
import { readConfig } from '../../../temporal.config.ts'
import { openSigned } from '../../support/commands/open-signed.ts'
import { insertModel, insertPeople } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, uniqueName } from '../../support/servers/servers.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
let deps: Deps
let stateDir: string
beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'tenure-opening-'))
  const config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: stateDir,
    TENURE_BUILD_ID: 'test',
  })
  deps = {
    store: openStore(config.databaseUrl),
    artifacts: openArtifacts(config.artifactRoot),
    config,
    log: quiet,
  }
  await insertPeople(deps.store, { olga: 'operator' })
})
afterAll(async () => {
  await deps.store.close()
  rmSync(stateDir, { recursive: true, force: true })
})

it.each([
  ['as it was', { 4_000: 200, 9_000: 100 }, { p95: 9_000, p99: 9_000 }],
  ['at least the smallest noticeable latency', { 60: 299, 90: 1 }, { p95: 1_000, p99: 1_000 }],
  ['not at all from too few requests', { 4_000: 199 }, undefined],
])('an opened release stores its slow-response threshold %s', async (_name, latency, kept) => {
  const model = uniqueName('quick')
  const { store, config } = deps
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const version = await registry.register()
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
  const tick = {
    model,
    release: undefined,
    version,
    arm: 'champion',
    generation: 1,
    tickMs: Date.now() - 1_000,
    lengthMs: 100,
    requests: Object.values(latency).reduce((sum, count) => sum + count, 0),
    errors: 0,
    invalid: 0,
    slow95: 0,
    slow99: 0,
    latency,
  } as const
  await writeTicks(store, { replica: 'r1', ticks: [tick] })
  const opened = await openSigned(deps, {
    id: `rel_${model}`,
    model,
    version: await registry.register(version),
    requestedBy: 'olga',
    workflowId: `release/${model}`,
    runId: 'run',
    atMs: Date.now(),
  })
  expect('state' in opened ? opened.state.latencyUs : opened).toEqual(kept)
})
