/** Generates the text of a model file, in TypeScript or Python, from the columns of its CSV. */
import { inferMatured, momentIn, type InferredColumn } from '../../domain/project/infer-columns.ts'
import { readFlag } from '../../domain/values/readings.ts'
import { periodsOf } from '../../models/define/data/query.ts'

export type Language = 'typescript' | 'python'

export interface ModelPlan {
  language: Language
  /** The name of the model. */
  name: string
  /** Path of the CSV in the project. */
  file: string
  columns: readonly InferredColumn[]
  label: InferredColumn
  time?: InferredColumn
  /** The time at which the label became known. */
  knownAt?: InferredColumn
  /** Path of the release policy, relative to the model file. */
  policy: string
  /** A comment on the label. */
  note?: string
  /** Whether most rows have the same features as another one. */
  repeats?: boolean
  split: PlannedSplit
}

/** The split, with the rows of the file that it would take. */
export interface PlannedSplit {
  word: 'byTime' | 'random' | 'stratified'
  options: Readonly<Record<string, string | number>>
  /** The age at which the labels of all classes are known; absent where no class becomes known later. */
  matured?: string
  /** The labelled rows of all parts. */
  rows: number
  testRows: number
}

const testShare = 0.25
/** From this share of the most frequent class, accuracy says little about the others. */
const mostlyOneClass = 0.8
/** The split uses the largest unit of time that the data spans at least this many times; fewer units would leave too few rows to train. */
const minUnits = 4
const units = { d: 86_400_000, h: 3_600_000, min: 60_000, s: 1_000 } as const
/** Names that the file cannot declare: reserved words of JavaScript and imported names. */
const reserved = new Set(
  `arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for function
if implements import in instanceof interface let new null package private protected public return static super switch this throw true try
typeof undefined var void while with yield by byTime category complete csv defineModel number oneOf quantity random release rowCount stratified
yesNo`.split(/\s+/),
)

/** How a language writes the parts of a model file. */
interface Syntax {
  quote(text: string): string
  /** A query, in which quotes are frequent. */
  sql(text: string): string
  /** The name of an option or a word. */
  name(name: string): string
  call(word: string, given: readonly string[], options?: Readonly<Record<string, string | undefined>>): string
  /** An object with fields; `own`: its names belong to the model file. */
  fields(fields: Readonly<Record<string, string>>, own?: 'own'): string
  comment: '//' | '#'
}

const given = (options: Readonly<Record<string, string | undefined>>): [string, string][] =>
  Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))

const typescript: Syntax = {
  /** A literal in single quotes. */
  quote: (text) => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`,
  sql: (text) =>
    JSON.stringify(text).includes('`')
      ? JSON.stringify(text)
      : `\`${text.replaceAll('\\', '\\\\').replaceAll('${', '\\${')}\``,
  name: (name) => name,
  call: (word, positional, options = {}) => {
    const all = given(options)
    const last = all.length === 0 ? [] : [typescript.fields(Object.fromEntries(all))]
    return `${word}(${[...positional, ...last].join(', ')})`
  },
  fields: (fields) =>
    `{ ${Object.entries(fields)
      .map(([name, value]) => `${name}: ${value}`)
      .join(', ')} }`,
  comment: '//',
}

const python: Syntax = {
  quote: (text) => JSON.stringify(text),
  sql: (text) => (/\\|'''/.test(text) ? JSON.stringify(text) : `'''${text}'''`),
  name: (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  call: (word, positional, options = {}) =>
    `${python.name(word)}(${[...positional, ...given(options).map(([name, value]) => `${python.name(name)}=${value}`)].join(', ')})`,
  fields: (fields, own) =>
    `{${Object.entries(fields)
      .map(([name, value]) => `${JSON.stringify(own === undefined ? python.name(name) : name)}: ${value}`)
      .join(', ')}}`,
  comment: '#',
}

const { quote } = typescript
const rounded = (value: number, digits = 3): number => Number(value.toPrecision(digits))

export const modelText = (plan: ModelPlan): string =>
  plan.language === 'python' ? pythonText(plan) : typescriptText(plan)

/** The parts of the file, in its language. */
function partsOf(plan: ModelPlan, syntax: Syntax) {
  const { label, columns, split } = plan
  const parts = labelParts(label, plan.knownAt, syntax)
  const features = columns.filter((each) => each !== label && each.use !== 'none' && each.use !== 'time')
  const omitted = columns.flatMap((each) => {
    const why = whyOmitted(each, plan)
    return why === undefined ? [] : [inComment(`${each.column || '(no name)'}: ${why}`)]
  })
  const words = [
    ...new Set(['complete', 'csv', 'rowCount', parts.word, split.word]),
    ...(features.some(isNumber) ? ['number'] : []),
    ...(features.every(isNumber) ? [] : ['category']),
  ]
  const testRows = Math.floor(split.testRows * 0.8)
  const rare =
    label.use === 'flag'
      ? Math.floor(testRows * Math.min(label.positives, 1 - label.positives) * 0.7)
      : testRows
  const least = String(Math.max(1, Math.min(100, label.use === 'flag' ? rare : 10)))
  const minRows = String(Math.max(1, Math.floor(split.rows * 0.5)))
  return {
    ...parts,
    words,
    features: features.map((each) => [each.name, featureText(each, syntax)] as const),
    leftOut: omitted.length === 0 ? undefined : `Left out: ${omitted.join('; ')}.`,
    note: plan.note === undefined ? undefined : inComment(plan.note),
    source: sourceText(plan, features, syntax),
    remark: remarkOf(plan, syntax),
    expect: `[${syntax.call('rowCount', [], { min: minRows })}, ${syntax.call('complete', [`[${syntax.quote(label.name)}]`])}]`,
    split: syntax.call(
      split.word,
      [],
      Object.fromEntries(
        Object.entries(split.options).map(([name, value]) => [
          name,
          typeof value === 'number' ? String(value) : syntax.quote(value),
        ]),
      ),
    ),
    floors: syntax.fields({ [parts.floor.metric]: String(parts.floor.least) }, 'own'),
    evidence: syntax.fields({
      rows: String(Math.max(1, Math.min(1_000, testRows))),
      ...(label.use !== 'number' && { positives: least, negatives: least }),
    }),
  }
}

const aboutFloors =
  'Every version must reach this floor. It is about what guessing reaches: set what your users need.'

function typescriptText(plan: ModelPlan): string {
  const { name, label } = plan
  const parts = partsOf(plan, typescript)
  const camel = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
  const constant = reserved.has(camel) ? `${camel}Model` : camel
  return `/** Predicts ${inComment(label.column)} from the rows of ${inComment(plan.file)}. \`tenure init\` wrote it from their first rows: correct what it could not know. */
import { ${['defineModel', ...parts.words].sort().join(', ')} } from 'tenure'
import { release } from ${quote(plan.policy)}

export const ${constant} = defineModel({
  name: ${quote(name)},
  about: ${quote(`Predicts ${label.column}.`)},
  // What a request sends. \`missing: 'fill'\` lets a value be null.${parts.leftOut === undefined ? '' : `\n  // ${parts.leftOut}`}
  features: {
${parts.features.map(([feature, text]) => `    ${feature}: ${text},`).join('\n')}
  },
${parts.note === undefined ? '' : `  // ${parts.note}\n`}  label: ${parts.label},
  source: ${parts.source},${parts.remark === undefined ? '' : `\n  // ${parts.remark}`}
  // A training stops when one of these fails.
  expect: ${parts.expect},
  split: ${parts.split},
  hyperparameters: { units: 16, epochs: ${epochsFor(label.rows)}, batchSize: ${label.rows > 5_000 ? 64 : 16}, learningRate: 0.01 },
  train: async ({ tf, inputs, outputs, seed, hyperparameters, fit }) => {
    const { units, epochs, batchSize, learningRate } = hyperparameters
    const kernel = (layer: number) => tf.initializers.glorotUniform({ seed: seed + layer })
    const network = tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [inputs], units, activation: 'relu', kernelInitializer: kernel(0) }),
        tf.layers.dense({ units: outputs, ${parts.activation}kernelInitializer: kernel(1) }),${parts.scaling}
      ],
    })
    network.compile({ optimizer: tf.train.adam(learningRate), loss: ${quote(parts.loss)} })
    await fit(network, { epochs, batchSize })
    return network
  },
  evaluation: {
    // ${aboutFloors}
    floors: ${parts.floors},
    evidence: ${parts.evidence},
    calibration: 'off',
  },
  release,
})
`
}

/** The packages of a model file in Python, beside it. */
export const pythonRequirements = `lightgbm==4.7.0
numpy==2.4.6
pandas==3.1.1
pyarrow==26.0.1
`
export const requirementsFile = 'requirements.txt'

function pythonText(plan: ModelPlan): string {
  const { name, label } = plan
  const parts = partsOf(plan, python)
  const words = ['canary', 'percent', 'python', ...parts.words.map(python.name)].sort()
  return `# Predicts ${inComment(label.column)} from the rows of ${inComment(plan.file)}. \`tenure init\` wrote it from their first rows: correct what it could not know.
import tenure
from tenure import ${words.join(', ')}


def train(job):
    # A package of ${requirementsFile}, which only a training has.
    import lightgbm as lgb

    X, y = job.train()
    rounds = job.hyperparameters["rounds"]
    parameters = {
        ${parts.objective},
        "learning_rate": job.hyperparameters["learning_rate"],
        "num_leaves": job.hyperparameters["leaves"],
        "seed": job.seed,
        "deterministic": True,
        "verbose": -1,
    }
    report = lambda env: job.progress(env.iteration + 1, rounds)
    job.save_lightgbm(lgb.train(parameters, lgb.Dataset(X, y), rounds, callbacks=[report]))


tenure.define_model(
    name=${python.quote(name)},
    about=${python.quote(`Predicts ${label.column}.`)},
    # What a request sends. missing="fill" lets a value be null.${parts.leftOut === undefined ? '' : `\n    # ${parts.leftOut}`}
    features={
${parts.features.map(([feature, text]) => `        ${python.quote(feature)}: ${text},`).join('\n')}
    },
${parts.note === undefined ? '' : `    # ${parts.note}\n`}    label=${parts.label},
    source=${parts.source},${parts.remark === undefined ? '' : `\n    # ${parts.remark}`}
    # A training stops when one of these fails.
    expect=${parts.expect},
    split=${parts.split},
    hyperparameters={"rounds": 100, "learning_rate": 0.1, "leaves": 15},
    train=python(train, requirements=${python.quote(requirementsFile)}),
    evaluation={
        # ${aboutFloors}
        "floors": ${parts.floors},
        "evidence": ${parts.evidence},
        "calibration": "off",
    },
    # by=0 releases the versions after the first one without an approver, also at night.
    release=canary(stages=[percent(10), percent(50)], soak="30 min", approval={"by": 1, "within": "7 d"}),
)
`
}

function whyOmitted(column: InferredColumn, { time, knownAt }: ModelPlan): string | undefined {
  if (column.use === 'none') return column.why
  if (column.use !== 'time' || column === time || column === knownAt) return undefined
  return time === undefined || knownAt !== undefined
    ? 'it holds times'
    : 'it holds times. If they are when the label became known, select it in `rows` and name it as `knownAt` of the label'
}

const epochsFor = (rows: number): number => (rows <= 1_000 ? 40 : rows <= 20_000 ? 10 : 3)

/**
 * Whether the column is a number. Zeros and ones are numbers, and True and False, which Parquet and requests write as true and false; other
 * yes/no values are sent as the text in the file.
 */
export const isNumber = (column: InferredColumn): boolean =>
  column.use === 'number' ||
  (column.use === 'flag' &&
    (column.values.every((value) => Number.isFinite(Number(value))) ||
      column.values.every((value) => /^(true|false)$/i.test(value) && value !== value.toLowerCase())))

const inComment = (text: string): string => text.replace(/\s+/g, ' ').replaceAll('*/', '* /')

function featureText(column: InferredColumn, { quote, call }: Syntax): string {
  const more = {
    column: column.column === column.name ? undefined : quote(column.column),
    missing: column.missing > 0 ? quote('fill') : undefined,
  }
  if (isNumber(column)) return call('number', [], more)
  const values = column.use === 'category' || column.use === 'flag' ? column.values.map(quote) : []
  const list = `[${values.join(', ')}]`
  return given(more).length === 0 ? call('category', [list]) : call('category', [], { values: list, ...more })
}

function labelParts(label: InferredColumn, knownAt: InferredColumn | undefined, { quote, call }: Syntax) {
  const columns = {
    column: quote(label.name),
    knownAt: knownAt === undefined ? undefined : quote(knownAt.name),
  }
  if (label.use === 'flag')
    return {
      word: 'yesNo',
      label: call('yesNo', [], { ...columns, positive: quote(label.name) }),
      activation: `activation: 'sigmoid', `,
      scaling: '',
      loss: 'binaryCrossentropy',
      objective: '"objective": "binary"',
      floor: { metric: 'auc', least: 0.55 },
    }
  if (label.use === 'category')
    return {
      word: 'oneOf',
      label: call('oneOf', [`[${label.values.map(quote).join(', ')}]`], columns),
      activation: `activation: 'softmax', `,
      scaling: '',
      loss: 'categoricalCrossentropy',
      objective: '"objective": "multiclass",\n        "num_class": len(job.classes)',
      floor: floorOfClasses(label),
    }
  const { mean, std } = label.use === 'number' ? label : { mean: 0, std: 1 }
  const constant = (value: number) => `tf.initializers.constant({ value: ${rounded(value)} })`
  return {
    activation: '',
    word: 'quantity',
    label: call('quantity', [], columns),
    scaling: `
        // Scales the output around 0 to the label, with the mean and spread of the first rows.
        tf.layers.dense({ units: 1, trainable: false, kernelInitializer: ${constant(std)}, biasInitializer: ${constant(mean)} }),`,
    loss: 'meanSquaredError',
    objective: '"objective": "regression"',
    floor: { metric: 'rmse', least: rounded(std) },
  }
}

/**
 * The accuracy that guessing the most frequent class reaches. Where that class is most of the rows, a model that knows no other one would
 * pass, so the floor is just above what guessing reaches in macro F1.
 */
function floorOfClasses({ largest, values }: { largest: number; values: readonly string[] }): {
  metric: string
  least: number
} {
  if (largest < mostlyOneClass) return { metric: 'accuracy', least: rounded(largest, 2) }
  const guessed = (2 * largest) / ((1 + largest) * values.length)
  return { metric: 'macroF1', least: Math.ceil(100 * guessed + 1) / 100 }
}

/** Generates the source. Renames in SQL the columns whose names a model file cannot use. */
function sourceText(
  { file, columns, label, time, knownAt, repeats }: ModelPlan,
  features: readonly InferredColumn[],
  syntax: Syntax,
): string {
  const { quote, call, comment } = syntax
  const times = [time, knownAt].filter((each) => each !== undefined)
  /** The text that stands for true, where the reader of rows would not read it so. */
  const yes = label.use === 'flag' && readFlag(label.yes) === undefined ? label.yes : undefined
  const used = [...times, ...features, label]
  const isPlain =
    [...times, label].every(({ column, name }) => column === name) &&
    time === undefined &&
    label.missing === 0 &&
    yes === undefined
  // Without a key, rows with the same features are one row for the split.
  const key = columns.find((each) => each.use === 'none' && each.isKey === true)
  const rowNumber = used.some((each) => each.name === 'row_number') ? 'row_of_file' : 'row_number'
  const numbered = key === undefined && time === undefined && repeats === true
  if (isPlain && !numbered && (key === undefined || key.column === key.name))
    return call('csv', [quote(file)], { key: key && `[${quote(key.name)}]` })
  const identifier = (column: string) => `"${column.replaceAll('"', '""')}"`
  const timeOf = (each: InferredColumn) => {
    if (each.use !== 'time') return `${identifier(each.column)}::timestamp`
    if (each.hasOffset) return `(${identifier(each.column)}::timestamptz at time zone 'UTC')`
    const text = `${identifier(each.column)}::varchar`
    // The reader may have read the dates of a column already.
    return each.format === undefined
      ? `${identifier(each.column)}::timestamp`
      : `coalesce(try_strptime(${text}, '${each.format}'), ${text}::timestamp)`
  }
  const selected = [
    ...(numbered ? [`row_number() over () as ${rowNumber}`] : []),
    ...used.map((each) => {
      if (each === label && yes !== undefined)
        return `${identifier(each.column)} = '${yes.replaceAll("'", "''")}' as "${each.name}"`
      const value = times.includes(each) ? timeOf(each) : identifier(each.column)
      // Quoted, because a name such as Order is an SQL keyword.
      return value === `"${each.name}"` ? value : `${value} as "${each.name}"`
    }),
    ...(key === undefined
      ? []
      : [key.column === key.name ? identifier(key.column) : `${identifier(key.column)} as "${key.name}"`]),
  ]
  const labelled = label.missing === 0 ? '' : ` where ${identifier(label.column)} is not null`
  const rows = `select ${selected.join(', ')} from source${labelled}`
  const isPython = comment === '#'
  const option = (name: string, value: string) => `${syntax.name(name)}${isPython ? '=' : ': '}${value},`
  const options = [
    ...(isPython ? [`${quote(file)},`] : []),
    ...(time === undefined ? [] : [option('eventTime', quote(time.name))]),
    ...(key === undefined ? [] : [option('key', `[${quote(key.name)}]`)]),
    ...(numbered
      ? [
          `${comment} Most rows repeat, so their numbers keep them apart in the split.`,
          option('key', `[${quote(rowNumber)}]`),
        ]
      : []),
    option('rows', syntax.sql(rows)),
  ]
  const margin = isPython ? '    ' : '  '
  return [
    isPython ? 'csv(' : `csv(${quote(file)}, {`,
    ...options.map((each) => `${margin}${margin}${each}`),
    `${margin}${isPython ? ')' : '})'}`,
  ].join('\n')
}

/** What a CSV cannot tell about the labels. */
function remarkOf({ time, knownAt, split }: ModelPlan, { name }: Syntax): string | undefined {
  if (time === undefined) return undefined
  if (knownAt === undefined)
    return `Labels count as known at ${time.name}. Set \`${name('knownAt')}\` of the label to change this.`
  return split.matured !== undefined
    ? 'One class becomes known later than another: `matured` leaves out rows younger than 99 % of the delays.'
    : 'Where one class becomes known later than the other, also set `matured` of the split.'
}

/**
 * Plans the split; for rows with times, the last quarter of those with mature labels tests. Counts the rows of a training as of `asOf`, so that
 * the checks of the model file pass for it.
 */
export function planSplit(
  { columns, label, time, knownAt }: Pick<ModelPlan, 'columns' | 'label' | 'time' | 'knownAt'>,
  rows: readonly (readonly string[])[],
  { asOf, isCut }: { asOf: string | undefined; isCut: boolean },
): PlannedSplit {
  const labelled = label.rows - label.missing
  if (time?.use !== 'time' || asOf === undefined) {
    const word = label.use === 'number' ? 'random' : 'stratified'
    return { word, options: { test: testShare }, rows: labelled, testRows: Math.floor(labelled * testShare) }
  }
  const asOfMs = Date.parse(asOf)
  const fromMs = Date.parse(time.from)
  const delayMs = knownAt && inferMatured(columns, rows, { label, time, knownAt })
  const spanMs = (lateMs: number) => Math.min(Date.parse(time.to), asOfMs - lateMs) - fromMs
  const unitOf = (ms: number) =>
    (['d', 'h', 'min'] as const).find((each) => ms / units[each] >= minUnits) ?? 's'
  /** As much time must be left for training and test. */
  const isLate = delayMs !== undefined && spanMs(delayMs) >= delayMs
  const unit = unitOf(spanMs(isLate ? delayMs : 0))
  const lateUnits = isLate ? Math.ceil(delayMs / units[unit]) : 0
  const count = Math.ceil(spanMs(lateUnits * units[unit]) / units[unit]) + 1
  const test = Math.max(1, Math.round(count * testShare))
  const train = Math.max(1, count - test)
  const matured = lateUnits === 0 ? undefined : `${lateUnits} ${unit}`
  const periods = periodsOf(
    {
      trainMs: train * units[unit],
      testMs: test * units[unit],
      maturedMs: lateUnits * units[unit],
    },
    asOfMs,
  )
  const labelPlace = columns.indexOf(label)
  const counts = { train: 0, test: 0 }
  for (const row of rows) {
    const atMs = momentIn(columns, row, time)
    const knownMs = knownAt === undefined ? atMs : momentIn(columns, row, knownAt)
    if ((row[labelPlace]?.trim() ?? '') === '') continue
    for (const part of ['train', 'test'] as const) {
      const { fromMs: after, toMs, knownByMs } = periods[part]
      if (atMs > after && atMs <= toMs && knownMs <= knownByMs) counts[part]++
    }
  }
  // Of a file that was read to its first part, the test rows may lie behind it, and the parts have at least as many rows as were read.
  const atLeast = isCut
    ? { rows: labelled, testRows: Math.floor(labelled * testShare) }
    : { rows: 0, testRows: 0 }
  return {
    word: 'byTime',
    options: {
      train: `${train} ${unit}`,
      test: `${test} ${unit}`,
      ...(matured !== undefined && { matured }),
    },
    matured,
    rows: Math.max(atLeast.rows, counts.train + counts.test),
    testRows: Math.max(atLeast.testRows, counts.test),
  }
}
