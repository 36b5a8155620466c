/** Tests which releases of a version the list shows as serving, and which as rolled back since. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openingState } from '../../../../domain/release/state.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { firstFacts } from '../../../support/release/releases.ts'
import { runCommand } from '../../../support/command-line.ts'
import { releasesGroup } from '../../../../cli/commands/lifecycle/releases.ts'
import { markVersionRolledBack, moveChampion } from '../../../../store/registry/champions.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let version: string
beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(irisSpec())
  const route = await fixture.route('iris', { proven: version })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

it('only the release that made a version live is listed with its traffic, not an earlier one that was refused', async () => {
  for (const outcome of ['rejected', 'expired', 'promoted'] as const) {
    const id = `rel_${outcome}` as const
    const state = openingState({ ...firstFacts, id, model: 'iris', version }, 0)
    await insertRelease(fixture.store, { state, workflowId: 'release/iris', runId: id })
    await fixture.store.query(sql`
      update releases set outcome = ${outcome}, stage = 'ended', ended_at = now() where id = ${id}`)
  }
  const key = await fixture.key({ role: 'viewer' })
  await api.deps.authentication.refresh()
  const { json } = await api.request('GET', '/v1/releases', { key })
  const listed = json['releases'] as { id: string; traffic_bp: number }[]
  expect(Object.fromEntries(listed.map(({ id, traffic_bp: share }) => [id, share]))).toEqual({
    rel_rejected: 0,
    rel_expired: 0,
    rel_promoted: 10_000,
  })
})

it('a promoted release says when and why its version was rolled back since, in the list, its facts and its page', async () => {
  const { store } = fixture
  const next = await fixture.register(irisSpec('iris', 2), 1)
  const move = { model: 'iris', actor: 'olga', reason: 'wrong unit' }
  await moveChampion(store, { ...move, to: version, cause: 'promotion' })
  await moveChampion(store, { ...move, from: version, to: next, cause: 'rollback' })
  await markVersionRolledBack(store, version)
  const key = await fixture.key({ role: 'viewer' })
  await api.deps.authentication.refresh()
  const { json } = await api.request('GET', '/v1/releases', { key })
  const listed = json['releases'] as { id: string; withdrawn_reason?: string }[]
  expect(Object.fromEntries(listed.map(({ id, withdrawn_reason: why }) => [id, why]))).toEqual({
    rel_rejected: undefined,
    rel_expired: undefined,
    rel_promoted: 'wrong unit',
  })

  const server = createServer((asked, response) => {
    void api.request('GET', asked.url!, { key }).then(({ text }) => response.end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const list = await runCommand([releasesGroup], ['releases', '--url', url])
  const facts = await runCommand([releasesGroup], ['releases', 'show', 'rel_promoted', '--url', url])
  server.close()
  expect(list.out).toMatch(/promoted, rolled back\s[^]*wrong unit/)
  expect(facts.out).toMatch(
    /promoted, rolled back since, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s[^]*wrong unit[^]*Times are in /,
  )
  for (const path of ['/releases', '/releases/rel_promoted'])
    expect((await api.request('GET', path, { key })).text).toMatch(/rolled back since[^]*wrong unit/)
})
