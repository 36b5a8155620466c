/** Tests with real LightGBM that the script of the docs stops early in a training, and trains for as many rounds on all rows in its refit. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { takeSnapshot, type SnapshotResult } from '../../activities/retrain/snapshot.ts'
import { train, type TrainResult } from '../../activities/retrain/train.ts'
import { getTraining } from '../../store/training/trainings.ts'
import { checkout } from '../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../support/activity-deps.ts'
import {
  exampleDay,
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../support/training/example-model.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('lightgbm.txt')
const rounds = 500
const warnings: Record<string, unknown>[] = []
let deps: ActivityDeps
let models: string

beforeAll(async () => {
  deps = await openActivityDeps({ log: { warn: (fields) => void warnings.push(fields) } })
  models = await exampleModelDirectory()
  await insertExampleRows(deps.store, { from: 0, to: 40 })
})
afterAll(async () => {
  await deps?.close()
  await rm(models, { recursive: true })
})

const environment = () => new MockActivityEnvironment()
const snapshotOf = (refit?: 'whole') => {
  const take = () => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35), refit })
  return environment().run<[], SnapshotResult, typeof take>(take)
}
const trainOn = (trainingId: string, { digest }: SnapshotResult, refitOf?: string): Promise<TrainResult> =>
  environment().run(train(deps, { models }), {
    trainingId,
    model: 'roses',
    snapshotDigest: digest,
    refitOf,
  })

it.skipIf('reason' in found)(
  'a script that stops early trains its refit on the validation rows too, for the rounds of the judged model',
  async () => {
    const { python } = found as { python: string }
    const page = await readFile(join(checkout, 'docs/how-to/train-in-python.md'), 'utf8')
    const [, script] = /<!-- test: early stopping -->\s+```python\n([^]*?)```/.exec(page)!
    await writeFile(join(models, 'train.py'), script!)
    const split = "split: byTime({ train: '20 d', validation: '5 d', test: '10 d', matured: '1 d' })"
    const trainer = `train: python('train.py', { interpreter: '${python}' })`
    await syncExampleModel(deps.store, models, {
      trains: false,
      more: `${split}, hyperparameters: { rounds: ${rounds} }, ${trainer},`,
    })
    const judgedRows = await snapshotOf()
    expect(judgedRows.rows.validation).toBe(300)
    await trainOn('trn_judged', judgedRows)
    const judged = await getTraining(deps.store, 'trn_judged')
    expect(judged.rounds).toBeGreaterThan(0)
    expect(judged.rounds).toBeLessThan(rounds)
    const allRows = await snapshotOf('whole')
    expect(allRows.rows).toEqual({ train: 34 * 60 - 240, validation: undefined, test: 0 })
    await trainOn('trn_refit', allRows, 'trn_judged')
    expect(await getTraining(deps.store, 'trn_refit')).toMatchObject({ rounds: judged.rounds })
    expect(warnings).toEqual([])
    // A script that takes no notice trains for another number of rounds.
    await writeFile(join(models, 'train.py'), script!.replace('job.best_round or', ''))
    await trainOn('trn_deaf', allRows, 'trn_judged')
    expect(await getTraining(deps.store, 'trn_deaf')).toMatchObject({ rounds })
    expect(warnings).toMatchObject([
      {
        notes: [
          `the refit has ${rounds} rounds, the judged model ${judged.rounds}: train for job.best_round rounds where it is set`,
        ],
      },
    ])
  },
)
