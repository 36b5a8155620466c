/** Tests that failed requests are kept with their inputs, bounded, shown, answered again by another version, and erased. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareFailing } from '../../../activities/monitor/champion-watch.ts'
import { createFailedRequests } from '../../../api/serving/counters/failed-requests.ts'
import { getManifest, openArtifacts } from '../../../store/artifacts.ts'
import { eraseRest } from '../../../store/privacy/delete-subject.ts'
import { insertErasure } from '../../../store/privacy/erasures.ts'
import {
  insertFailedRequests,
  listFailedRequests,
  maxFailedRequests,
  type FailedRequestRecord,
} from '../../../store/review/failed-requests.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import { openSubjectKey } from '../../../store/signing/subject-hash.ts'
import { readConfig } from '../../../temporal.config.ts'
import { irisRow } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startApi,
  threeVersions,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

let fixture: ServingFixture
let api: TestApi
let key: string

beforeAll(async () => {
  fixture = await openServingFixture()
  api = await startApi(fixture, { drills: true })
  key = await fixture.key()
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

/** Lets the candidate of a canary fail every request, and sends some. */
async function failing(callers: readonly string[]) {
  const versions = await threeVersions(fixture)
  const { model, candidate, canary } = versions
  // The rows of the fixture have no manifest; its artifacts have one.
  for (const { version, artifactDigest } of await fixture.store.query<{
    version: string
    artifactDigest: string
  }>(sql`select version, artifact_digest as "artifactDigest" from versions where model = ${model}`)) {
    const manifest = await getManifest(openArtifacts(fixture.artifactRoot), artifactDigest)
    await fixture.store.query(
      sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`,
    )
  }
  await writeFaults(fixture.store, { [candidate]: { invalidShare: 1 } })
  await api.follows(await fixture.route(model, canary(9_999), 60_000))
  await api.serving.refresh()
  for (const caller of callers)
    expect(() => api.ask(model, request(caller))).toThrow(expect.objectContaining({ code: 'output_invalid' }))
  await expect
    .poll(() => listFailedRequests(fixture.store, { model, version: candidate, limit: 100 }))
    .toHaveLength(callers.length)
  return versions
}
const deps = () => ({
  store: fixture.store,
  artifacts: openArtifacts(fixture.artifactRoot),
  config: readConfig({
    DATABASE_URL: fixture.databaseUrl,
    TENURE_STATE: fixture.directory(),
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    TENURE_BUILD_ID: 'test',
  }),
})

describe('the failed requests of a version', () => {
  it('are stored with their inputs, and listed by the API', async () => {
    const { model, candidate } = await failing(['bob'])
    const answer = await api.request('GET', `/v1/versions/${candidate}/failures?limit=1`, { key })
    expect(answer.status).toBe(200)
    expect(answer.json['failures']).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        at: expect.any(String),
        version: candidate,
        arm: 'canary',
        release_id: `rel_${model}`,
        replica: api.id,
        code: 'output_invalid',
        message: expect.stringContaining(`${candidate} returned an invalid prediction`),
        routing_key: 'bob',
        instances: 1,
        latency_us: expect.any(Number),
        inputs: [
          Object.fromEntries(
            Object.entries(irisRow).map(([name, value]) => [name, expect.closeTo(value as number, 5)]),
          ),
        ],
      },
    ])
    expect((await api.request('GET', '/v1/versions/nobody_v1.0.0/failures', { key })).status).toBe(404)
  })

  it('are answered again by a former version, which shows whose fault it is', async () => {
    const { model, champion, candidate } = await failing(['ann', 'bob', 'cem'])
    expect(await compareFailing(deps(), { model, from: candidate, to: champion, sinceMs: 0 })).toEqual({
      requests: 3,
      formerFailed: 0,
    })
    expect(await compareFailing(deps(), { model, from: champion, to: candidate, sinceMs: 0 })).toEqual({
      requests: 0,
      formerFailed: 0,
    })
  })

  it('that are older than the evidence are not answered again', async () => {
    const { model, champion, candidate } = await failing(['ann'])
    const later = { model, from: candidate, to: champion, sinceMs: Date.now() + 1 }
    expect(await compareFailing(deps(), later)).toEqual({ requests: 0, formerFailed: 0 })
  })

  it('are erased with the person who sent them', async () => {
    const { model, candidate } = await failing(['ann', 'bob'])
    const subjects = (await openSubjectKey(keyPlacesOf(fixture.artifactRoot).subjectKey))!
    const id = `era_${randomUUID()}`
    const { hashOf, digest: keyDigest, key: secret } = subjects
    await insertErasure(fixture.store, {
      id,
      model,
      subjectHash: hashOf('ann'),
      isNumber: false,
      keyDigest,
      predictionIds: [],
      requestedBy: 'root',
    })
    await eraseRest(fixture.store, { id, key: secret })
    const left = await listFailedRequests(fixture.store, { model, version: candidate, limit: 100 })
    expect(left.map(({ routingKey }) => routingKey)).toEqual(['bob'])
  })

  const row = (atMs: number, bytes = 4): FailedRequestRecord => ({
    id: randomUUID(),
    atMs,
    model: 'm',
    version: 'm_v1.0.0',
    arm: 'champion',
    release: undefined,
    code: 'internal',
    message: 'it failed',
    routingKey: undefined,
    instances: 1,
    features: Buffer.alloc(bytes),
    latencyUs: 1,
  })

  it('are the newest thousand', async () => {
    const nowMs = Date.now()
    const rows = Array.from({ length: maxFailedRequests + 20 }, (_, at) => row(nowMs + at))
    await insertFailedRequests(fixture.store, { replica: 'r', rows: rows.slice(0, 500) })
    await insertFailedRequests(fixture.store, { replica: 'r', rows: rows.slice(500) })
    await insertFailedRequests(fixture.store, { replica: 'r', rows: [row(nowMs + 5_000)] })
    const kept = await listFailedRequests(fixture.store, { model: 'm', version: 'm_v1.0.0', limit: 5_000 })
    expect(kept).toHaveLength(maxFailedRequests)
    expect(Date.parse(kept[0]!.at)).toBe(nowMs + 5_000)
  })

  it('are stored with any message', async () => {
    const version = 'texts_v1.0.0'
    const message = `it failed at \u0000 and \ud800 ${'long '.repeat(1_000)}`
    await insertFailedRequests(fixture.store, {
      replica: 'r',
      rows: [{ ...row(Date.now()), version, message }],
    })
    const [kept] = await listFailedRequests(fixture.store, { model: 'm', version, limit: 1 })
    expect(kept!.message).toMatch(/^it failed at \\u0000 and \\ud800 long .*… \(\d+ characters\)$/)
  })

  it('count for an erasure only when they failed before it', () => {
    const failures = createFailedRequests()
    failures.add(row(1_000))
    expect([failures.waiting(1_000), failures.waiting(1_001)]).toEqual([0, 1])
  })

  it('wait in bounded memory while they cannot be stored, and are stored once afterwards', async () => {
    const failures = createFailedRequests()
    for (let at = 0; at < 50; at++) {
      expect(failures.takes('m_v1.0.0')).toBe(true)
      failures.add(row(at, 65_536))
    }
    expect(failures.takes('m_v1.0.0')).toBe(false)
    await expect(failures.write(() => Promise.reject(new Error('away')))).rejects.toThrow('away')
    expect(failures.takes('m_v1.0.0')).toBe(false)
    const other = { version: 'm_v2.0.0' }
    for (let at = 0; at < 50; at++) failures.add({ ...row(50 + at, 65_537), ...other })
    for (let at = 0; at < 30; at++) failures.add({ ...row(100 + at, 65_536), ...other })
    // 64 requests with 64 KiB of inputs are 4 MiB; larger inputs are not kept.
    expect(failures.waiting()).toBe(64 + 50)
    expect(failures.takes('m_v1.0.0')).toBe(true)
    const stored: FailedRequestRecord[] = []
    await failures.write(async (rows) => void stored.push(...rows))
    await failures.write(async (rows) => void stored.push(...rows))
    expect(stored).toHaveLength(64 + 50)
    expect(failures.waiting()).toBe(0)
  })
})
