/** Tests the triggers of model files: what they compile to, and each mistake with its place. */
/* oxlint-disable unicorn/no-thenable -- `then` of a model file holds no function, so nothing awaits it */
import { describe, expect, it } from 'vitest'
import { isError } from '../../domain/errors.ts'
import { issuesOfParameters } from '../../domain/triggers/parameters.ts'
import { isLaterMark, lookEveryMs } from '../../domain/triggers/trigger.ts'
import * as words from '../../models/define.ts'
import type { ScheduledBatchSpec } from '../../models/define/triggers/batches.ts'
import { issueOfCron } from '../../models/define/triggers/cron.ts'

const { afterWorkflow, compress, cron, number, onWebhook, whenFile, whenWatermark } = words

const define = (retrain: unknown, batches?: unknown, train?: unknown, features?: object) =>
  words.defineModel({
    name: 'roses',
    features: { size: number({ min: 0, max: 10 }), ...features },
    label: words.yesNo({ positive: 'blooms' }),
    source: words.csv('models/data/roses.csv'),
    split: words.random({ test: 0.25 }),
    ...(train === null
      ? {}
      : { train: (train ?? (() => Promise.reject(new Error('is not called here')))) as never }),
    evaluation: { floors: { auc: 0.6 } },
    release: words.direct(),
    retrain: retrain as undefined,
    batches: batches as undefined,
  }).definition

function issuesWith(...[retrain, ...more]: Parameters<typeof define>): string {
  try {
    define(retrain, ...more)
    return ''
  } catch (error) {
    if (isError(error, 'invalid_model_file')) return (error.context['issues'] as string[]).join('\n')
    throw error
  }
}

describe('the triggers of a model file', () => {
  it('are compiled beside one schedule', () => {
    const { retrain, triggers } = define([
      cron('0 3 * * 1', { catchUp: '2 h' }),
      whenFile('data/ready/*.done'),
      whenWatermark({ table: 'sales.orders', column: 'changed_at', source: 'shop', every: '5 min' }),
      afterWorkflow({ type: 'loadOrders', namespace: 'loads' }),
      onWebhook({ parameters: { rows: number({ min: 1 }) } }),
      onWebhook({ name: 'nightly' }),
    ])
    expect(retrain).toEqual({ cron: '0 3 * * 1', catchUpMs: 7_200_000 })
    expect(triggers).toEqual([
      { name: 'file', kind: 'file', everyMs: 30_000, glob: 'data/ready/*.done' },
      {
        name: 'watermark',
        kind: 'watermark',
        everyMs: 300_000,
        table: 'sales.orders',
        column: 'changed_at',
        source: 'shop',
      },
      { name: 'workflow', kind: 'workflow', everyMs: 30_000, type: 'loadOrders', namespace: 'loads' },
      { name: 'webhook', kind: 'webhook', parameters: { rows: { kind: 'number', min: 1 } } },
      { name: 'nightly', kind: 'webhook', parameters: {} },
    ])
    expect(lookEveryMs({ triggers })).toBe(30_000)
    expect(lookEveryMs({})).toBeUndefined()
    expect(define([whenFile('a')]).retrain).toBeUndefined()
    expect(define({ every: '1 week' }).triggers).toBeUndefined()
  })

  it('have one for promotions beside a schedule or alone, where a program trains', () => {
    const compression = { to: 'int8', epsilon: 0.01 }
    const promotion = { name: 'compress', kind: 'promotion', everyMs: 30_000, compression }
    const then = compress('int8', { epsilon: 0.01 })
    const program = words.python('train.py')
    expect(define({ every: '1 week', then }, undefined, program)).toMatchObject({
      retrain: { everyMs: 604_800_000 },
      triggers: [promotion],
    })
    // Versions that are brought are promoted too.
    expect(define({ then }, undefined, null).triggers).toEqual([promotion])
    expect(issuesWith([{ every: '1 week' }, { then }], undefined, null)).toContain(
      'retrain: a schedule and triggers need train: without it, versions are brought',
    )
    const { retrain, triggers } = define([whenFile('a'), { then }], undefined, program)
    expect(retrain).toBeUndefined()
    expect(triggers).toMatchObject([{ kind: 'file' }, promotion])
  })

  it('may distil what has numbers and categories alone', () => {
    const then = compress('distil')
    expect(issuesWith({ then })).toBe('')
    expect(issuesWith({ then }, undefined, words.python('train.py'), { review: words.text() })).toBe(
      'retrain.then: its feature review is of the kind text, and a small network learns from numbers and categories alone',
    )
  })

  it.each([
    [
      { then: compress('zip' as never) },
      'then needs compress(…) with one of lossless, float16, int8, fewer-trees',
    ],
    [{ then: compress('int8', { epsilon: 2 }) }, 'retrain.then: must have a number above 0 and below 1'],
    [
      { then: compress('int8', { tims: 2 } as object) },
      'retrain.then: has no field tims: did you mean times?',
    ],
    [[{ then: compress('int8') }, { then: compress('float16') }], 'retrain.then: at most one compress(…)'],
    [
      [onWebhook({ name: 'compress' }), { then: compress('int8') }],
      'retrain.then: a trigger is named compress',
    ],
    [{ then: compress('fewer-trees') }, 'retrain.then: a network cannot be compressed to fewer-trees'],
  ])('%j names its mistake', (retrain, issue) => expect(issuesWith(retrain)).toContain(issue))

  it.each([
    [[cron('0 3 * * 1'), { every: '1 week' }], 'retrain: at most one schedule is allowed, not 2'],
    [[whenFile('a'), whenFile('b')], 'retrain: two triggers are named file'],
    [[whenFile('a', { name: 'No' })], 'retrain.name: up to 63 lower-case letters'],
    [[whenFile('../elsewhere/*.done')], 'retrain.file.glob: a pattern inside the project is required'],
    [[whenFile('/data/*.done')], 'retrain.file.glob: a pattern inside the project is required'],
    [[whenFile('s3://bucket/*.done')], 'retrain.file.glob: a pattern inside the project is required'],
    [[whenFile('a', { every: '10 ms' })], 'retrain.file.every: at least one second is required'],
    [[whenFile('a', { evry: '1 min' } as object)], 'retrain.file: has no field evry: did you mean every?'],
    [[whenWatermark({ table: 'a;b', column: 'c' })], 'retrain.watermark.table: a table or schema.table'],
    [[whenWatermark({ table: 'a', column: 'max(c)' })], 'retrain.watermark.column: the name of a column'],
    [
      [whenWatermark({ table: 'a', column: 'c', source: 'Shop' })],
      'retrain.watermark.source: names a metric source',
    ],
    [[afterWorkflow({})], 'retrain.workflow.type: either the type or the id'],
    [[afterWorkflow({ type: 'a', id: 'b' })], 'retrain.workflow.type: either the type or the id'],
    [[afterWorkflow({ id: 'a" or ""="' })], 'retrain.workflow.type: a name without quotes'],
    [[onWebhook({ parameters: { 'a b': number() } })], 'retrain.webhook.parameters.a b: a name begins'],
    ...[words.text(), words.vector(3), words.image()].map((other): [unknown, string] => [
      [onWebhook({ parameters: { region: other } })],
      'retrain.webhook.parameters.region: made with number(…) or category(…)',
    ]),
    [[onWebhook({ parameters: { rows: 'text' as never } })], 'retrain.webhook.parameters.rows: made with'],
    [
      [
        onWebhook({
          parameters: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`p${i}`, number()])),
        }),
      ],
      'retrain.webhook.parameters: at most 20 are allowed, not 21',
    ],
    [[{ kind: 'moon' }], 'retrain: has the wrong shape: cron(…), whenFile(…)'],
    [[cron('0 3 * * MON#1')], 'retrain.cron: Temporal takes what follows # in "0 3 * * MON#1" for a comment'],
    [[cron('0 0 30 2 *')], 'retrain.cron: "0 0 30 2 *" never fires: no such month has a day 30'],
  ])('%j names its mistake', (retrain, issue) => expect(issuesWith(retrain)).toContain(issue))
})

const rows = words.parquet('in/{date}.parquet')
const partition = words.daily({ from: '2026-11-01' })

it('a day of a batch is complete after its end, or before it for what is scored ahead', () => {
  const delayOf = (after?: '2 h' | '-30 h') =>
    define(undefined, { a: { rows, partition: words.daily({ from: '2026-11-01', after }) } }).batches?.[0]
      ?.partition?.afterMs
  expect([delayOf(), delayOf('2 h'), delayOf('-30 h')]).toEqual([0, 7_200_000, -108_000_000])
})

it.each([
  [{ A: { rows, partition } }, 'batches: a name has up to 63'],
  [{ a: { rows: words.parquet('in.parquet'), partition } }, 'batches.a: "in.parquet" needs {date}'],
  [{ a: { rows, partition, to: 'out.parquet' } }, 'batches.a: "out.parquet" needs {date}'],
  [{ a: { rows, partition, to: 'in/{date}.parquet' } }, 'batches.a: the output would replace the input'],
  [{ a: { rows: words.parquet('../{date}.parquet'), partition } }, 'leads elsewhere'],
  [{ a: { rows, partition, key: ['row'] } }, 'batches.a: the output has columns row of its own'],
  [
    { a: { rows, partition, key: ['prediction_id'], log: 5 } },
    'batches.a: the output has columns prediction_id of its own',
  ],
  [{ a: { rows, partition, log: 1.5 } }, 'batches.a: log is a whole number of rows up to 100000, not 1.5'],
  [
    { a: { rows, partition, log: 100_001 } },
    'batches.a: log is a whole number of rows up to 100000, not 100001',
  ],
  [{ a: { rows, partition, log: '5' } }, 'batches.a: log is a whole number of rows up to 100000, not 5'],
  [
    { a: { rows: words.postgres({ rows: "drop table a; '{date}'" }), partition } },
    'one SELECT without a semicolon',
  ],
  [{ a: { rows: words.served(), partition } }, 'batches.a.rows: one file without options'],
  [
    { a: { rows, partition: words.daily({ from: '2026-02-30' }) } },
    'batches.a.partition.from: a day such as',
  ],
  [
    { a: { rows, partition: words.daily({ from: '2026-01-01', ready: 'done' }) } },
    'ready: "done" needs {date}',
  ],
  [{ a: { rows, partition: words.daily({ from: '2026-01-01', ready: '../{date}' }) } }, 'leads elsewhere'],
  [
    { a: { rows, partition: words.daily({ from: '2026-01-01', after: '-- 2 h' as never }) } },
    'batches.a.partition.after: a duration such as',
  ],
  [{ a: { rows } }, "batches.a: needs partition: daily({ from: '2026-11-01' }), or when"],
  [{ a: { rows, when: [cron('0 0 30 2 *')] } }, 'batches.a.when.cron: "0 0 30 2 *" never fires'],
  [
    { a: { rows, when: [whenFile('a', { name: 'schedule' })] } },
    'batches.a.when: a trigger is not named schedule',
  ],
  [
    { a: { rows: words.parquet('{region}.parquet'), when: [cron('0 3 * * *')] } },
    'batches.a: {region} needs a parameter region of every trigger in when: the schedule has none',
  ],
  [
    {
      a: {
        rows: words.parquet('{region}.parquet'),
        when: [onWebhook({ parameters: { region: words.category() } })],
      },
    },
    'batches.a: {region} needs a number, or a category of letters',
  ],
  [
    {
      a: {
        rows: words.parquet('{region}.parquet'),
        when: [onWebhook({ parameters: { region: words.category(["eu' or '1"]) } })],
      },
    },
    'batches.a: {region} needs a number, or a category of letters',
  ],
  [
    { a: { rows, when: [onWebhook({ parameters: { date: number() } })] } },
    'batches.a.when: date is the day of the firing',
  ],
  [
    { a: { rows, partition, when: [onWebhook({ parameters: { region: number() } })] } },
    'batches.a.when: a webhook of a batch with days has no parameters',
  ],
  [{ a: { rows, partition, too: 1 } }, 'batches.a: has'],
])('a wrong batch %j names its mistake', (batches, issue) =>
  expect(issuesWith(undefined, batches)).toContain(issue),
)

it('a batch takes the schedule and the triggers of a retraining', () => {
  const { batches } = define(undefined, {
    orders: {
      rows,
      partition,
      when: [cron('0 3 * * *'), whenWatermark({ table: 'a', column: 'b', every: '5 s' })],
    },
    regions: {
      rows: words.parquet('in/{region}.parquet'),
      when: [onWebhook({ parameters: { region: words.category(['eu', 'us']) } })],
    },
    hourly: { rows: words.parquet('in.parquet'), when: { every: '1 h' } },
    changed: {
      rows: words.parquet('in.parquet'),
      when: whenWatermark({ table: 'a', column: 'b' }),
    } satisfies ScheduledBatchSpec,
  })
  expect(batches).toMatchObject([
    {
      schedule: { cron: '0 3 * * *', catchUpMs: 3_600_000 },
      triggers: [{ name: 'orders.watermark', kind: 'watermark', everyMs: 5_000 }],
    },
    { triggers: [{ name: 'regions.webhook', kind: 'webhook' }] },
    { schedule: { everyMs: 3_600_000 } },
    { triggers: [{ name: 'changed.watermark', kind: 'watermark' }] },
  ])
  expect(lookEveryMs({ batches })).toBe(5_000)
})

it('a batch has no name of a trigger', () =>
  expect(issuesWith([whenFile('a')], { file: { rows, partition } })).toContain(
    'batches: file is a trigger too',
  ))

it.each([
  ['0 0 31 2,4,jun,9,11 *', false],
  ['0 0 30,31 2 *', false],
  ['0 0 31 4-6/2 *', false],
  ['0 0 29 2 *', true],
  ['0 0 31 4-5 *', true],
  ['0 0 */2 FEB *', true],
  ['*/5 * * * MON-FRI', true],
  ['0 3 L * *', true],
])('the cron %s may fire: %s', (text, fires) => expect(issueOfCron(text) === undefined).toBe(fires))

it.each([
  ['9007199254740994', '9007199254740993', true],
  ['9', '10', false],
  ['2.5', '10', false],
  ['2026-01-01 00:00:00.75+00', '2026-01-01 00:00:00.5+00', true],
  ['2026-01-01 00:00:00+00', '2026-01-01 00:00:00.5+00', false],
  ['2026-02-01', null, true],
  ['2026-02-01', 'infinity', true],
])('the watermark %s after %s is later: %s', (mark, before, later) =>
  expect(isLaterMark(mark, before)).toBe(later),
)

it('parameters fit what a webhook declares', () => {
  const trigger = define([
    onWebhook({
      parameters: { rows: number({ min: 1, max: 9 }), region: words.category({ missing: 'fill' }) },
    }),
  ]).triggers![0]!
  expect(issuesOfParameters(trigger, { rows: 3 })).toEqual([])
  expect(issuesOfParameters(trigger, { rows: 0, region: 'eu', toString: 1 })).toEqual([
    '"toString" is not a parameter of webhook: it has rows, region',
    'rows is between 1 and 9, not 0',
  ])
  expect(issuesOfParameters(trigger, { rows: 'many', region: 3 })).toEqual([
    'rows is a number',
    'region is a text',
  ])
  expect(issuesOfParameters({ name: 'file', kind: 'file', everyMs: 1, glob: 'a' }, { rows: 1 })).toEqual([
    '"rows" is not a parameter of file: it has none',
  ])
})
