/** Tests that a compressed version takes the road of a brought one and is judged beside its parent, on the real Temporal and Postgres. */
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readCard } from '../../../api/services/model-card.ts'
import { compressedArtifact } from '../../../activities/retrain/compressed-artifact.ts'
import { withArtifactReader } from '../../../activities/artifact/reader.ts'
import { evaluate, type EvaluateResult } from '../../../activities/retrain/evaluate.ts'
import type { BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import type { Compression, CompressionOrder } from '../../../domain/model/compression.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { rowLogger } from '../../../store/serving/log-policy.ts'
import { putManifest } from '../../../store/artifacts.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { markVersionRolledBack, moveChampion } from '../../../store/registry/champions.ts'
import { listArtifacts } from '../../../store/registry/artifact-retention.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import { getSnapshot } from '../../../store/training/snapshots.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { beginTraining, endTraining, getTraining } from '../../../store/training/trainings.ts'
import { countNewRows, listPastTrainings, listRetrainings } from '../../../store/training/retrainings.ts'
import { insertFiring, listTriggerActivity } from '../../../store/triggers/firings.ts'
import { retrainWorkflowId, type RetrainOutcome } from '../../../workflows/messages.ts'
import type { FireTriggersOutcome } from '../../../workflows/triggers/messages.ts'
import { readRosesModel } from '../../../packages/predictors/test/support/roses-lightgbm.ts'
import {
  exampleDay,
  exampleRows,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const parent = `${model}_v1.0.0`
const start = async (artifact: BroughtArtifact): Promise<RetrainOutcome> =>
  (await pipeline.start({ model, asOf: exampleDay(35), requestedBy: 'olga', artifact })).result()
const compress = async (compression: Omit<Compression, 'version'>): Promise<RetrainOutcome> =>
  start(await compressedArtifact(pipeline.store, model, { version: parent, ...compression }))
const runOf = ({ retrainingId }: RetrainOutcome) => retrainingId.split('/').at(-1)!.replaceAll('-', '')
const reportOf = async (outcome: RetrainOutcome) =>
  (await getEvaluation(pipeline.store, `evl_${runOf(outcome)}`)).report

/** What is judged of a version whose file is changed after it was made, with no bound of its error. */
async function judgeSpoiled(outcome: RetrainOutcome, name: string, change: (text: string) => string) {
  const { store, deps, models } = pipeline
  const { manifest } = await getVersion(store, outcome.version!)
  const text = (await deps.artifacts.get('artifacts', manifest.files['model.txt']!.digest)).toString()
  const spoiled = change(text)
  expect(spoiled).not.toBe(text)
  const files = { 'model.txt': await deps.artifacts.put('artifacts', Buffer.from(spoiled)) }
  const { instances } = manifest.golden
  // A transformation with a fault would store the golden answers of its own file.
  const outputs = await withArtifactReader(deps.config.artifactRoot, (reader) =>
    reader.answer({ ...manifest, files }, instances),
  )
  const { answerBound: _, ...compression } = manifest.training.compression!
  const artifactDigest = await putManifest(deps.artifacts, {
    ...manifest,
    files,
    golden: { instances, outputs },
    training: { ...manifest.training, compression },
  })
  const {
    snapshotDigest,
    attempts: _attempts,
    ...training
  } = await getTraining(store, `trn_${runOf(outcome)}`)
  const id = `trn_${model}_${name}`
  const begun = await beginTraining(store, { ...training, id, snapshotDigest })
  await endTraining(store, { ...training, id, attempt: begun.attempts, status: 'done', artifactDigest })
  const run = evaluate(deps, { models })
  const evaluationId = `evl_${model}_${name}`
  const judged = await new MockActivityEnvironment().run<Parameters<typeof run>, EvaluateResult, typeof run>(
    run,
    {
      evaluationId,
      model,
      trainingId: id,
    },
  )
  const { report, page } = await getEvaluation(store, evaluationId)
  return { judged, page, ...report.compression! }
}

const loggedRows = 600
/** Logs roses of the parent; one in twenty is older than any of the rows that it is trained and tested on. */
async function logRequests(): Promise<void> {
  const bytesOf = rowLogger((await getVersion(pipeline.store, parent)).manifest)
  const rows = exampleRows({ from: 100, to: 100 + loggedRows / 60 }).map(({ size, colour, age }, place) => {
    const isOld = place % 20 === 0
    const features = Buffer.from(bytesOf({ size, colour, age: isOld ? 90 : age })).toString('hex')
    return { place, key: `${isOld ? 'old' : 'young'} ${place}`, features }
  })
  await pipeline.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us)
    select overlay(md5(key)::uuid::text placing '0000' from 33)::uuid, now() - place * interval '1 minute', ${model}, ${parent},
      'champion', 1, key, 1, decode(features, 'hex'), '{0.5}', 1
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as asked (place integer, key text, features text)`)
}

beforeAll(async () => {
  pipeline = await openPipeline()
  const more = "release: canary({ stages: [percent(5), percent(25)], approval: { by: 1, within: '1 h' } }),"
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false, more })
  await insertExampleRows(pipeline.store, { from: 0, to: 40, perDay: 240 })
  const stored = await pipeline.deps.artifacts.put('artifacts', Buffer.from(readRosesModel().model))
  expect(await start({ file: 'model.txt', ...stored })).toMatchObject({ version: parent })
  await logRequests()
  await pipeline.endRelease(model)
  await moveChampion(pipeline.store, {
    model,
    to: parent,
    cause: 'promotion',
    actor: 'anna',
    reason: 'a test',
  })
})
afterAll(() => pipeline?.close())

describe('a version with leaf values of 16 bits', () => {
  let outcome: RetrainOutcome
  it('answers like its parent, is smaller and is released, with its figures in report, lineage and card', async () => {
    const { store } = pipeline
    outcome = await compress({ to: 'float16' })
    expect(outcome).toMatchObject({ outcome: 'released', version: `${model}_v1.1.0` })
    const { compression } = await reportOf(outcome)
    expect(compression).toMatchObject({
      version: parent,
      to: 'float16',
      counts: { trees: { parent: 40, child: 40 } },
      fidelity: {
        verdict: 'equal',
        rows: 3_000,
        requests: 600,
        flips: 0,
        policy: { alpha: 0.05, attempt: 1 },
      },
      worth: { verdict: 'worth_it' },
    })
    expect(compression!.worth.times.bytes).toBeGreaterThan(1.2)
    expect(compression!.fidelity.maxDifference!).toBeLessThanOrEqual(compression!.answerBound!)
    const version = await getVersion(store, outcome.version!)
    expect(version.manifest.files['model.txt']!.bytes).toBe(compression!.bytes!.child)
    expect(version.manifest.training).toMatchObject({ origin: 'brought', compression: { version: parent } })
    expect(version.lineage.compression).toMatchObject({ version: parent, rawBound: compression!.rawBound })
    const { card } = await readCard(store, version)
    expect(card.data.compressed).toMatch(
      new RegExp(
        String.raw`^compressed from ${parent}, float16: 38\.1 → \d+\.\d KB, \d\.\d\d × rows/s, \|Δ\| ≤ 0\.000\d+, compared on 2,400 test rows and 600 logged requests$`,
      ),
    )
    const [opened] = await listAudit(store, { action: 'retraining.started', subject: outcome.retrainingId })
    expect(opened).toMatchObject({
      actor: 'olga',
      detail: { compression: { version: parent, to: 'float16' } },
    })
    const [registered] = await listAudit(store, { action: 'version.registered', subject: outcome.version! })
    expect(registered).toMatchObject({ detail: { compressedFrom: parent } })
  })

  it('is released by a shadow and one stage, and rolled back for more other answers than its gate allows', async () => {
    const { compression } = await reportOf(outcome)
    const { policy } = (await findOpenRelease(pipeline.store, model))!.state
    expect(policy).toMatchObject({
      strategy: 'canary',
      shadow: { shareBp: 10_000 },
      limits: { disagreement: { max: compression!.fidelity.policy.flips, action: 'rollback' } },
    })
    expect(policy.stages.map(({ shareBp }) => shareBp)).toEqual([2_500])
  })

  it('is not made again while it is released', async () => {
    expect(await compress({ to: 'float16' })).toMatchObject({
      outcome: 'unchanged',
      message: expect.stringMatching(
        /^nothing new: the compressed files, columns and features are those of \S+_v1\.1\.0, whose release/,
      ) as string,
    })
    await pipeline.endRelease(model)
  })

  it('is refused for logged requests that it answers otherwise, though it answers all test rows alike', async () => {
    // One tree more, which answers 0 up to an age of 85; nothing older is in the test rows.
    const stump = `Tree=40
num_leaves=2
num_cat=0
split_feature=2
split_gain=1
threshold=85
decision_type=10
left_child=-1
right_child=-2
leaf_value=0 4
leaf_weight=1 1
leaf_count=1 1
internal_value=0
internal_weight=2
internal_count=2
is_linear=0
shrinkage=1


`
    const { judged, fidelity, requests, page } = await judgeSpoiled(outcome, 'requests', (text) =>
      text
        .replace(/^tree_sizes=.*$/m, (sizes) => `${sizes} ${stump.length}`)
        .replace('end of trees', `${stump}end of trees`),
    )
    expect(judged.verdict).toBe('not_better')
    expect(judged.reasons[0]).toContain('differ from the parent\'s in the slice "logged requests"')
    expect(fidelity).toMatchObject({
      verdict: 'not_equal',
      rows: 3_000,
      requests: loggedRows,
      policy: { attempt: 2 },
    })
    expect(fidelity.meanDifference).toBeLessThan(fidelity.policy.epsilon)
    expect(fidelity.slices).toMatchObject([
      { name: 'test rows', rows: 2_400, refuted: false, flips: 0 },
      { name: 'logged requests', rows: loggedRows, refuted: true },
      { name: 'red', refuted: false },
    ])
    expect(fidelity.slices[0]!.meanDifference).toBeLessThan(0.001)
    const old = await pipeline.store.query<{ id: string }>(
      sql`select id::text as id from predictions where model = ${model} and routing_key like 'old %'`,
    )
    expect(fidelity.worst).toHaveLength(10)
    for (const { request } of fidelity.worst) expect(old.map(({ id }) => id)).toContain(request)
    expect(page).toContain(`request ${fidelity.worst[0]!.request}`)
    expect(page).toContain('2,400 test rows and 600 logged requests, not equal')
    expect(page).toContain('compression 2 of this parent, so α is 0.938 % of the 5 % for all')
    // The rows are kept: the verdict can be computed again from its certificate.
    const kept = await getSnapshot(pipeline.store, requests!.digest!)
    expect(kept).toMatchObject({ model, rows: loggedRows, source: { kind: 'logged requests' } })
    await pipeline.deps.artifacts.locate('snapshots', kept.digest)
    const held = await listArtifacts(pipeline.store)
    expect(held.filter(({ standsOn }) => standsOn.includes(kept.digest)).length).toBeGreaterThan(0)
  })
})

describe('a version that is compressed', () => {
  it('is refused when it lacks trees that its answers need', async () => {
    // A good release that is no parent of the champion would measure the champion.
    await pipeline.store.query(
      sql`update versions set known_good_at = now() where version = ${`${model}_v1.1.0`}`,
    )
    const outcome = await compress({ to: 'fewer-trees', trees: 5 })
    const { inputs } = await getEvaluation(pipeline.store, `evl_${runOf(outcome)}`)
    expect(inputs.anchorsAsked).toEqual([])
    expect(outcome.outcome).toBe('not_better')
    expect(outcome.message).toContain(`beside its parent ${parent}: `)
    expect((await reportOf(outcome)).compression).toMatchObject({
      counts: { trees: { parent: 40, child: 5 } },
      fidelity: { verdict: 'not_equal' },
    })
  })

  it('ends without an alert when its method does not fit the file', async () => {
    expect(await compress({ to: 'fewer-trees', trees: 40 })).toMatchObject({
      outcome: 'failed',
      message: expect.stringMatching(/^40 of 40 trees cannot be kept: /) as string,
    })
    expect(await listAlerts(pipeline.store, { model, open: true })).toEqual([])
  })

  it('gets the fewest trees whose answers are within half of ε, and is refused with its figures when it is not worth it', async () => {
    const outcome = await compress({ to: 'fewer-trees', epsilon: 0.2, times: 50 })
    expect(outcome).toMatchObject({
      outcome: 'not_better',
      message: expect.stringMatching(/not worth it beside its parent \S+: bytes \d\.\d\d ×/) as string,
    })
    const { compression } = await reportOf(outcome)
    expect(compression!.counts['trees']!.child).toBeLessThan(40)
    expect(compression!.fidelity).toMatchObject({ policy: { epsilon: 0.2 } })
    expect(compression!.fidelity.meanDifference!).toBeLessThan(0.12)
    // The model is as good as before.
    expect(await listAlerts(pipeline.store, { model, open: true })).toEqual([])
  })
})

describe('a model whose file compresses what is promoted', () => {
  const own = uniqueName('followed')
  const [first, child] = [`${own}_v1.0.0`, `${own}_v1.1.0`]
  const fire = () =>
    pipeline.client.workflow.execute<(request: { model: string }) => Promise<FireTriggersOutcome>>(
      'fireTriggers',
      {
        workflowId: uniqueName('look'),
        taskQueue: pipeline.config.taskQueues.control,
        args: [{ model: own }],
      },
    )
  const move = (to: string, from?: string, cause: 'promotion' | 'rollback' = 'promotion') =>
    moveChampion(pipeline.store, { model: own, from, to, cause, actor: 'anna', reason: 'a test' })
  const refusedBecause = async () =>
    (await listTriggerActivity(pipeline.store, [own])).map(({ refused }) => refused)

  beforeAll(async () => {
    const { store, models, deps } = pipeline
    // A trigger takes the rows of today.
    const later = `interval '${Date.now() - Date.parse(exampleDay(35))} milliseconds'`
    const rows = `select id, planted_at + ${later} as planted_at, known_at + ${later} as known_at, size, colour, age, blooms from roses`
    const source = `postgres({ rows: "${rows}", eventTime: 'planted_at', key: ['id'] })`
    const more = `retrain: { then: compress('float16', { epsilon: 0.02 }) },`
    await syncExampleModel(store, models, { name: own, trains: false, source, more })
    const stored = await deps.artifacts.put('artifacts', Buffer.from(readRosesModel().model))
    const artifact = { file: 'model.txt', ...stored }
    const brought = await pipeline.start({ model: own, requestedBy: 'olga', artifact })
    expect(await brought.result()).toMatchObject({ version: first })
    await pipeline.endRelease(own)
  })

  it('compresses each promoted version once, and never a compressed one', async () => {
    const { store, client } = pipeline
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    await move(first)
    expect(await fire()).toMatchObject({ started: `fir_compress_${first}` })
    expect(await client.workflow.getHandle(retrainWorkflowId(own)).result()).toMatchObject({
      outcome: 'released',
      version: child,
    })
    const [retraining] = await listRetrainings(store, { model: own })
    expect(retraining).toMatchObject({
      reason: 'trigger',
      requestedBy: `trigger/${own}/compress`,
      evidence: { message: `${first} was promoted`, to: 'float16', version: first },
    })
    expect((await getVersion(store, child)).lineage.compression).toMatchObject({
      version: first,
      epsilon: 0.02,
    })
    // New rows count from the training, and a refused compression would delay none.
    expect((await countNewRows(store, own)).lastTrainingMs).toBeLessThan(Date.parse(retraining!.startedAt))
    expect((await listPastTrainings(store, { model: own, except: '' })).trainings).toMatchObject([
      { isCompression: true, reason: 'trigger' },
      { reason: 'manual' },
    ])
    await pipeline.endRelease(own)
    await move(child, first)
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    await move(first, child, 'rollback')
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    await move(child, first)
    await move(first, child)
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    expect(await listRetrainings(store, { model: own })).toHaveLength(2)
  })

  it('starts none for a version that is not champion any more, or that cannot be compressed', async () => {
    const { store } = pipeline
    const waiting = async (version: string, id: string) => {
      const compression: Compression = { version, to: 'int8' }
      const why = { message: 'a test', evidence: {}, compression }
      await insertFiring(store, { id, model: own, trigger: 'compress', ...why })
      expect(await fire()).toMatchObject({ message: '0 waiting' })
    }
    await waiting(child, 'fir_gone')
    expect(await refusedBecause()).toEqual([`${child} is not champion any more`])
    await markVersionRolledBack(store, first)
    await waiting(first, 'fir_rolled')
    expect(await refusedBecause()).toEqual([expect.stringContaining('was rolled back at')])
  })
})

describe('a version of a dense network that was trained here', () => {
  const network = uniqueName('network')
  const trained = `${network}_v1.0.0`
  const compressNetwork = async (compression: Omit<Compression, 'version'>) => {
    const artifact = await compressedArtifact(pipeline.store, network, { version: trained, ...compression })
    const started = await pipeline.start({
      model: network,
      asOf: exampleDay(35),
      requestedBy: 'olga',
      artifact,
    })
    return started.result()
  }

  beforeAll(async () => {
    const layers = `
      tf.layers.dense({ inputShape: [inputs], units: 256, activation: 'relu' }),
      tf.layers.dense({ units: 64, activation: 'relu' }),
      tf.layers.dense({ units: 1, activation: 'sigmoid' }),`
    await syncExampleModel(pipeline.store, pipeline.models, { name: network, layers, learningRate: 0.005 })
    const training = await pipeline.start({ model: network, asOf: exampleDay(35), requestedBy: 'olga' })
    expect(await training.result()).toMatchObject({ version: trained })
    await pipeline.endRelease(network)
    const cause = { cause: 'promotion', actor: 'anna', reason: 'a test' } as const
    await moveChampion(pipeline.store, { model: network, to: trained, ...cause })
  })

  it('answers like its parent with 8 bits, and has fewer bytes', async () => {
    const outcome = await compressNetwork({ to: 'int8', epsilon: 0.01 })
    expect(outcome).toMatchObject({ outcome: 'released' })
    const { compression } = await reportOf(outcome)
    expect(compression).toMatchObject({
      version: trained,
      fidelity: { verdict: 'equal' },
      worth: { verdict: 'worth_it' },
    })
    expect(compression!.worth.times.bytes).toBeGreaterThan(3.2)
    const { manifest } = await getVersion(pipeline.store, outcome.version!)
    expect(Object.keys(manifest.files)).toEqual(['model.json', 'weights.bin'])
    await pipeline.endRelease(network)
  })

  it('is smaller, with a fifth of the weights to multiply, by fewer units, within ε', async () => {
    const outcome = await compressNetwork({ to: 'prune', epsilon: 0.01 })
    const { counts, fidelity, worth } = (await reportOf(outcome)).compression!
    expect(worth.times.bytes).toBeGreaterThan(5)
    expect(worth).toMatchObject({
      verdict: 'worth_it',
      times: { rowsPerSecond: expect.any(Number) as number },
    })
    expect(counts['weights']!.child).toBeLessThan(counts['weights']!.parent / 5)
    expect(fidelity.meanDifference!).toBeLessThan(0.01)
    // One decision of the 600 test rows that differs needs more rows.
    expect(['equal', 'insufficient']).toContain(fidelity.verdict)
    await pipeline.endRelease(network)
  })

  it('is refused fewer trees, which it does not have', async () => {
    await expect(compressNetwork({ to: 'fewer-trees' })).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(/which can be compressed to float16, int8, prune, distil$/) as string,
    })
  })
})

it.each([
  [{ to: 'float16', trees: 3 }, /may have a whole number of trees, from 1 on, to fewer-trees alone/],
  [{ to: 'zip' }, /must have one of lossless, float16, int8, fewer-trees, .* as "to"/],
  [{ to: 'int8', epsilon: 2 }, /must have a number above 0 and below 1 as "epsilon"/],
  [{ to: 'int8', times: 1 }, /must have a number above 1 and at most 100 as "times"/],
])('refuses the order %j', async (given, why) => {
  const { compression, ...order } = await compressedArtifact(pipeline.store, model, {
    version: parent,
    to: 'int8',
  })
  const wrong = { ...compression, ...given } as CompressionOrder
  await expect(start({ ...order, compression: wrong })).rejects.toMatchObject({
    cause: { message: expect.stringMatching(why) as string },
  })
})

it('refuses the artifact of another version', async () => {
  const order = await compressedArtifact(pipeline.store, model, { version: parent, to: 'int8' })
  const artifact = `sha256:${'0'.repeat(64)}`
  const outcome = await start({ ...order, compression: { ...order.compression!, artifact } })
  expect(outcome).toMatchObject({
    outcome: 'failed',
    message: `${artifact} is not the artifact of ${parent}`,
  })
})

it('refuses a parent whose threshold the model file has changed, because the version would decide otherwise', async () => {
  await pipeline.store.query(sql`
    update models set definition = jsonb_set(definition, '{label,output,threshold}', '0.7') where name = ${model}`)
  expect(await compress({ to: 'int8' })).toMatchObject({
    outcome: 'failed',
    message: expect.stringMatching(
      /"threshold":0\.7\S*: compress a version that was made with this model file/,
    ) as string,
  })
})

it('refuses a parent that was rolled back', async () => {
  await markVersionRolledBack(pipeline.store, parent)
  await expect(compress({ to: 'int8' })).rejects.toMatchObject({
    code: 'command_refused',
    message: expect.stringMatching(/was rolled back at .* would repeat its harm$/) as string,
    remedy: expect.stringMatching(/^Compress another version: /) as string,
  })
})
