/**
 * Tests that metrics of a model file in Python have the values, intervals, verdicts and faults of the same metrics in TypeScript: on rows of
 * each task, and in the evaluation of two model files with one definition.
 */
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { computeMetrics, computeWithin } from '../../../activities/evaluation/own-metrics.ts'
import { evaluate } from '../../../activities/retrain/evaluate.ts'
import { scoreTrial } from '../../../activities/sweep/sweep.ts'
import { findTrial, insertTrial } from '../../../store/training/sweeps.ts'
import type { Run } from '../../../store/training/runs.ts'
import { takeSnapshot } from '../../../activities/retrain/snapshot.ts'
import { train } from '../../../activities/retrain/train.ts'
import { installerEnvironment } from '../../../temporal.config.ts'
import { preparePython } from '../../../store/python/python-environment.ts'
import type { MetricFunction } from '../../../domain/evaluation/custom-metrics.ts'
import { judgeGate, metricInputOf, type GateReport } from '../../../domain/evaluation/gate.ts'
import type { GateInput } from '../../../domain/evaluation/input.ts'
import { builtInPrimary, defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { columnOf, type ColumnTable } from '../../../domain/model/columns.ts'
import { loadModel } from '../../../models/index.ts'
import { upsertModels } from '../../../store/registry/models.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { inActivity } from '../../support/in-activity.ts'
import {
  exampleDay,
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { registerTraining } from '../../support/training/register-training.ts'

const folder = await mkdtemp(join(tmpdir(), 'tenure-own-metrics-'))
afterAll(() => rm(folder, { recursive: true }))

/** A Python with NumPy; undefined, with a printed reason, where it cannot be installed. */
async function pythonWithNumpy(): Promise<string | undefined> {
  const requirements = join(folder, 'requirements.txt')
  await writeFile(requirements, 'numpy==2.4.6\n')
  const signal = AbortSignal.timeout(600_000)
  return preparePython({ requirements, cache: cacheDir(), env: installerEnvironment(), signal }).then(
    ({ python }) => python,
    (error: Error) => {
      process.stderr.write(`No NumPy: ${error.message}\n`)
      return undefined
    },
  )
}
const found = await pythonWithNumpy()
const python = found ?? ''

const n = 400
const uniform = seededRandom(7)
const list = <T>(of: (row: number) => T): T[] => Array.from({ length: n }, (_, row) => of(row))
const bits = list((): number => (uniform() < 0.4 ? 1 : 0))
const places = list(() => Math.floor(uniform() * 3))
const numbers = list(() => 10 * uniform())
const pairs = list(() => [uniform(), 5 * uniform()])
const noisy = (label: number, noise: number) => label + noise * (uniform() - 0.5)
const shares = (place: number, noise: number) => {
  const raw = [0, 1, 2].map((each) => (each === place ? 1 : 0.2) + noise * uniform())
  const sum = raw.reduce((one, other) => one + other)
  return raw.map((each) => each / sum)
}

interface Case {
  task: GatePolicy['task']
  y: number[]
  answers: (noise: number) => number[][]
  more?: Partial<GatePolicy>
  entities?: number[]
  of: MetricFunction
  python: string
}
const levels = [0.1, 0.5, 0.9]
const cost: Pick<Case, 'of' | 'python'> = {
  of: (y, p) =>
    y.reduce((sum, label, row) => sum + (Number(p[row]) >= 0.5 ? 1 - label : 5 * label), 0) / y.length,
  python: 'numpy.where(scores >= 0.5, 1 - labels, 5 * labels).mean()',
}
const asLists = (answers: Parameters<MetricFunction>[1]) => answers as readonly (readonly number[])[]
const probabilities = (noise: number) =>
  bits.map((bit) => [Math.min(1, Math.max(0, noisy(bit === 1 ? 0.7 : 0.3, noise)))])
const cases: Record<string, Case> = {
  'two classes': { task: 'binary', y: bits, answers: probabilities, ...cost },
  'rows of entities': {
    task: 'binary',
    y: bits,
    answers: probabilities,
    entities: list((row) => row % 80),
    ...cost,
  },
  'several classes': {
    task: 'multiclass',
    y: places,
    answers: (noise) => places.map((place) => shares(place, noise)),
    more: { classes: 3 } as Partial<GatePolicy>,
    of: (y, p) => y.reduce((sum, place, row) => sum + 1 - asLists(p)[row]![place]!, 0) / y.length,
    python: '(1 - scores[numpy.arange(len(labels)), labels.astype(int)]).mean()',
  },
  'a number': {
    task: 'regression',
    y: numbers,
    answers: (noise) => numbers.map((number) => [noisy(number, noise)]),
    of: (y, p) =>
      y.reduce((sum, number, row) => sum + Math.abs(number - Number(p[row])) ** 1.5, 0) / y.length,
    python: '(abs(labels - scores) ** 1.5).mean()',
  },
  'quantiles of a number': {
    task: 'quantiles',
    y: numbers,
    answers: (noise) => numbers.map((number) => levels.map((level) => noisy(number, noise) + level - 0.5)),
    more: { levels },
    of: (y, p) => y.reduce((sum, number, row) => sum + Math.abs(number - asLists(p)[row]![1]!), 0) / y.length,
    python: 'abs(labels - scores[:, 1]).mean()',
  },
  'several numbers': {
    task: 'multioutput',
    y: pairs.flat(),
    answers: (noise) => pairs.map((pair) => pair.map((number) => noisy(number, noise))),
    more: { targets: ['near', 'far'] },
    of: (y, p) =>
      p.reduce<number>((sum, _, row) => sum + Math.abs(y[2 * row + 1]! - asLists(p)[row]![1]!), 0) / p.length,
    python: 'abs(labels[:, 1] - scores[:, 1]).mean()',
  },
}

const fileOf = (name: string, metrics: Record<string, string>) =>
  `import tenure\n${Object.entries(metrics)
    .map(([metric, body]) => `\ndef ${metric}(labels, scores, rows):\n    import numpy\n    ${body}\n`)
    .join('')}
tenure.define_model(name="${name}", evaluation={"metrics": {${Object.keys(metrics)
    .map((metric) => `"${metric}": {"of": ${metric}, "better": "lower"}`)
    .join(', ')}}})\n`

/** Judges the rows with metrics of a file in Python. */
async function judgedInPython(
  metrics: Record<string, string>,
  {
    input,
    policy,
    table = { rows: n, columns: {} },
  }: { input: GateInput; policy: GatePolicy; table?: ColumnTable },
): Promise<GateReport> {
  const own = await mkdtemp(join(folder, 'models-'))
  const path = join(own, 'model.py')
  await writeFile(path, fileOf('model', metrics))
  const run = {
    model: 'model',
    models: own,
    table,
    folder: join(own, 'run'),
    ...metricInputOf(input, policy)!,
  }
  return judgeGate(input, policy, await computeMetrics({ argv: [python, path] }, run))
}

const rowsOf = (report: GateReport, names: readonly string[]) =>
  report.metrics
    .filter(({ metric }) => names.includes(metric))
    .map(
      (row) =>
        JSON.parse(
          JSON.stringify(row, (_, value: unknown) =>
            typeof value === 'number' ? Number(value.toFixed(9)) + 0 : value,
          ),
        ) as GateReport['metrics'][number],
    )

const roles = ['a guard', 'the primary metric'] as const

it
  .skipIf(found === undefined)
  .each(roles.flatMap((role) => Object.keys(cases).map((name) => [role, name] as const)))(
  'as %s, a metric of %s is the same in both languages',
  async (role, name) => {
    const isPrimary = role === 'the primary metric'
    const { task, y, answers, more, entities, of, python: body } = cases[name]!
    const base = defaultGatePolicy(task)
    const policy: GatePolicy = {
      ...base,
      ...more,
      resamples: 200,
      ...(isPrimary && { primary: 'own', standIn: builtInPrimary(base) }),
      custom: { own: { better: 'lower', guard: !isPrimary }, seen: { better: 'lower' } },
    }
    const anchors = isPrimary ? [0.8, 0.1, 0.6].map(answers) : []
    const search = { triedHere: 1 }
    const input: GateInput = {
      y,
      challenger: answers(0.4),
      champion: answers(0.9),
      anchors,
      entities,
      search,
    }
    const [own, seen] = [`return ${body}`, 'return scores.mean()']
    const inPython = await judgedInPython({ own, seen }, { input, policy })
    const mean: MetricFunction = (_, p) =>
      [...p].flat().reduce<number>((sum, each) => sum + Number(each), 0) / [...p].flat().length
    const inTypeScript = judgeGate(input, policy, { own: of, seen: mean })
    // What is compared with the baseline and the best recent release stands in the reasons alone.
    const reasonsOf = ({ reasons }: GateReport) => reasons.map(({ code, message }) => ({ code, message }))
    expect(reasonsOf(inPython)).toEqual(reasonsOf(inTypeScript))
    const rows = rowsOf(inPython, ['own', 'seen'])
    expect(rows).toEqual(rowsOf(inTypeScript, ['own', 'seen']))
    expect(rows).toMatchObject([
      { metric: 'own', method: 'bootstrap', verdict: 'better' },
      { metric: 'seen', low: null },
    ])
    expect(inPython.verdict).toBe(inTypeScript.verdict)
  },
)

it.skipIf(found === undefined)(
  'a fault of a metric has the sentence of one in TypeScript, and a metric in Python the columns of the rows',
  async () => {
    const positives = bits.reduce((sum, bit) => sum + bit)
    const faults: Record<string, [python: string, of: MetricFunction]> = {
      nan: ['return numpy.nan', () => NaN],
      endless: ['return numpy.inf', () => Infinity],
      broken: [
        'raise ValueError("no price")',
        () => {
          throw Object.assign(new Error('no price'), { name: 'ValueError' })
        },
      ],
      rare: [
        `return numpy.nan if labels.sum() < ${positives} else 1`,
        (y) => (y.reduce((sum, bit) => sum + bit) < positives ? NaN : 1),
      ],
    }
    const inPython = Object.fromEntries(Object.entries(faults).map(([name, [body]]) => [name, body]))
    const metrics = {
      ...inPython,
      lost: 'return None',
      priced: 'return (rows["price"] * (rows["shop"] == "north")).mean()',
      gaps: 'return numpy.isnan(rows["gap"]).sum() + sum(text is None for text in rows["shop"])',
    }
    const guard = { better: 'lower' as const, guard: true }
    const policy: GatePolicy = {
      ...defaultGatePolicy('binary'),
      resamples: 200,
      custom: Object.fromEntries(Object.keys(metrics).map((name) => [name, guard])),
    }
    const input: GateInput = { y: bits, challenger: probabilities(0.4), champion: probabilities(0.9) }
    const table: ColumnTable = {
      rows: n,
      columns: {
        price: columnOf(numbers),
        gap: columnOf(list((row) => (row % 4 === 0 ? null : row))),
        shop: columnOf(list((row) => (row % 10 === 0 ? null : row % 2 === 0 ? 'north' : 'south'))),
      },
    }
    const report = await judgedInPython(metrics, { input, policy, table })
    const names = Object.keys(faults)
    const functions = Object.fromEntries(Object.entries(faults).map(([name, [, of]]) => [name, of]))
    const expected = rowsOf(judgeGate(input, policy, functions), names)
    expect(rowsOf(report, names)).toEqual(expected)
    expect(expected.map(({ verdict }) => verdict)).toEqual(names.map(() => 'error'))
    expect(expected[3]?.error).toMatch(/^rare is not finite in \d\d % of the resamples$/)
    const [lost, priced, gaps] = rowsOf(report, ['lost', 'priced', 'gaps'])
    expect(lost?.error).toBe('lost of the challenger is None, not a finite number')
    const north = numbers.filter((_, row) => row % 2 === 0 && row % 10 !== 0)
    expect(priced?.challenger).toBeCloseTo(north.reduce((sum, each) => sum + each) / n, 8)
    expect(priced).toMatchObject({ low: 0, high: 0, verdict: 'not_worse' })
    expect(gaps?.challenger).toBe(n / 4 + n / 10)
  },
)

it.skipIf(found === undefined)(
  'a primary metric without a value of any recent release says so in both languages',
  async () => {
    const base = defaultGatePolicy('binary')
    const policy: GatePolicy = {
      ...base,
      resamples: 200,
      primary: 'own',
      standIn: 'auc',
      custom: { own: { better: 'lower' } },
      leakage: { ...base.leakage, gain: 1 },
      evidence: { ...base.evidence, rows: 1, positives: 1, negatives: 1 },
    }
    const same = probabilities(0.4)
    const certain = [bits.map(() => [1])]
    const input: GateInput = { y: bits, challenger: same, champion: same, anchors: certain }
    const of: MetricFunction = (y, p) => (p.every((each) => each === 1) ? NaN : cost.of(y, p))
    const inPython = await judgedInPython(
      { own: `return numpy.nan if (scores == 1).all() else ${cost.python}` },
      { input, policy },
    )
    const said = {
      code: 'anchor_undefined',
      message: 'own of each recent release is NaN, not a finite number',
    }
    for (const { reasons } of [inPython, judgeGate(input, policy, { own: of })])
      expect(reasons).toContainEqual(expect.objectContaining(said))
  },
)

it.skipIf(found === undefined)('a metric in Python that ends its process is named', async () => {
  const custom = { first: { better: 'lower' as const }, dying: { better: 'lower' as const } }
  const policy: GatePolicy = { ...defaultGatePolicy('binary'), custom }
  const input: GateInput = { y: bits, challenger: probabilities(0.4), champion: null }
  const metrics = { first: 'return 1', dying: 'import os; os._exit(3)' }
  await expect(judgedInPython(metrics, { input, policy })).rejects.toMatchObject({
    code: 'training_interrupted',
    message: expect.stringMatching(/ ended with exit code 3\n(.*\n)*computing the metric dying$/) as unknown,
  })
})

it.each([
  ['never returns', () => Infinity],
  ['never ends its resamples', (calls: number) => (calls > 3 ? Infinity : 0)],
])('a metric in TypeScript that %s is refused by its name', (_, loops) => {
  let calls = 0
  const stuck: MetricFunction = () => {
    calls++
    for (let at = 0; at < loops(calls); at++);
    return 1
  }
  const base = defaultGatePolicy('binary')
  const policy: GatePolicy = {
    ...base,
    primary: 'stuck',
    standIn: 'auc',
    custom: { stuck: { better: 'lower' } },
  }
  const input: GateInput = { y: bits, challenger: probabilities(0.4), champion: probabilities(0.9) }
  const own = {
    stuck: computeWithin(stuck, 'stuck', { ...metricInputOf(input, policy)!, limitMs: 1_000 }),
  }
  const { reasons } = judgeGate(
    input,
    {
      ...policy,
      leakage: { ...base.leakage, gain: 1 },
      evidence: { ...base.evidence, rows: 1, positives: 1, negatives: 1 },
    },
    own,
  )
  expect(reasons).toMatchObject([
    { code: 'primary_undefined', message: 'stuck of the challenger took longer than 1 s with its resamples' },
  ])
})

/** The example model in Python, with the definition of the file in TypeScript. */
const rosesInPython = `import tenure
from tenure import between, category, complete, direct, label_after_event, number, positive_rate, postgres, row_count, unique, warn, by_time, yes_no


def cost(labels, scores, rows):
    import numpy

    return numpy.where(scores >= 0.5, 1 - labels, labels).mean()


def mean(labels, scores, rows):
    return scores.mean() + 0 * len(rows["colour"])


tenure.define_model(
    name="roses",
    features={"size": number(min=0, max=10), "colour": category(["red", "white"]), "age": number(missing="fill")},
    label=yes_no(column="blooms", positive="blooms", known_at="known_at"),
    source=postgres(rows="select id, planted_at, known_at, size, colour, age, blooms from roses", event_time="planted_at", key=["id"]),
    expect=[row_count(min=500), positive_rate(min=0.2, max=0.8), label_after_event(), unique(), warn(between("age", max=90))],
    split=by_time(train="20 d", test="10 d", matured="1 d", validation="5 d"),
    seed=1,
    hyperparameters={"epochs": 4, "batchSize": 256, "learningRate": 0.05},
    evaluation={
        "primary": "cost", "stand_in": "accuracy", "floors": {"auc": 0.7, "cost": 2}, "margin": 0.1,
        "metrics": {"cost": {"of": cost, "better": "lower"}, "mean": {"of": mean, "better": "higher"}},
        "evidence": {"rows": 300, "positives": 50, "negatives": 50}, "calibration": "off", "importance": "off",
        "slices": [{"name": "red", "where": "colour = 'red'"}],
    },
    release=direct(approval={"by": 1, "within": "1 h"}, refit="off"),
)
`

describe.skipIf(found === undefined)('an evaluation', () => {
  let deps: ActivityDeps
  let models: string
  beforeAll(async () => {
    deps = await openActivityDeps()
    models = await exampleModelDirectory()
    await insertExampleRows(deps.store, { from: 0, to: 40 })
  })
  afterAll(async () => {
    await deps.close()
    await rm(models, { recursive: true })
  })

  it('by a model file in Python has the metrics of the same file in TypeScript', async () => {
    const evaluation = `evaluation: { primary: 'cost', standIn: 'accuracy', floors: { auc: 0.7, cost: 2 }, margin: 0.1, metrics: {
      cost: { of: (y, p) => y.reduce((sum, label, row) => sum + (p[row] >= 0.5 ? 1 - label : label), 0) / y.length, better: 'lower' },
      mean: { of: (_, p) => p.reduce((sum, each) => sum + each, 0) / p.length, better: 'higher' },
    }, evidence: { rows: 300, positives: 50, negatives: 50 }, calibration: 'off', importance: 'off', slices: [{ name: 'red', where: "colour = 'red'" }] },`
    const split = `split: byTime({ train: '20 d', test: '10 d', matured: '1 d', validation: '5 d' }),`
    const scored = async (id: string) => {
      const trial = { id, model: 'roses', requestedBy: 'ada', asOf: exampleDay(35), overrides: {}, runId: id }
      await insertTrial(deps.store, trial)
      await inActivity(() =>
        scoreTrial(deps, { models })({ kind: 'trial', id, model: 'roses', trainingId: 'trn_b' } as Run),
      )
      return (await findTrial(deps.store, id))?.score
    }
    const judged = async (id: string, trainingId: string) => {
      await inActivity(() => evaluate(deps, { models })({ evaluationId: id, model: 'roses', trainingId }))
      return (await getEvaluation(deps.store, id)).report
    }
    const trained = async (id: string, seed: number, more: string) => {
      await syncExampleModel(deps.store, models, { more: `${more} ${evaluation} ${split} seed: ${seed},` })
      const { digest } = await inActivity(() => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35) }))
      await inActivity(() =>
        train(deps, { models })({ trainingId: id, model: 'roses', snapshotDigest: digest }),
      )
    }
    await trained('trn_a', 2, 'hyperparameters: { epochs: 2, batchSize: 256, learningRate: 0.02 },')
    await judged('evl_a', 'trn_a')
    const { version } = await registerTraining(deps, {
      model: 'roses',
      trainingId: 'trn_a',
      evaluationId: 'evl_a',
    })
    await deps.store.query(sql`insert into champions (model, version) values ('roses', ${version})`)
    await trained('trn_b', 1, '')
    const inTypeScript = await judged('evl_b', 'trn_b')
    const { definition } = await loadModel('roses', models)
    const scoredInTypeScript = await scored('try_a')

    await unlink(join(models, 'roses.ts'))
    await writeFile(join(models, 'roses.py'), rosesInPython)
    vi.stubEnv('PATH', `${dirname(python)}:${environmentWith({})['PATH']}`)
    const loaded = await loadModel('roses', models)
    // It trains nothing.
    expect(loaded.definition).toEqual({ ...definition, isBrought: true })
    await upsertModels(deps.store, [loaded])
    const inPython = await judged('evl_c', 'trn_b')
    // A trial of a sweep has the metric on the validation rows.
    expect(await scored('try_c')).toBeCloseTo(scoredInTypeScript!, 9)
    expect(scoredInTypeScript).not.toBe(rowsOf(inTypeScript, ['cost'])[0]?.challenger)
    const names = ['cost', 'mean']
    expect(rowsOf(inPython, names)).toEqual(rowsOf(inTypeScript, names))
    expect(rowsOf(inPython, names)).toMatchObject([
      { champion: expect.any(Number) as number, method: 'bootstrap', floorMet: true },
      { champion: expect.any(Number) as number, method: 'none', verdict: 'reported' },
    ])
    expect(inPython.verdict).toBe(inTypeScript.verdict)
    expect(inPython.reasons).toMatchObject(inTypeScript.reasons.map(({ code }) => ({ code })))
    // A file that the metrics import is code of the model, also without a training program.
    await writeFile(join(models, 'prices.py'), 'PRICE = 5\n')
    expect((await loadModel('roses', models)).codeDigest).not.toBe(loaded.codeDigest)
  })
})
