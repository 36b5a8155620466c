/** Tests which edits of a model file change its logic, so that they need an approval, and which change settings only. */
import { expect, it } from 'vitest'
import { logicOf } from '../../models/define/logic.ts'

const file = `import { defineModel, canary, percent, yesNo, csv } from 'tenure'
const limit = 3
export const churn = defineModel({
  name: 'churn',
  label: yesNo({ positive: 'left', threshold: 0.4 }),
  source: csv('data/churn.csv', { rows: 'select * from source' }),
  hyperparameters: { epochs: 30 },
  train: async ({ fit }) => fit(limit, 5),
  evaluation: {
    primary: 'auc',
    floors: { auc: 0.7 },
    slices: [{ name: 'new', where: 'tenure < 3' }],
    metrics: { cost: (rows) => rows.length * 2 },
  },
  release: canary({ stages: [percent(5)], soak: '30 min', approval: { by: 1, within: '7 d' } }),
})
`
const logic = (text: string) => logicOf('churn.ts', text)

it.each([
  ['a threshold', 'threshold: 0.4', 'threshold: 0.55'],
  ['a floor', 'auc: 0.7', 'auc: 0.72'],
  ['a new floor', 'auc: 0.7', 'auc: 0.7, brier: 0.2'],
  ['no floors', 'floors: { auc: 0.7 },', ''],
  ['a stage', 'percent(5)', 'percent(10)'],
  ['a duration', `'30 min'`, `'2 h'`],
  ['a negative number', 'auc: 0.7', 'auc: -1'],
  ['a switch', 'by: 1', 'by: 1, self: false'],
  ['a part of settings', 'release:', 'monitor: { drift: { alarm: 0.3 } },\n  release:'],
  ['a comment and a type', 'const limit = 3', 'const limit: number = 3 // three'],
])('%s is a setting', async (_, before, after) => {
  expect(file).toContain(before)
  expect(await logic(file.replace(before, after))).toBe(await logic(file))
})

it.each([
  ['a number in train', 'limit, 5', 'limit, 6'],
  ['a number outside of the model', 'limit = 3', 'limit = 4'],
  ['a hyperparameter', 'epochs: 30', 'epochs: 31'],
  ['a number in a metric function', 'length * 2', 'length * 3'],
  ['SQL of a slice', 'tenure < 3', 'tenure < 4'],
  ['SQL of the source', 'select *', 'select a'],
  ['a name', `'auc'`, `'brier'`],
  ['a call in the place of a number', 'auc: 0.7', 'auc: run()'],
  ['a function in the place of a number', 'auc: 0.7', 'auc: () => 0.7'],
  ['a computed name', 'auc: 0.7', '[run()]: 0.7'],
  ['a computed name of a constant', 'auc: 0.7', '[limit]: 0.7'],
  ['a getter', 'auc: 0.7', 'get auc() { return run() }'],
  ['a spread', 'auc: 0.7', '...run()'],
  ['the prototype', 'auc: 0.7', `'__proto__': { auc: 0.7 }`],
  ['another function of the vocabulary', 'percent(5)', 'run(5)'],
  ['code in a template', `'30 min'`, '`${run()} min`'],
  ['the class of the positive label', `'left'`, `'stayed'`],
  ['a second model', 'const limit', 'defineModel({})\nconst limit'],
  ['a second property of a name', 'metrics: {', 'slices: [], metrics: {'],
  ['a second part of a name', 'release:', 'evaluation: { slices: [] },\n  release:'],
])('%s is logic', async (_, before, after) => {
  expect(file).toContain(before)
  expect(await logic(file.replace(before, after))).not.toBe(await logic(file))
})

it.each([
  ['settings after a spread', 'evaluation: { ...strict }', 'evaluation: { ...strict, slices: [] }'],
  ['a part after a spread', '...strict', '...strict, evaluation: { slices: [] }'],
  ['a number for a function of the file', 'release: choose(1)', 'release: choose(2)'],
  ['settings for a function of the file', 'release: choose({ by: 1 })', 'release: choose({ by: 0 })'],
  ['one argument in place of two', 'release: direct(strict, 0)', 'release: direct((strict, 0))'],
])('%s is logic', async (_, before, after) => {
  const text = (part: string) => `import { defineModel, direct } from 'tenure'
import { strict, choose } from './strict.ts'
export const churn = defineModel({ name: 'churn', ${part} })`
  expect(await logic(text(before))).not.toBe(await logic(text(after)))
})

it('of a file that defines its model in another way is all of its code', async () => {
  const other = file
    .replace('import { defineModel,', 'import { defineModel as define,')
    .replace('= defineModel', '= define')
  expect(await logic(other.replace('0.7', '0.8'))).not.toBe(await logic(other))
})

const python = `import tenure
from tenure import canary, csv, percent, yes_no

limit = 3

def train(job):
    job.fit(limit, 5)

tenure.define_model(
    name="churn",
    label=yes_no(positive="left", threshold=0.4),
    source=csv("data/churn.csv", rows="select * from source"),
    hyperparameters={"epochs": 30},
    train=train,
    evaluation={"primary": "auc", "floors": {"auc": 0.7}, "slices": [{"name": "new", "where": "tenure < 3"}]},
    release=canary(stages=[percent(5)], soak="30 min", approval={"by": 1, "within": "7 d"}),
)
`
const inPython = (text: string) => logicOf('churn.py', text)
const unchanged = inPython(python)

it.each([
  ['a threshold', 'threshold=0.4', 'threshold=0.55'],
  ['no threshold', ', threshold=0.4', ''],
  ['a floor', '"auc": 0.7', '"auc": 0.72'],
  ['a new floor', '"auc": 0.7', '"auc": 0.7, "brier": -0.2'],
  ['a stage', 'percent(5)', 'percent(10)'],
  ['a duration', '"30 min"', '"2 h"'],
  ['a switch', '"by": 1', '"by": 1, "self": False'],
  ['a part of settings', 'release=', 'monitor={"drift": {"alarm": 0.3}}, release='],
  ['a comment', 'limit = 3', 'limit = 3  # three'],
])('in Python, %s is a setting', async (_, before, after) => {
  expect(python).toContain(before)
  const changed = await inPython(python.replace(before, after))
  expect(changed).toContain('Module(')
  expect(changed).toBe(await unchanged)
})

it.each([
  ['a number in train', 'limit, 5', 'limit, 6'],
  ['a number outside of the model', 'limit = 3', 'limit = 4'],
  ['a hyperparameter', '"epochs": 30', '"epochs": 31'],
  ['SQL of a slice', 'tenure < 3', 'tenure < 4'],
  ['SQL of the source', 'select *', 'select a'],
  ['a name', '"auc",', '"brier",'],
  ['a call in the place of a number', '"auc": 0.7', '"auc": run()'],
  ['a computed name', '"auc": 0.7', 'run(): 0.7'],
  ['a spread', '"auc": 0.7', '**run()'],
  ['keywords of a call', 'soak="30 min"', '**run()'],
  ['another word', 'percent(5)', 'run(5)'],
  ['code in a text', '"30 min"', 'f"{run()} min"'],
  ['a number in the place of a label', 'label=yes_no(positive="left", threshold=0.4)', 'label=5'],
  ['the class of the positive label', '"left"', '"stayed"'],
  ['a second model', 'limit = 3', 'tenure.define_model()\nlimit = 3'],
])('in Python, %s is logic', async (_, before, after) => {
  expect(python).toContain(before)
  const changed = await inPython(python.replace(before, after))
  expect(changed).toContain('Module(')
  expect(changed).not.toBe(await unchanged)
})

it('in Python, a file that does not parse is all of its text', async () =>
  expect(await inPython('def (')).toBe('def ('))
