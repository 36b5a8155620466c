/** Tests the validation of a snapshot in the process of a worker that also judges releases. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { MockActivityEnvironment } from '@temporalio/testing'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { validate, type ValidateResult } from '../../../activities/retrain/validate.ts'
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import { insertValues, findView, upsertView } from '../../../store/features/feature-views.ts'
import { getModel, upsertModels } from '../../../store/registry/models.ts'
import { insertSnapshot, findValidation, insertValidation } from '../../../store/training/snapshots.ts'
import { exampleDay, exampleModelDirectory, syncExampleModel } from '../../support/training/example-model.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { longestTurnMs } from '../../support/main-thread.ts'

let models: string
let deps: ActivityDeps
beforeAll(async () => {
  deps = await openActivityDeps()
  models = await exampleModelDirectory()
  await syncExampleModel(deps.store, models)
})
afterAll(async () => {
  await deps.close()
  await rm(models, { recursive: true })
})

/** Makes a snapshot of so many roses, every fifth in the test part. */
async function snapshotOf(rows: number): Promise<string> {
  const draft = await deps.artifacts.draft('.parquet')
  await withDuck((duck) =>
    duck.run(`copy (
      select id::varchar as _key, timestamp '2024-03-01' + to_seconds(id) as _event_at, timestamp '2024-03-02' + to_seconds(id) as _known_at,
        case when id % 5 = 0 then 'test' else 'train' end as _part, id % 2 as _label,
        (id % 1000) / 100.0::double as size, case when id % 3 = 0 then 'red' else 'white' end as colour, id % 80 as age
      from range(${rows}) as numbers (id)) to ${textLiteral(draft)} (format parquet)`),
  )
  const { digest, bytes } = await deps.artifacts.take('snapshots', draft)
  await insertSnapshot(deps.store, {
    digest,
    model: 'roses',
    asOf: exampleDay(35),
    rows,
    bytes,
    columns: {},
    source: {},
  })
  return digest
}

describe('a validation', () => {
  it('of hundreds of thousands of rows leaves the event loop of its worker free', async () => {
    const snapshotDigest = await snapshotOf(250_000)
    const input = { validationId: 'val_big', model: 'roses', snapshotDigest, asOf: exampleDay(35) }
    let failures: unknown
    const longestMs = await longestTurnMs(async () => {
      const result = (await new MockActivityEnvironment().run(validate(deps), input)) as ValidateResult
      failures = result.failures
    })
    // Measured: 78 ms. Reading 400,000 rows in the worker itself blocked it for 3.4 s.
    expect(longestMs).toBeLessThan(1_000)
    expect(failures).toEqual([])
    const stored = await findValidation(deps.store, 'val_big')
    expect(stored?.report).toMatchObject({ rows: 250_000, verdict: 'pass' })
  })

  it('warns of rows that are older than the values that a feature view keeps', async () => {
    const { store } = deps
    const { definition } = await getModel(store, 'roses')
    const digest = 'sha256:heights'
    const source = { kind: 'postgres' as const, files: {}, rows: '' }
    const columns = { entity: ['id'], eventTime: 'at', knownAt: 'at', values: {} }
    const periods = { everyMs: 1, lateMs: 1, keepMs: 86_400_000 }
    const heights: FeatureView = { name: 'heights', digest, source, ...columns, ...periods }
    await upsertView(store, heights)
    await upsertModels(store, [
      { name: 'tulips', definition: { ...definition, name: 'tulips', views: [heights] }, codeDigest: 'c' },
    ])
    const { id: viewId } = (await findView(store, digest))!
    const at = '2024-03-02T00:01:00Z'
    const row = { entity: 'a', eventAt: at, knownAt: at, usableAt: at, features: {} }
    await insertValues(store, { viewId, asOf: at, watermark: at }, [row])
    const snapshotDigest = await snapshotOf(500)
    const input = { validationId: 'val_kept', model: 'tulips', snapshotDigest, asOf: exampleDay(35) }
    // A warning blocks nothing; the rows of the report show it.
    expect(await new MockActivityEnvironment().run(validate(deps), input)).toMatchObject({
      verdict: 'warn',
      failures: [],
    })
    expect((await findValidation(deps.store, 'val_kept'))?.report).toMatchObject({
      results: expect.arrayContaining([
        expect.objectContaining({
          check: 'values_kept',
          severity: 'warn',
          passed: false,
          message:
            '60 of 500 rows are older than the values kept, those of the feature view heights from 2024-03-01T00:01Z on (keep: 1 d), and look up nothing: raise keep, and rename the view so that it reads its source again',
        }),
      ]),
    })
  })

  it('that is repeated returns its stored result', async () => {
    const snapshotDigest = await snapshotOf(100)
    const failed = {
      check: 'rowCount',
      subject: 'rows',
      severity: 'block',
      passed: false,
      message: 'too few',
      found: '100 rows',
      required: 'at least 200',
    }
    await insertValidation(deps.store, {
      id: 'val_again',
      model: 'roses',
      snapshotDigest,
      verdict: 'block',
      report: { results: [failed] },
    })
    const input = { validationId: 'val_again', model: 'roses', snapshotDigest, asOf: exampleDay(35) }
    expect(await new MockActivityEnvironment().run(validate(deps), input)).toEqual({
      validationId: 'val_again',
      verdict: 'block',
      failures: ['rows: 100 rows, at least 200 required'],
    })
  })
})
