/**
 * Tests that a small network learns what an endpoint answers, is judged beside it and is released in its place, on the real Temporal and
 * Postgres.
 */
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { compressedArtifact } from '../../../activities/retrain/compressed-artifact.ts'
import { readCard } from '../../../api/services/model-card.ts'
import type { BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import type { Compression } from '../../../domain/model/compression.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import type { RetrainOutcome } from '../../../workflows/messages.ts'
import { startEndpoint, type TestEndpoint } from '../../support/serving/endpoint.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
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

const allow = () => vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
beforeEach(() => void allow())
beforeAll(async () => {
  allow()
  endpoint = await startEndpoint()
  endpoint.answer = ({ size, colour, age }) => [
    1 / (1 + Math.exp(5 - size! - (String(colour) === 'red' ? 2 : -2) + (age ?? 40) / 80)),
  ]
  pipeline = await openPipeline()
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false })
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
  const file = {
    endpoint: 'json',
    address: endpoint.address,
    columns: ['size', { name: 'colour', text: true }, 'age'],
    outputs: ['predictions.*.0'],
    // A busy machine delays the server.
    timeoutMs: 30_000,
  }
  const stored = await pipeline.deps.artifacts.put('artifacts', Buffer.from(JSON.stringify(file)))
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
    compression: { version: parent },
    trainedOn: `what ${parent} answers to 1,200 training rows of the snapshot`,
  })
  const { card } = await readCard(store, version)
  expect(card.data.compressed).toMatch(
    new RegExp(
      String.raw`^compressed from ${parent}, distil with 1,200 of its answers: \d+\.\d\d × rows/s, compared on 600 test rows$`,
    ),
  )
  await pipeline.endRelease(model)
})

it('a network that answers too differently for the limit is refused, with the distance', async () => {
  const outcome = await distil({ epsilon: 0.000_1 })
  expect(outcome).toMatchObject({
    outcome: 'not_better',
    message: expect.stringMatching(new RegExp(`^beside its parent ${parent}: .*mean distance`)) as string,
  })
})
