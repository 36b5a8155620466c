/** Lists bad model files with their issues; docs/reference/bad-model-files.md is generated from this table. */
import { modelsDirectory } from '../../../models/index.ts'

export interface BadModelFile {
  title: string
  /** The name without its extension. */
  name: string
  /** The whole content of the file. */
  text: string | Buffer
  issues: string[]
  /** Path → other files in the folder. */
  more?: Record<string, string>
}

const words = `import { ab, between, canary, category, compress, csv, defineModel, direct, direction, exact, invariance, number, oneOf, percent, quantity, random, rowCount, served, yesNo } from '${modelsDirectory}define.ts'\n`
const parts: Record<string, string> = {
  features: `{ sepalLength: number({ unit: 'cm' }), petalLength: number() }`,
  label: `oneOf(['setosa', 'versicolor', 'virginica'], { column: 'species' })`,
  source: `csv('models/data/iris.csv')`,
  split: `random({ test: 0.3 })`,
  train: `async ({ tf }) => tf.sequential()`,
  evaluation: `{ floors: { accuracy: 0.6 } }`,
  release: `direct()`,
}
/** Builds a valid model file with some parts changed. */
export const modelFile = (name: string, change: Record<string, string | undefined> = {}): string =>
  `${words}export const model = defineModel({\n  name: '${name}',\n${Object.entries({ ...parts, ...change })
    .filter(([, part]) => part !== undefined)
    .map(([part, text]) => `  ${part}: ${text},\n`)
    .join('')}})\n`

const changed = (
  title: string,
  name: string,
  change: Record<string, string | undefined>,
  issues: string[],
): BadModelFile => ({ title, name, text: modelFile(name, change), issues })

const noModel = (advice: string) => [`exports: one model made with defineModel is required, not 0: ${advice}`]
const irisColumns = 'sepalLength, sepalWidth, petalLength, petalWidth, species'

export const badModelFiles: BadModelFile[] = [
  {
    title: 'an empty file',
    name: 'empty',
    text: '',
    issues: noModel('write `export const empty = defineModel({ … })`'),
  },
  {
    title: 'a syntax error',
    name: 'syntax',
    text: modelFile('syntax').replace("'syntax',", "'syntax'"),
    issues: ['line 4: the code cannot be parsed: Expected "}" but found "features"'],
  },
  {
    title: 'a file that is cut off',
    name: 'cut-off',
    text: modelFile('cut-off').slice(0, -30),
    issues: ['line 9: the code cannot be parsed: Expected "}" but found end of file'],
  },
  changed(
    'a computed feature that is not declared, and a field that is a feature',
    'prepare-names',
    {
      prepare: `{ fields: { petalLength: number() }, columns: { ratio: 'petalLength / 2' } }`,
    },
    [
      'prepare.fields.petalLength: is a feature already, which expressions may read: leave it out here',
      'prepare.columns.ratio: is not a feature: declare ratio in features, with its type',
    ],
  ),
  changed(
    'a computed feature that reads other rows',
    'prepare-rows',
    { prepare: `{ columns: { sepalLength: 'petalLength / avg(petalLength)' } }` },
    [
      'prepare.columns.sepalLength: calls avg(), which reads more than one row: compute it in the source, or look it up',
    ],
  ),
  {
    title: 'a model that is not exported',
    name: 'unexported',
    text: modelFile('unexported').replace('export const', 'const'),
    issues: noModel('write `export const unexported = defineModel({ … })`'),
  },
  {
    title: 'a function in place of the model',
    name: 'function',
    text: modelFile('function').replace('export const model =', 'export default () =>'),
    issues: noModel('default is a function: export what defineModel returns'),
  },
  {
    title: 'an async function as the default export',
    name: 'async',
    text: modelFile('async').replace('export const model =', 'export default async () =>'),
    issues: noModel('default is a function: export what defineModel returns'),
  },
  {
    title: 'a promise of the model',
    name: 'promise',
    text: modelFile('promise')
      .replace('export const model =', 'export default Promise.resolve(')
      .replace(/\n$/, ')\n'),
    issues: noModel('default is a promise: export its result, with await'),
  },
  {
    title: 'two models in one file',
    name: 'two',
    text: `${modelFile('two')}${modelFile('two').replace(words, '').replace('model =', 'other =')}`,
    issues: [
      'exports: one model made with defineModel is required, not 2: move all but one of model, other into files of their own',
    ],
  },
  {
    title: 'the name of another file',
    name: 'other-name',
    text: modelFile('iris'),
    issues: ['name: "iris" must be in iris.ts, not in other-name.ts'],
  },
  {
    title: 'a file name with capitals',
    name: 'Capitals',
    text: modelFile('Capitals'),
    issues: ['name: up to 63 lower-case letters, digits and hyphens, beginning with a letter'],
  },
  {
    title: 'defineModel without an object',
    name: 'nothing',
    text: `${words}export const model = defineModel(undefined)\n`,
    issues: ['defineModel: one object is required, with name, features, label and more, not undefined'],
  },
  changed(
    'wrong types',
    'types',
    {
      features: `{ sepalLength: 'number', petalLength: number('cm'), species: category('red') }`,
      label: `'species'`,
      source: `'models/data/iris.csv'`,
      split: '0.3',
      train: `'train.ts'`,
      evaluation: '0.9',
      release: `'direct'`,
      retrain: `'weekly'`,
    },
    [
      "train: a function is required, or python('train.py'), command(['Rscript', 'train.R']) or queue('gpu')",
      'label: yesNo(…), oneOf(…), quantity(…), quantities(…) or quantiles(…) is required, not "species"',
      'source: csv(…), parquet(…), postgres(…), program(…) or served(…) is required, not "models/data/iris.csv"',
      'split: byTime(…), random(…) or stratified(…) is required, not 0.3',
      'evaluation: an object such as { floors: { auc: 0.8 } } is required, not 0.9',
      'release: canary(…), direct() or another strategy is required, not "direct"',
      'features.sepalLength: made with number(), category(), text(), vector() or image()',
      'features.petalLength: options are required, as in number({ min: 0 }), not a text',
      `features.species: options are required, as in category(['red', 'white']), not a text`,
      `retrain: has the wrong shape: { every: '1 week' } or { cron: '0 3 * * 1' } is required, not "weekly"`,
    ],
  ),
  changed(
    'a compression of what cannot be compressed',
    'compressed',
    { retrain: `{ every: '1 week', then: compress('fewer-trees', { trees: 0.5, epsilon: 0.01 }) }` },
    [
      'retrain.then: may have a whole number of trees, from 1 on, to fewer-trees alone',
      'retrain.then: a network cannot be compressed to fewer-trees',
    ],
  ),
  changed('parts that are missing', 'missing', { label: undefined, release: undefined }, [
    'label: is missing',
    'release: is missing',
  ]),
  changed('a misspelled part', 'part', { evaluation: undefined, evalution: '{}' }, [
    'part: has no field evalution: did you mean evaluation?',
    'evaluation: is missing',
  ]),
  changed(
    'unknown options',
    'options',
    {
      features: `{ sepalLength: number({ minimum: 0 }), petalLength: number() }`,
      label: `oneOf(['setosa', 'versicolor', 'virginica'], { colum: 'species' })`,
      source: `csv('models/data/iris.csv', { keys: ['id'] })`,
      split: `random({ test: 0.3, seed: 3 })`,
      expect: `[rowCount({ minimum: 5 })]`,
      evaluation: `{ floors: { accuracy: 0.6 }, evidence: { row: 5 }, cost: { p99: 0.5, processor: 0, memry: 2 } }`,
      release: `canary({ stages: [percent(5, { soack: '1 min' })], aproval: { by: 2, within: '1 d' } })`,
      retrain: `{ every: '1 d', evry: '2 d' }`,
      monitor: `{ outcomeWithin: '1 d', quality: { warn: 0.9, alarm: 0.8, warning: 0.9, metrics: { f1: { alarm: 0.5 }, accuracy: { warn: 0.9 }, macroF1: { warn: 0.6, alarm: 0.7, critical: 1 } } }, cost: { unit: '€', procesorHour: 1 } }`,
    },
    [
      'features.sepalLength: has the fields missing, column, about, unit, min, max, outside, not minimum',
      'label: has no field colum: did you mean column?',
      'source: has no field keys: did you mean key?',
      'expect[0] (rows): min or max is required',
      'expect[0] (rows): has the fields min, max, not minimum',
      'split: has the fields test, validation, not seed',
      'evaluation.evidence: has no field row: did you mean rows?',
      'evaluation.cost: has no field memry: did you mean memory?',
      'release: has no field aproval: did you mean approval?',
      'release.stages[0]: has no field soack: did you mean soak?',
      'evaluation.cost.p99: a number from 1 to 1000 is required, not 0.5',
      'evaluation.cost.processor: a number from 1 to 1000 is required, not 0',
      'retrain: has no field evry: did you mean every?',
      'monitor: has no field outcomeWithin: did you mean outcomesWithin?',
      'monitor.quality: has the fields warn, alarm, metrics, not warning',
      'monitor.quality.metrics.macroF1: has the fields warn, alarm, not critical',
      'monitor.cost: has no field procesorHour: did you mean processorHour?',
      'monitor: cost.perPrediction is required, or processorHour and gibHour, at which it is measured',
      'monitor.quality.metrics: a multiclass model has the metrics accuracy, logLoss, brier, macroF1, not f1',
      'monitor.quality.metrics: accuracy is the primary metric: write its limits as quality.warn and quality.alarm',
      'monitor.quality.metrics.macroF1: of macroF1, a lower value is worse, so alarm (0.7) is not above warn (0.6)',
    ],
  ),
  changed('no features', 'no-features', { features: '{}' }, ['features: at least one is required']),
  changed(
    'a label that the file lacks',
    'no-label',
    { label: `yesNo({ column: 'blooms', positive: 'blooms' })`, evaluation: '{ floors: { auc: 0.6 } }' },
    [
      `models/data/iris.csv, line 1: there is no column "blooms", the label, among ${irisColumns}: rename the column, or correct the name in the model file`,
    ],
  ),
  changed('a subject that the file lacks', 'no-subject', { subject: `'person'` }, [
    `models/data/iris.csv, line 1: there is no column "person", which subject names, among ${irisColumns}: rename the column, or correct the name in the model file`,
  ]),
  changed(
    'a feature that the file lacks',
    'no-column',
    { features: '{ sepalLength: number(), petal_length: number() }' },
    [
      `models/data/iris.csv, line 1: there is no column "petal_length", a feature, among ${irisColumns}: rename "petalLength", or correct the name in the model file`,
    ],
  ),
  changed(
    'an expectation on a column that the file lacks',
    'no-expected',
    { expect: `[rowCount({ min: 1 }), between('width', { min: 0 })]` },
    [
      `models/data/iris.csv, line 1: there is no column "width", which expect[1] (between) names, among ${irisColumns}: rename the column, or correct the name in the model file`,
    ],
  ),
  changed(
    'a slice of a column that the file lacks',
    'no-slice',
    {
      evaluation: `{ floors: { accuracy: 0.6 }, slices: [{ name: 'short', where: 'petalLength < 2' }, { name: 'wide', where: 'width > 3' }] }`,
    },
    [
      `evaluation.slices: "wide" (width > 3): there is no column "width", which this SQL names, among ${irisColumns}: rename the column, or correct the name in the model file`,
    ],
  ),
  changed(
    'a slice that is no SQL',
    'bad-slice',
    {
      evaluation: `{ floors: { accuracy: 0.6 }, slices: [{ name: 'wide', where: 'sepalWidth >' }] }`,
    },
    ['evaluation.slices: "wide" (sepalWidth >): Parser Error: syntax error at or near ")"'],
  ),
  changed(
    'a business metric of a column that is no feature',
    'no-value',
    {
      monitor: `{ business: { name: 'saved', unit: '$', perPrediction: 'case when predicted = outcome then sepalWidth else 0 end' } }`,
    },
    [
      'monitor.business.perPrediction: there is no column "sepalWidth", which this SQL names, among sepalLength, petalLength, prediction, predicted, outcome: rename the column, or correct the name in the model file',
    ],
  ),
  changed(
    'served requests without the column of a group',
    'no-group',
    {
      label: `yesNo({ positive: 'setosa', column: 'outcome' })`,
      source: 'served()',
      evaluation: `{ floors: { auc: 0.6 }, groups: ['age'] }`,
    },
    [
      'source: there is no column "age", which evaluation.groups names, among sepalLength, petalLength, prediction_id, asked_at, known_at, outcome, answer, version, arm, selection_weight: served requests have these columns and no others of a former source: name one of them, or make the column of them with derive',
    ],
  ),
  changed(
    'words that could never judge a number',
    'never-judged',
    {
      label: `quantity({ column: 'sepalWidth' })`,
      evaluation: `{ floors: { rmse: 1 }, groups: ['species'], fairness: { selectionRatio: 0.9 } }`,
      release: `ab({ split: percent(50), metric: 'accuracy', limits: { nonInferiority: { margin: 0.02, logE: 3 } } })`,
    },
    [
      'evaluation.fairness.selectionRatio: no answer selects or names a class: write errorDifference',
      'release: limits.nonInferiority needs requests that both versions answer: add a shadow, or leave it out',
      "release: ab.metric: a number is not right or wrong: write metric: 'loss'",
    ],
  ),
  changed(
    'yesNo on a text',
    'text-label',
    { label: `yesNo({ column: 'species', positive: 'setosa' })`, evaluation: '{ floors: { auc: 0.6 } }' },
    [
      'models/data/iris.csv, line 2, column "species": `setosa` is neither true nor false: write true or false, yes or no, 1 or 0; oneOf([…]) declares a label of several classes',
    ],
  ),
  changed(
    'the label among the features',
    'own-label',
    { features: `{ sepalLength: number(), species: category() }` },
    ['label.column: species is also a feature: the model would see its label'],
  ),
  {
    title: 'an error while it is loaded',
    name: 'throws',
    text: `${words}\ninterface Soil { depth: number }\nconst soil = undefined as unknown as Soil\n${modelFile('throws', { seed: 'soil.depth' }).split('\n').slice(1).join('\n')}`,
    issues: [`line 14: it throws while it is loaded: Cannot read properties of undefined (reading 'depth')`],
  },
  {
    title: 'an error that nothing catches',
    name: 'rejects',
    text: `${modelFile('rejects')}void Promise.reject(new Error('no soil'))\n`,
    issues: ['line 12: it throws while it is loaded: no soil'],
  },
  {
    title: 'a file of its own that is missing',
    name: 'no-data',
    text: `import { readFileSync } from 'node:fs'\nreadFileSync('/nowhere/roses.json')\n${modelFile('no-data')}`,
    issues: [
      `line 2: it throws while it is loaded: ENOENT: no such file or directory, open '/nowhere/roses.json'`,
    ],
  },
  {
    title: 'a word that is not imported',
    name: 'no-import',
    text: modelFile('no-import', { expect: '[complete("all")]' }),
    issues: ['line 11: complete is not defined: import it, or correct the name'],
  },
  {
    title: 'a word that does not exist',
    name: 'no-word',
    text: modelFile('no-word').replace('yesNo }', 'yesno }').replace('oneOf([', 'yesno(['),
    issues: ['line 1: define.ts exports no yesno: did you mean yesNo?'],
  },
  {
    title: 'a word of another library for free text',
    name: 'text-word',
    text: modelFile('text-word', { features: `{ note: string() }` }).replace(
      'import { ',
      'import { string, ',
    ),
    issues: [
      'line 1: define.ts exports no string: text() is a feature of free text, category() one of a few values, and vector(n) one of the numbers of an embedding',
    ],
  },
  changed(
    'a feature of a kind of another library',
    'text-feature',
    { features: `{ petalLength: number(), note: { kind: 'string' } }` },
    [
      'features.note: made with number(), category(), text(), vector() or image(): text() is a feature of free text, category() one of a few values, and vector(n) one of the numbers of an embedding',
    ],
  ),
  changed(
    'an image and a vector that a network would take, without their sizes',
    'media-limits',
    { features: `{ scan: { kind: 'image', maxBytes: 1e9 }, embedding: { kind: 'vector' } }` },
    [
      'features.scan.maxBytes: a whole number from 1 to 2000000 is required, not 1000000000',
      'features.embedding.length: a whole number from 1 to 10000 is required, not null',
      'features.scan: a network of TensorFlow.js takes no image(): train with python(…) and job.save, or bring a model that takes it',
      'features.embedding: a network of TensorFlow.js takes no vector(): train with python(…) and job.save, or bring a model that takes it',
    ],
  ),
  changed(
    'a text that a network would take, without a length',
    'text-limits',
    { features: `{ petalLength: number(), note: { kind: 'text', maxLength: 0 } }` },
    [
      'features.note.maxLength: a whole number from 1 to 100000 is required, not 0',
      'features.note: a network of TensorFlow.js takes no text(): train with python(…) and job.save, or bring a model that takes it',
    ],
  ),
  {
    title: 'an import of a package that is not installed',
    name: 'no-package',
    text: `import { chunk } from 'lodash-es'\n${modelFile('no-package', { seed: 'chunk([1]).length' })}`,
    issues: [
      'line 1: the package "lodash-es" is not installed: run `npm install lodash-es`, or remove the import',
    ],
  },
  {
    title: 'an import of a file that is not there',
    name: 'no-file',
    text: `import { seed } from './shared/seed.ts'\n${modelFile('no-file', { seed: 'seed' })}`,
    issues: ['no-file.ts imports "shared/seed.ts", and there is no such file: correct the path'],
  },
  {
    title: 'files that import each other',
    name: 'circle',
    text: `import { features } from './shared/features.ts'\nexport const seed = 7\n${modelFile('circle', { features: 'features', seed: 'seed' })}`,
    more: {
      'shared/features.ts': `import { seed } from '../circle.ts'\nexport const features = { seed }\n`,
    },
    issues: [
      'circle.ts imports shared/features.ts imports circle.ts: move what these files share into another file',
    ],
  },
  {
    title: 'a CommonJS file',
    name: 'commonjs',
    text: `const { defineModel } = require('${modelsDirectory}define.ts')\nmodule.exports = defineModel({})\n`,
    issues: ['line 1: require belongs to CommonJS: write `import … from …` and `export const …`'],
  },
  {
    title: 'an enum',
    name: 'enumerated',
    text: `enum Kind { one }\n${modelFile('enumerated', { seed: 'Kind.one' })}`,
    issues: ['line 1: TypeScript enum is not supported: only the types of a model file are removed'],
  },
  {
    title: 'a type that is imported like a value',
    name: 'type-import',
    text: modelFile('type-import').replace('import { ', 'import { RowOf, '),
    issues: ['line 1: define.ts exports RowOf as a type: write `type RowOf`'],
  },
  {
    title: 'Latin-1',
    name: 'latin',
    text: Buffer.from(modelFile('latin', { label: `oneOf(['weiß', 'rot'])` }), 'latin1'),
    issues: ['line 5: the text is not encoded as UTF-8: save the file as UTF-8'],
  },
  {
    title: 'ten megabytes',
    name: 'large',
    text: `${modelFile('large')}export const rows = [${'0.123456789, '.repeat(770_000)}]\n`,
    issues: [
      'the file has 10.0 MB, at most 1 MB is allowed: keep rows in a file below models/data, and read them with csv(…) or parquet(…)',
    ],
  },
  changed(
    'behaviour tests that cannot be run',
    'behaviour',
    {
      tests: `[
    exact('a small flower', { row: { sepalLength: 5 }, answer: 'rose' }),
    invariance('the colour', { column: 'colour', to: ['red'] }),
    direction('a longer petal', { column: 'petalLength', by: -1, never: 'higher' }),
  ]`,
    },
    [
      'tests[0].row: petalLength is a finite number',
      'tests[0].answer: one of setosa, versicolor, virginica is required, not "rose"',
      'tests[1].column: "colour" is not a feature: the features are sepalLength, petalLength',
      'tests[2].by: a number above 0, or a list of them, is required, not -1',
      'tests[2].of: the class whose probability is meant is required, one of setosa, versicolor, virginica',
    ],
  ),
  changed('NUL in a text', 'nul', { about: `'rose\\0'` }, [
    'model: a text has NUL or an incomplete character, which cannot be stored',
  ]),
  {
    title: 'process.exit',
    name: 'exits',
    text: `${modelFile('exits')}process.exit(3)\n`,
    issues: ['line 12: process.exit(3) ends the process that runs the file: remove the call'],
  },
  {
    title: 'the end of its process by other means',
    name: 'kills',
    text: `${modelFile('kills')}process.kill(process.pid, 'SIGKILL')\nawait new Promise(() => {})\n`,
    issues: ['it ended the process that loaded it (SIGKILL)'],
  },
  {
    title: 'an endless loop',
    name: 'loops',
    text: `${modelFile('loops')}for (;;) {}\n`,
    issues: [
      'it was not loaded within 4 s: an endless loop, or an `await` that never ends, outside of `train`',
    ],
  },
  {
    title: 'a promise that never ends',
    name: 'waits',
    text: `${modelFile('waits')}await new Promise(() => {})\n`,
    issues: [
      'it was not loaded within 4 s: an endless loop, or an `await` that never ends, outside of `train`',
    ],
  },
]
