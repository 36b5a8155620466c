/** Tests of every kind of alert: what ends it, that a second cause is told again, and that its message leads on. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { deliverAlerts } from '../../../../activities/alerts/delivery/deliver.ts'
import { reportReleases } from '../../../../activities/alerts/delivery/report-releases.ts'
import { alertParts } from '../../../../activities/alerts/delivery/message.ts'
import {
  alertKinds,
  kindsOfAlerts,
  noticeKinds,
  type AlertKind,
} from '../../../../domain/monitoring/alert-kinds.ts'
import { end } from '../../../../domain/release/reducer.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import {
  acknowledgeAlert,
  listAlerts,
  resolveAlert,
  upsertAlert,
} from '../../../../store/monitoring/alerts.ts'
import { otherBytes } from '../../../../store/artifacts.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { concludeRelease } from '../../../../store/release/end-release.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { writeFallbacks } from '../../../../store/serving/replicas.ts'
import { openActivityDeps, type ActivityDeps } from '../../../support/activity-deps.ts'
import { insertModel } from '../../../support/release/candidates.ts'
import { releaseFacts, releasePolicy } from '../../../support/release/releases.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let deps: ActivityDeps
let got: { about: string; title: string; text: string }[] = []
const receiver = createServer((request, response) => {
  let text = ''
  request.on('data', (chunk: Buffer) => (text += chunk.toString()))
  request.on('end', () => {
    got.push(JSON.parse(text) as (typeof got)[number])
    response.writeHead(202).end('{}')
  })
})

beforeAll(async () => {
  const alertChannels = join(mkdtempSync(join(tmpdir(), 'tenure-channels-')), 'channels.json')
  deps = await openActivityDeps({ environment: { TENURE_ALERT_CHANNELS: alertChannels } })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const severities = ['info', 'warning', 'critical']
  writeFileSync(
    alertChannels,
    JSON.stringify([{ name: 'hook', severities, target: { kind: 'webhook', url } }]),
  )
})
beforeEach(async () => {
  got = []
  await deps.store.query(sql`delete from alerts`)
})
afterAll(async () => {
  receiver.close()
  await deps.close()
})

const version = 'gates_v1.2.0'
const raise = (kind: AlertKind, more: { cause?: string; message?: string; model?: string } = {}) =>
  upsertAlert(deps.store, {
    dedupeKey: `test/${kind}`,
    model: 'gates',
    severity: 'warning',
    kind,
    message: 'seen',
    evidence: { version },
    ...more,
  })
const deliver = async () => {
  got = []
  await deliverAlerts(deps)
  return got
}
const openKinds = async () =>
  (await listAlerts(deps.store, { open: true })).map(({ kind }) => kind).toSorted()

it('a check of its condition resolves an alert of no kind that ends otherwise', async () => {
  for (const kind of alertKinds) await raise(kind)
  for (const kind of alertKinds) await resolveAlert(deps.store, `test/${kind}`, '0 of 412 requests failed')
  const others = alertKinds.filter((kind) => kindsOfAlerts[kind].ends !== 'cleared')
  expect(await openKinds()).toEqual(others.toSorted())
  expect(others).toEqual(
    expect.arrayContaining(['champion_rolled_back', 'release_rolled_back', 'release_aborted']),
  )
})

it('a promotion resolves the alerts of earlier releases without one, and of no other kind', async () => {
  const { store, config } = deps
  const model = uniqueName('model')
  // A promotion of the last day is told in the other tests too.
  onTestFinished(async () => {
    await store.query(sql`
      update releases set stage = 'ended', outcome = 'aborted', ended_at = now() where model = ${model}`)
  })
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const baseline = await registry.register()
  await moveChampion(store, { model, to: baseline, cause: 'promotion', actor: 'a', reason: 'r' })
  const open = async (version: string) => {
    const id = `rel_${uniqueName('r')}` as const
    const state = openingState({ ...releaseFacts, id, model, version, baseline }, 0)
    await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
    return state
  }
  const promote = ({ id, version }: ReleaseState, from: string) =>
    moveChampion(store, {
      model,
      from,
      to: version,
      releaseId: id,
      cause: 'promotion',
      actor: 'a',
      reason: 'r',
    })
  const [first, second] = [await registry.register(baseline), await registry.register(baseline)]
  const before = await open(first)
  for (const kind of alertKinds) await raise(kind, { model })
  const all = alertKinds.toSorted()

  await promote(before, baseline)
  await concludeRelease(store, end(before, 1, 'promoted', 'all stages passed'))
  await reportReleases(store)
  expect(await openKinds()).toEqual(all)

  const later = await open(second)
  await reportReleases(store)
  expect(await openKinds()).toEqual(all)

  await promote(later, first)
  await reportReleases(store)
  const kept = alertKinds.filter((kind) => kindsOfAlerts[kind].ends !== 'promoted')
  expect(await openKinds()).toEqual(kept.toSorted())
  expect(kept.length).toBeLessThan(all.length)
  const [failed] = (await listAlerts(store, { model })).filter(({ kind }) => kind === 'release_failed')
  expect(failed?.resolution).toBe(`${second} was promoted since`)
})

it('the message of a resolved alert says what was measured', async () => {
  await raise('service_errors')
  await deliver()
  await resolveAlert(deps.store, 'test/service_errors', '0 of 412 requests failed')
  expect(await deliver()).toMatchObject([
    {
      title: 'RESOLVED gates v1.2.0: predictions fail',
      text: 'Resolved: 0 of 412 requests failed.\nWas: seen',
    },
  ])
})

it.each(alertKinds.filter((kind) => !noticeKinds.has(kind)))(
  'a second cause of %s is sent again, and the acknowledgement of the first does not count for it',
  async (kind) => {
    const id = await raise(kind, { cause: 'first' })
    expect(await deliver()).toHaveLength(1)
    await acknowledgeAlert(deps.store, { id, by: 'anna' })
    await raise(kind, { cause: 'first', message: 'seen again' })
    expect(await deliver()).toEqual([])
    await raise(kind, { cause: 'second', message: 'another' })
    const [alert] = await listAlerts(deps.store, { open: true })
    expect(alert).toMatchObject({ id, message: 'another' })
    expect(alert!.acknowledgedAt).toBeUndefined()
    expect(await deliver()).toHaveLength(1)
    expect(await deliver()).toEqual([])
    // Another cause has a time of its own.
    expect(Date.parse(String(alert!.evidence?.['since']))).toBeGreaterThan(Date.parse(alert!.raisedAt))
    await raise(kind, { cause: 'second', message: 'another once more' })
    const [again] = await listAlerts(deps.store, { open: true })
    expect(again!.evidence?.['since']).toBe(alert!.evidence?.['since'])
  },
)

it.each(alertKinds)('the message of %s says what callers notice and what to do next', (kind) => {
  const evidence = { version, release: 'rel_1' }
  const alert = {
    dedupeKey: kind,
    model: 'gates',
    kind,
    severity: 'warning' as const,
    message: 'seen',
    evidence,
  }
  const { title, body } = alertParts({
    id: 1,
    about: 'raised',
    alert: { ...alert, id: 1, raisedAt: '2026-03-01T12:00:00Z' },
    runbook: 'r',
  })
  expect(title).toBe(`WARNING gates v1.2.0: ${kindsOfAlerts[kind].title}`)
  expect(body).toEqual([
    'seen',
    expect.stringMatching(/^Callers: [A-Z]/),
    expect.stringMatching(/^Next: [A-Z]/),
  ])
  expect(body.join(' ')).not.toMatch(/<(model|version|release)>/)
})

it('an alert says what is known where it was raised, and since when its present cause is there', () => {
  const own = {
    title: 'registration failed',
    callers: 'Half of them get HTTP 500.',
    next: 'Roll back to gates_v1.1.0: `tenure rollback gates`.',
    since: '2026-03-01T13:59:58.123+01:00',
  }
  const kind = 'failed' as const
  const alert = {
    id: 1,
    dedupeKey: kind,
    model: 'gates',
    kind,
    severity: 'warning',
    message: 'seen',
  } as const
  const raisedAt = '2026-03-01T12:00:00Z'
  const { title, body, times } = alertParts({
    id: 1,
    about: 'raised',
    alert: { ...alert, raisedAt, evidence: { version, ...own } },
    runbook: 'r',
  })
  expect(title).toBe('WARNING gates v1.2.0: registration failed')
  expect(body).toEqual(['seen', `Callers: ${own.callers}`, `Next: ${own.next}`])
  expect(times).toBe('since 2026-03-01 12:59 UTC')
})

it('a replica that cannot load a version is told as one of two; all of them as the model', async () => {
  const { store } = deps
  await store.query(sql`
    insert into replicas (id, host, pid, url, build_id, lease_until, lease_ms)
    select 'replica-' || n, 'here', n, 'http://here', 'b', now() + interval '1 hour', 3600000
    from generate_series(1, 2) as n`)
  const fallbacks = [
    {
      model: 'gates',
      level: 'refused' as const,
      version,
      reason: `s3://models/sha256:aa cannot be used: ${otherBytes('sha256:bb')}`,
    },
  ]
  await writeFallbacks(store, { replica: 'replica-1', fallbacks })
  expect(await deliver()).toMatchObject([
    {
      alert: { kind: 'replica_cannot_load' },
      title: 'WARNING gates v1.2.0 on replica replica-1: replica cannot load a version',
      text: expect.stringMatching(
        /^1 of 2 replicas cannot load gates_v1\.2\.0: .* is corrupt, .* restart the replica\. The other replica serves/,
      ),
    },
  ])
  await writeFallbacks(store, { replica: 'replica-2', fallbacks })
  const delivered = await deliver()
  expect(delivered.map(({ about, title }) => `${about} ${title}`).toSorted()).toEqual([
    expect.stringMatching(/^raised CRITICAL gates v1\.2\.0 on replica .*: every request is refused$/),
    expect.stringMatching(/^resolved RESOLVED gates v1\.2\.0 on replica replica-1/),
  ])
})
