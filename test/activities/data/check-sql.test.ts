/** Tests that SQL of a model file that cannot be computed is told before a training. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import {
  gateOnlyPartsOf,
  issueOfBusiness,
  issueOfSlices,
  requireSlices,
} from '../../../activities/data/check-sql.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-slices-'))
afterAll(() => rmSync(root, { recursive: true }))

const definitionWith = (where: string) =>
  ({
    source: { kind: 'csv' },
    features: { size: { kind: 'number' }, rain: { kind: 'number', from: { view: 'weather' } } },
    evaluation: { slices: [{ name: 'small', where }], policy: defaultGatePolicy('regression') },
  }) as unknown as ModelDefinition

it('a slice is computed for the test rows of a snapshot, or refused with its columns', async () => {
  await withDuck(async (duck) => {
    const path = join(root, 'snapshot.parquet')
    await duck.run(
      `copy (select 1.5 as size, 'unknown' as code, 'test' as _part union all select 2, '7', 'train') to '${path}' (format parquet)`,
    )
    await requireSlices(duck, path, definitionWith('size < 2'))
    await expect(requireSlices(duck, path, definitionWith('sise < 2'))).rejects.toMatchObject({
      code: 'source_unreadable',
      message:
        'evaluation.slices: "small" (sise < 2): there is no column "sise", which this SQL names, among size, code: rename the column, or correct the name in the model file',
    })
    await expect(requireSlices(duck, path, definitionWith('code::int < 2'))).rejects.toThrow(
      /^evaluation\.slices: "small" \(code::int < 2\): Conversion Error: Could not convert string 'unknown' to INT32/,
    )
  })
})

it('a slice may name what a feature view provides and what a snapshot adds; errors of types are left to the snapshot', async () => {
  for (const where of ['rain > 1', "_label = 'a'", 'year(day) = 2026'])
    expect(await issueOfSlices(definitionWith(where), ['size', 'day']), where).toBeUndefined()
  expect(await issueOfSlices(definitionWith('snow > 1'), ['size', 'day'])).toContain('among size, day, rain')
})

it('groups and slices of columns that are no features are left to the gate, and named', async () => {
  const withGroups = (groups: string[], where: string) => {
    const definition = definitionWith(where)
    return {
      ...definition,
      label: { output: { kind: 'probability' } },
      evaluation: { ...definition.evaluation, groups },
    } as ModelDefinition
  }
  expect(await gateOnlyPartsOf(withGroups(['Size'], 'size < 2'))).toBeUndefined()
  const own = withGroups([], 'size < 2')
  own.evaluation.policy = {
    ...defaultGatePolicy('regression'),
    primary: 'cost',
    standIn: 'mae',
    custom: { cost: { better: 'lower' } },
  }
  expect(await gateOnlyPartsOf(own)).toBe(
    'cost is a function of the model file, which runs in the gate and in sweeps only: MAE stands in for it in windows of the monitor, slices and the importance of features, and shadow, A/B test and probation judge outcomes by absolute error',
  )
  expect(await gateOnlyPartsOf(withGroups(['age'], 'year(day) = 2026'))).toBe(
    'only the gate judges the groups of age, the slice small: the log of predictions has features, and no other columns of the source',
  )
})

it('a feature may have the name of what is told of a prediction, unless a business metric could mean both', async () => {
  const definition = {
    source: { kind: 'csv' },
    features: { Outcome: { kind: 'category' }, size: { kind: 'number' } },
    label: { output: { kind: 'probability' } },
    evaluation: {
      groups: ['Outcome'],
      slices: [{ name: 'sold', where: "outcome = 'sold'" }],
      policy: defaultGatePolicy('binary'),
    },
  } as unknown as ModelDefinition
  expect(await gateOnlyPartsOf(definition)).toBeUndefined()
  const business = { name: 'saved', unit: '$', perPrediction: 'outcome * size' }
  const monitor = { business } as ModelDefinition['monitor']
  expect(await issueOfBusiness({ ...definition, monitor })).toBe(
    'monitor.business.perPrediction: the feature "Outcome" has the name of a column that each prediction has: rename the feature',
  )
})

it('a slice and a business metric over a feature that is logged as a digest are named', async () => {
  const definition = {
    ...definitionWith('length(note) > 5'),
    features: { note: { kind: 'text', log: 'digest' }, size: { kind: 'number' } },
    label: { output: { kind: 'probability' } },
    monitor: { business: { perPrediction: 'length(Note) * size' } },
  } as unknown as ModelDefinition
  definition.evaluation.groups ??= []
  expect(await gateOnlyPartsOf(definition)).toMatch(
    /^only the gate judges the slice small: .*, and `note` is logged as a digest$/,
  )
  expect(await issueOfBusiness(definition)).toBe(
    "monitor.business.perPrediction: `note` is logged as a digest, so it cannot be computed: write log: 'value', or leave the feature out",
  )
})

it('a business metric may name each of several numbers', async () => {
  const withMetric = (perPrediction: string) =>
    ({
      ...definitionWith(''),
      label: { output: { kind: 'numbers', names: ['arrival', 'departure'] } },
      monitor: { business: { perPrediction } },
    }) as unknown as ModelDefinition
  expect(await issueOfBusiness(withMetric('outcome.arrival - prediction.departure + size'))).toBeUndefined()
  expect(await issueOfBusiness(withMetric('outcome.landing'))).toMatch(
    /^monitor\.business\.perPrediction: Binder Error: Could not find key "landing" in struct/,
  )
  expect(await issueOfBusiness(withMetric("case when size > 1 then 'large' else 'small' end"))).toBe(
    'monitor.business.perPrediction: is a text, and must be a number',
  )
})

it('a business metric that reads a file is refused, because its file may wait for an approval', async () => {
  const perPrediction = `(select count(*) from read_text('/etc/hostname'))`
  const definition = {
    ...definitionWith(''),
    label: { output: { kind: 'probability' } },
    monitor: { business: { perPrediction } },
  } as unknown as ModelDefinition
  expect(await issueOfBusiness(definition)).toContain('Permission Error')
})

it('a slice that takes long before it has a row is refused, and its statement ended', async () => {
  const endless = '(select sum(a.range * b.range) from range(10000000) a, range(10000000) b) > size'
  const definition = definitionWith(endless)
  const judged = {
    ...definition,
    label: { output: { kind: 'probability' } },
    evaluation: { ...definition.evaluation, groups: [] },
  } as unknown as ModelDefinition
  for (const refused of await Promise.allSettled([
    issueOfSlices(definition, ['size']),
    gateOnlyPartsOf(judged),
  ]))
    expect(refused).toMatchObject({
      reason: {
        code: 'source_unreadable',
        message: expect.stringContaining('takes more than 5 s before it has any row') as unknown,
      },
    })
})
