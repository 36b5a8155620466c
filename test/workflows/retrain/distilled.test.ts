/**
 * Tests that a small network learns what an endpoint answers, is judged beside it and is released in its place, on the real Temporal and
 * Postgres.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { compressedArtifact } from '../../../activities/retrain/compressed-artifact.ts'
import { readCard } from '../../../api/services/model-card.ts'
import type { BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import type { Compression } from '../../../domain/model/compression.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { partOfCaller, type RequestPart } from '../../../domain/training/logged-requests.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { listArtifacts } from '../../../store/registry/artifact-retention.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { rowLogger } from '../../../store/serving/log-policy.ts'
import { getSnapshot } from '../../../store/training/snapshots.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import type { RetrainOutcome } from '../../../workflows/messages.ts'
import { startEndpoint, type Fault, type TestEndpoint } from '../../support/serving/endpoint.ts'
import {
  exampleDay,
  exampleRows,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
let endpoint: TestEndpoint
const model = uniqueName('roses')
const parent = `${model}_v1.0.0`
const start = async (artifact: BroughtArtifact): Promise<RetrainOutcome> =>
  (await pipeline.start({ model, asOf: exampleDay(35), requestedBy: 'olga', artifact })).result()
const distil = async (compression: Omit<Compression, 'version' | 'to'>): Promise<RetrainOutcome> =>
  start(await compressedArtifact(pipeline.store, model, { version: parent, to: 'distil', ...compression }))
const compressionOf = async ({ retrainingId }: RetrainOutcome) =>
  (await getEvaluation(pipeline.store, `evl_${retrainingId.split('/').at(-1)!.replaceAll('-', '')}`)).report
    .compression!

const loggedRows = 1_000
/** Logs what callers of a part have asked the parent; one rose in four is older than any of the rows that a version is trained and tested on. */
async function logRequests(part: RequestPart): Promise<void> {
  const bytesOf = rowLogger((await getVersion(pipeline.store, parent)).manifest)
  const keys = Array.from({ length: 3 * loggedRows }, (_, at) => `caller ${at}`)
  const callers = keys.filter((key) => partOfCaller(key) === part).slice(0, loggedRows)
  const rows = exampleRows({ from: 100, to: 120 })
    .slice(0, loggedRows)
    .map(({ size, colour, age }, place) => {
      const asked = { size, colour, age: place % 4 === 0 ? 90 : age }
      const features = Buffer.from(bytesOf(asked)).toString('hex')
      return { place, key: callers[place], features, answer: oldOrYoung(asked) }
    })
  await pipeline.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us)
    select overlay(md5(key)::uuid::text placing '0000' from 33)::uuid, now() - place * interval '1 minute', ${model}, ${parent},
      'champion', 1, key, 1, decode(features, 'hex'), array[answer]::real[], 1
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as asked (place integer, key text, features text, answer float8)`)
}

/** What the parent answers. */
const oldOrYoung = ({ size, colour, age }: { size: number; colour: string; age: number | null }): number =>
  1 / (1 + Math.exp(5 - size - (colour === 'red' ? 2 : -2) + (age ?? 40) / 80 + ((age ?? 0) > 85 ? 4 : 0)))

const fileOf = ({ address }: TestEndpoint) => ({
  endpoint: 'json',
  address,
  columns: ['size', { name: 'colour', text: true }, 'age'],
  outputs: ['predictions.*.0'],
  // A busy machine delays the server.
  timeoutMs: 60_000,
})
const allow = () => vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
beforeEach(() => void allow())
beforeAll(async () => {
  allow()
  endpoint = await startEndpoint()
  endpoint.answer = ({ size, colour, age }) => [
    oldOrYoung({ size: size!, colour: String(colour), age: age ?? null }),
  ]
  pipeline = await openPipeline()
  // Few of the judged rows would prove the default of 1 % of other decisions, so chance would decide.
  const more = `evaluation: { primary: 'auc', floors: { auc: 0.7 }, margins: { accuracy: 0.03 }, calibration: 'off', importance: 'off',
    evidence: { rows: 300, positives: 50, negatives: 50 } },`
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false, more })
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
  const stored = await pipeline.deps.artifacts.put('artifacts', Buffer.from(JSON.stringify(fileOf(endpoint))))
  expect(await start({ file: 'endpoint.json', ...stored })).toMatchObject({ version: parent })
  await pipeline.endRelease(model)
  await moveChampion(pipeline.store, {
    model,
    to: parent,
    cause: 'promotion',
    actor: 'anna',
    reason: 'a test',
  })
})
afterAll(async () => {
  await pipeline?.close()
  await endpoint?.stop()
})

it('a network that learnt what an endpoint answers is proven equal, faster, and released', async () => {
  const outcome = await distil({ epsilon: 0.02, times: 20 })
  expect(outcome).toMatchObject({ outcome: 'released', version: `${model}_v1.1.0` })
  const compression = await compressionOf(outcome)
  expect(compression).toMatchObject({
    version: parent,
    to: 'distil',
    taughtRows: 1_200,
    fidelity: { verdict: 'equal', rows: 600 },
    worth: { verdict: 'worth_it', factor: 20 },
  })
  expect(compression).not.toHaveProperty('bytes')
  expect(compression.worth.times).not.toHaveProperty('bytes')
  const { store } = pipeline
  const version = await getVersion(store, outcome.version!)
  expect(Object.keys(version.manifest.files)).toEqual(['model.json', 'weights.bin'])
  expect(version.lineage).toMatchObject({
    origin: 'distilled',
    compression: { version: parent },
    trainedOn: `what ${parent} answers to 1,200 training rows`,
  })
  const { card } = await readCard(store, version)
  expect(card.data.origin).toBe('distilled')
  expect(card.limits.join()).not.toMatch(/elsewhere/)
  expect(card.data.compressed).toMatch(
    new RegExp(
      String.raw`^compressed from ${parent}, distil with its answers to 1,200 training rows: [\d.,]+ × rows/s, compared on 600 test rows$`,
    ),
  )
  await pipeline.endRelease(model)
})

it('a network that answers requests too differently is refused with the distance; one that has learnt from those of other callers is released', async () => {
  const { store, deps } = pipeline
  await logRequests('judging')
  const refused = await distil({ epsilon: 0.02, times: 20 })
  expect(refused).toMatchObject({
    outcome: 'not_better',
    message: expect.stringMatching(new RegExp(`^beside its parent ${parent}: .*mean distance`)) as string,
  })
  expect(await compressionOf(refused)).toMatchObject({
    taughtRequests: { rows: 0, taught: 0 },
    fidelity: { verdict: 'not_equal', requests: loggedRows },
  })
  await logRequests('learning')
  const outcome = await distil({ epsilon: 0.02, times: 20 })
  expect(outcome.outcome).toBe('released')
  const { taughtRequests: taught, requests, ...found } = await compressionOf(outcome)
  expect(taught).toMatchObject({
    rows: loggedRows,
    taught: 997,
    logged: 997,
    leftOut: ['3 requests with the values of a test row are left out'],
  })
  expect(found.fidelity).toMatchObject({ verdict: 'equal', rows: 600 + loggedRows, requests: loggedRows })
  const version = await getVersion(store, outcome.version!)
  expect(version.lineage.trainedOn).toBe(
    `what ${parent} answers to 1,200 training rows and 997 logged requests`,
  )
  expect((await readCard(store, version)).card.data.compressed).toContain(
    'distil with its answers to 1,200 training rows and 997 logged requests: ',
  )
  const digests = [taught!.digest!, requests!.digest!]
  const [learnt, judged] = await Promise.all(
    digests.map(async (digest) => {
      // An erasure finds both by their lists of subjects.
      expect(await getSnapshot(store, digest)).toMatchObject({ model, source: { kind: 'logged requests' } })
      const path = textLiteral(await deps.artifacts.locate('snapshots', digest))
      return withDuck((duck) => duck.rows<{ id: string }>(`select _prediction_id as id from ${path}`))
    }),
  )
  const ids = new Set(learnt!.map(({ id }) => id))
  expect(ids.size).toBe(loggedRows)
  expect(judged!.filter(({ id }) => ids.has(id))).toEqual([])
  const held = (await listArtifacts(store)).find(({ digest }) => digest === version.artifactDigest)
  expect(held!.standsOn).toEqual(expect.arrayContaining(digests))
  await pipeline.endRelease(model)
})

it.each<[what: string, fault: Fault | undefined, why: RegExp, times: number]>([
  [
    'refuses the caller',
    (_, response) => void response.writeHead(403).end(),
    /answers 403: name a secret/,
    1,
  ],
  ['answers a part', (_, response) => void response.writeHead(206).end('{}'), /answers 206/, 1],
  ['answers a page', (_, response) => void response.end('<html>'), /an answer that is no JSON/, 1],
  [
    'answers at random',
    undefined,
    /answers the same rows in two ways: .* the largest difference of 9 rows/,
    2,
  ],
])('a server that %s is refused at once, with what to do', async (_what, fault, why, times) => {
  const faulty = await startEndpoint()
  onTestFinished(() => faulty.stop())
  faulty.fault = fault
  faulty.answer = () => [faulty.rows > 9 ? 0.5 : 0.25]
  const stored = await pipeline.deps.artifacts.put('artifacts', Buffer.from(JSON.stringify(fileOf(faulty))))
  expect(await start({ file: 'endpoint.json', ...stored })).toMatchObject({
    outcome: 'failed',
    message: expect.stringMatching(why) as string,
  })
  // The golden rows, and nothing else.
  expect(faulty.rows).toBe(9 * times)
})
