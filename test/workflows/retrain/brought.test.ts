/** Tests that a LightGBM model from elsewhere is evaluated and released like a trained one, on the real Temporal and Postgres. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import sql from 'sql-template-tag'
import { readCard } from '../../../api/services/model-card.ts'
import type { BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { markVersionRolledBack } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { getTraining } from '../../../store/training/trainings.ts'
import type { RetrainStart } from '../../../domain/starts.ts'
import { releaseWorkflowId, type RetrainOutcome } from '../../../workflows/messages.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { readRosesModel } from '../../../packages/predictors/test/support/roses-lightgbm.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const trees = readRosesModel()
const bring = async (
  bytes: string | Buffer,
  more: object = {},
  days = 35,
  request: Partial<RetrainStart> = {},
): Promise<RetrainOutcome> => {
  const stored = await pipeline.deps.artifacts.put('artifacts', Buffer.from(bytes))
  const artifact: BroughtArtifact = { file: 'model.txt', ...stored, trainedOn: 'roses of March', ...more }
  const asOf = exampleDay(days)
  return (await pipeline.start({ model, asOf, requestedBy: 'olga', artifact, ...request })).result()
}
const runOf = ({ retrainingId }: RetrainOutcome) => retrainingId.split('/').at(-1)?.replaceAll('-', '') ?? ''

beforeAll(async () => {
  pipeline = await openPipeline()
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false })
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(() => pipeline?.close())

describe('a model whose file has no train', () => {
  it('is not trained, and the error names the ways to bring a version', async () => {
    const { definition } = (
      await pipeline.store.query<{ definition: { isBrought: boolean } }>(
        sql`select definition from models where name = ${model}`,
      )
    )[0]!
    expect(definition.isBrought).toBe(true)
    const started = await pipeline.start({ model, asOf: exampleDay(35) })
    await expect(started.result()).rejects.toMatchObject({
      cause: {
        type: 'command_refused',
        message: `the model file of ${model} has no train: bring a version with \`tenure versions register ${model} --artifact FILE\``,
      },
    })
  })

  it('refuses trees that violate a behaviour test, with its sentence, and registers nothing', async () => {
    const known = JSON.stringify({ row: trees.rows[0], answer: trees.answers[0], within: 1e-6 })
    const tests = `tests: [
      direction('a larger rose', { column: 'size', by: 3, never: 'higher', rows: 100 }),
      exact('a rose of LightGBM itself', ${known}),
    ],`
    await syncExampleModel(pipeline.store, pipeline.models, {
      name: model,
      trains: false,
      importance: true,
      more: tests,
    })
    const ended = await bring(trees.model)
    expect(ended.version).toBeUndefined()
    expect(ended.outcome).toBe('not_better')
    expect(ended.message).toMatch(
      /^the test "a larger rose" fails: size raised by 3 raises the score in \d+ of 100 rows; worst in test row .* \(against the floors\)$/,
    )
    const { report } = await getEvaluation(pipeline.store, `evl_${runOf(ended)}`)
    expect(report.importance?.features.map(({ feature }) => feature)).toEqual(['size', 'colour', 'age'])
    expect(report.tests?.map(({ challenger }) => challenger.verdict)).toEqual(['fail', 'pass'])
    await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false })
  })

  it('is fed by a brought artifact, which passes the gate and is released', async () => {
    const first = await bring(trees.model)
    expect(first).toMatchObject({ outcome: 'released', version: `${model}_v1.0.0` })
    const version = await getVersion(pipeline.store, first.version!)
    expect(version.manifest).toMatchObject({
      artifact: 'trees',
      library: 'LightGBM',
      files: { 'model.txt': { bytes: Buffer.byteLength(trees.model) } },
      training: { origin: 'brought', trainedOn: 'roses of March', snapshot: 'unknown', code: 'unknown' },
    })
    expect(version.lineage).toMatchObject({
      origin: 'brought',
      trainedOn: 'roses of March',
      snapshot: first.snapshotDigest,
      metrics: { auc: expect.closeTo(0.93, 1) as unknown },
    })
    expect(version.lineage.seed).toBeUndefined()
    expect(await getTraining(pipeline.store, `trn_${runOf(first)}`)).toMatchObject({
      status: 'done',
      artifactDigest: version.artifactDigest,
    })
  })

  it('stays registered as the first version of a model whose policy asks for no approval', async () => {
    const unapproved = uniqueName('roses')
    await syncExampleModel(pipeline.store, pipeline.models, { name: unapproved, trains: false })
    const policy = { ...releasePolicy, approval: { approvers: 0, withinMs: 1 } }
    const first = await bring(trees.model, {}, 35, { model: unapproved, policy })
    expect(first).toMatchObject({ outcome: 'registered', version: `${unapproved}_v1.0.0` })
    expect(first.releaseId).toBeUndefined()
    expect(first.message).toMatch(
      /the first version of a model needs an approval and approval\.by is 0: set it to 1/,
    )
    expect(await listAlerts(pipeline.store, { model: unapproved })).toEqual([])
  })

  it('stays registered as such a first version, with an alert, when a behaviour test could not be computed', async () => {
    const untested = uniqueName('roses')
    const more = `tests: [invariance('roses of Mars', { column: 'colour', where: "colour = 'green'" })],`
    await syncExampleModel(pipeline.store, pipeline.models, { name: untested, trains: false, more })
    const policy = { ...releasePolicy, approval: { approvers: 0, withinMs: 1 } }
    const first = await bring(trees.model, {}, 35, { model: untested, policy })
    expect(first).toMatchObject({ outcome: 'registered', version: `${untested}_v1.0.0` })
    expect(first.message).toMatch(
      /"roses of Mars" could not be computed.*; the first version .* needs an approval/,
    )
    expect(await listAlerts(pipeline.store, { model: untested, open: true })).toMatchObject([
      { kind: 'registered', message: first.message },
    ])
  })

  it('does not take files again whose release is open', async () => {
    const again = await bring(trees.model)
    expect(again).toMatchObject({
      outcome: 'unchanged',
      message: expect.stringMatching(
        /^nothing new: the brought files, columns and features are those of \S+_v1\.0\.0, whose release rel_\w+ is open$/,
      ) as unknown,
    })
    await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  })

  it('does not take files again that were rolled back, on whatever rows', async () => {
    await markVersionRolledBack(pipeline.store, `${model}_v1.0.0`)
    const again = await bring(trees.model, {}, 36)
    expect(again).toMatchObject({
      outcome: 'unchanged',
      message: expect.stringMatching(
        /^nothing new: the brought files, columns and features are those of \S+_v1\.0\.0, which was rolled back at/,
      ) as unknown,
    })
  })

  it('takes such files again with other columns, which give other answers', async () => {
    const columns = [{ name: 'size', fill: 4 }, { name: 'colour' }, { name: 'age' }]
    const { digest } = await pipeline.deps.artifacts.put('artifacts', Buffer.from(JSON.stringify(columns)))
    const ended = await bring(trees.model, { columns: digest })
    expect(ended).toMatchObject({ outcome: 'released' })
    expect(await bring(trees.model, { columns: digest })).toMatchObject({ outcome: 'unchanged' })
    await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  })

  it('is fed by a file without names of columns in the order of its model file, not in that of the database', async () => {
    const unnamed = trees.model.replace(
      'feature_names=size colour age',
      'feature_names=Column_0 Column_1 Column_2',
    )
    expect(unnamed).not.toBe(trees.model)
    const ended = await bring(unnamed, {}, 37)
    expect(ended).toMatchObject({ outcome: 'released' })
    const { manifest } = await getVersion(pipeline.store, ended.version!)
    expect(manifest.preprocessing?.map(({ name }) => name)).toEqual(['size', 'colour', 'age'])
    expect(manifest.featureOrder).toEqual(['size', 'colour', 'age'])
    await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  })

  it('is refused where it does not know the colour of half of the rows, or tells it where the registration allows it', async () => {
    const other = trees.model.replace('"red", "white"', '"red", "White"')
    const told =
      /^the model does not know the category "colour" of (?:4\d|5\d)(?:\.\d)? % of the training rows, such as "white"/
    const ended = await bring(other, {}, 38)
    expect(ended).toMatchObject({ outcome: 'failed', message: expect.stringMatching(told) as string })
    const allowUnknownCategories = 'white roses are left out on purpose'
    const allowed = await bring(other, { allowUnknownCategories }, 38)
    expect(allowed).toMatchObject({ outcome: 'released' })
    const { store } = pipeline
    const { report } = await getEvaluation(store, `evl_${runOf(allowed)}`)
    const message = expect.stringMatching(told) as string
    expect(report.warnings).toContainEqual(
      expect.objectContaining({ code: 'unknown_categories', message }) as unknown,
    )
    const { card } = await readCard(store, await getVersion(store, allowed.version!))
    expect(card.evaluation!.warnings).toContainEqual(message)
    const [registered] = await listAudit(store, {
      action: 'version.registered',
      subject: allowed.version!,
    })
    expect(registered).toMatchObject({ detail: { allowUnknownCategories } })
    // Other rows give another share.
    expect(await bring(other, { allowUnknownCategories }, 39)).toMatchObject({ outcome: 'unchanged' })
    await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  })

  it.each([
    [
      'a column that is not a feature',
      trees.model.replaceAll('size', 'height'),
      {},
      /no feature is called "height"/,
    ],
    [
      'trees that answer no probability',
      trees.model.replace('objective=binary sigmoid:1', 'objective=regression'),
      {},
      /expected a probability/,
    ],
    ['a file that is gone', trees.model, { digest: `sha256:${'0'.repeat(64)}` }, /cannot be used/],
  ])('ends without a version for %s', async (_what, bytes, more, why) => {
    const ended = await bring(bytes, more)
    expect(ended.outcome).toBe('failed')
    expect(ended.message).toMatch(why)
    const [training] = await pipeline.store.query<{ status: string }>(
      sql`select status from trainings where id = ${`trn_${runOf(ended)}`}`,
    )
    expect(training?.status).toBe('failed')
  })

  it.each([
    [{ file: '../model.txt' }, /"artifact" must have a "file" of model.txt/],
    [{ digest: 'sha256:1' }, /"artifact" must have a "digest"/],
    [{ bytes: -1 }, /"artifact" must have its "bytes"/],
    [{ columns: 'columns.json' }, /"artifact" must have a digest as "columns"/],
    [{ allowUnknownCategories: 1 }, /must have a text of at most 500 characters as "allowUnknownCategories"/],
  ])('refuses the input %j', async (more, why) => {
    await expect(bring(trees.model, more)).rejects.toMatchObject({
      cause: { message: expect.stringMatching(why) as string },
    })
  })
})
