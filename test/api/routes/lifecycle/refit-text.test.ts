/** Tests that each command and page that shows a version says what the gate has judged and on what its weights were refitted. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { releasesGroup } from '../../../../cli/commands/lifecycle/releases.ts'
import { retrainingsGroup } from '../../../../cli/commands/lifecycle/retrainings.ts'
import { modelsGroup } from '../../../../cli/commands/registry/models.ts'
import { openingState } from '../../../../domain/release/state.ts'
import { refitText } from '../../../../domain/training/refit.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { closeRetraining, insertRetraining } from '../../../../store/training/retrainings.ts'
import { runCommand } from '../../../support/command-line.ts'
import { releaseFacts } from '../../../support/release/releases.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let url: string
let server: Server
let version: string
const model = 'iris'
const retraining = `retrain/${model}/018f0000-0000-7000-8000-000000000000`
const refit = {
  trainingId: 'trn_1_refit',
  snapshot: `sha256:${'b'.repeat(64)}`,
  rows: 1_800,
  judged: `sha256:${'c'.repeat(64)}`,
  change: 0.0125,
  limit: 0.1,
}

beforeAll(async () => {
  fixture = await openServingFixture()
  const { store } = fixture
  version = await fixture.register(irisSpec(model))
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'a', reason: 'r' })
  const facts = { ...releaseFacts, model, version, baseline: undefined }
  await insertRelease(store, {
    state: openingState(facts, Date.now()),
    workflowId: `release/${model}`,
    runId: 'run',
  })
  const asked = { model, reason: 'manual', requestedBy: 'olga', asOf: '2026-01-05T00:00:00Z', evidence: {} }
  await insertRetraining(store, { id: retraining, ...asked })
  await closeRetraining(store, { id: retraining, outcome: 'registered', message: 'registered', version })
  const route = await fixture.route(model, { proven: version })
  api = await startApi(fixture)
  await api.follows(route)
  key = await fixture.key({ role: 'viewer' })
  await api.deps.authentication.refresh()
  server = createServer((asking, response) => {
    void api
      .request('GET', asking.url!, { key })
      .then(({ text, status }) => response.writeHead(status).end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server?.close()
  await api?.stop()
  await fixture.close()
})

const command = async (...parts: string[]) => {
  vi.stubEnv('TENURE_KEY', key)
  const { out, err } = await runCommand(
    [modelsGroup, releasesGroup, retrainingsGroup],
    [...parts, '--url', url],
  )
  return out + err
}
const page = async (path: string) => (await api.request('GET', path, { key })).text

it.each<[string, () => Promise<string>]>([
  ['tenure models show', () => command('models', 'show', model)],
  ['tenure releases show', () => command('releases', 'show', model)],
  ['tenure retrainings show', () => command('retrainings', 'show', model)],
  ['the page of the model', () => page(`/models/${model}`)],
  ['the page of the release', () => page(`/releases/${releaseFacts.id}`)],
  ['the card', () => page(`/models/${model}/versions/${version}`)],
])('%s says what was judged and refitted, and nothing without a refit', async (_place, shown) => {
  const { store } = fixture
  await store.query(sql`update versions set lineage = lineage - 'refit' where version = ${version}`)
  expect(await shown()).not.toMatch(/judged on the test rows/i)
  await store.query(sql`
    update versions set lineage = lineage || ${JSON.stringify({ refit })}::jsonb where version = ${version}`)
  const said = refitText((await getVersion(store, version)).lineage)!
  expect(said).toMatch(/^recipe judged on the test rows .* weights refitted on 1,800 rows/)
  expect((await shown()).toLowerCase().replaceAll(/\s+/g, ' ')).toContain(said.toLowerCase())
})
