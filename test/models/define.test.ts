import { describe, expect, expectTypeOf, it } from 'vitest'
import { defaultMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { issuesOfPolicy } from '../../domain/release/policy.ts'
import * as words from '../../models/define.ts'
import { parseDuration } from '../../models/define/duration.ts'
import type { ModelFile } from '../../models/define/model.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const { category, number, percent } = words

const features = {
  size: number({ min: 0, max: 10 }),
  colour: category(['red', 'blue']),
  weight: number({ missing: 'fill' }),
  note: category({ missing: 'fill' }),
}
const ownPrimary = {
  primary: 'cost',
  floors: { cost: 1 },
  metrics: { cost: { of: () => 1, better: 'lower' } },
}
const base: ModelFile<typeof features, Record<never, never>> = {
  name: 'roses',
  features,
  label: words.yesNo({ positive: 'blooms' }),
  source: words.csv('models/data/roses.csv'),
  split: words.random({ test: 0.25 }),
  train: () => Promise.reject(new Error('is not called here')),
  evaluation: { floors: { auc: 0.6 } },
  release: words.direct(),
}
const define = (change: object) => words.defineModel({ ...base, ...change } as unknown as typeof base)

/** Returns the issues of a valid file after `change`. */
const issuesWith = (change: object): unknown => issuesOfModel(() => define(change))

describe('a model file', () => {
  it('has no issue when it is valid', () => expect(issuesWith({})).toEqual([]))

  const odd = [
    'text',
    3,
    true,
    null,
    [],
    ['plan'],
    [null],
    [[]],
    {},
    { a: 1 },
    { a: null },
    { a: { b: ['c'] } },
  ]
  const inner = [
    'slices',
    'groups',
    'floors',
    'margins',
    'metrics',
    'limits',
    'windows',
    'stages',
    'shadow',
    'probation',
    'fields',
    'columns',
  ]
  // The fields of a file are those that `define` does not call unknown.
  const candidates = [
    ...Object.keys(base),
    'expect',
    'floods',
    'weights',
    'hyperparameters',
    'seed',
    'tests',
    'retrain',
    'refit',
    'batches',
  ]
  const places = [
    ...candidates,
    'subject',
    'monitor',
    'fallback',
    'traffic',
    'golden',
    'prepare',
    'serve',
    'release',
  ]
  it.each(places)('says nothing in the words of JavaScript of a wrong %s', (field) => {
    const given: unknown = (base as unknown as Record<string, unknown>)[field]
    const whole = typeof given === 'object' && given !== null ? given : {}
    const changes = odd.flatMap((value) => [
      { [field]: value },
      ...inner.map((name) => ({ [field]: { ...whole, [name]: value } })),
    ])
    const raw = changes.flatMap((change) => {
      let issues: string[]
      try {
        issues = (issuesWith(change) as string[] | undefined) ?? []
      } catch (error) {
        issues = [`thrown: ${(error as Error).message}`]
      }
      return issues.filter((issue) =>
        /^thrown|undefined \(reading|null \(reading|is not (?:a function|iterable|an object)|Cannot (?:read|convert|use)/.test(
          issue,
        ),
      )
    })
    expect([...new Set(raw)]).toEqual([])
  })

  it.each(['number', 3, null, undefined, true])(
    'says of %j in the place of a feature what is one',
    (given) => {
      const odd = { ...features, odd: given }
      for (const change of [
        { features: odd },
        { features: odd, subject: 'odd' },
        { features: odd, prepare: { columns: { odd: 'size' } } },
        { features: odd, prepare: { fields: { raw: given }, columns: { size: 'raw' } } },
        {
          features: odd,
          source: words.served(),
          label: words.yesNo({ positive: 'blooms', column: 'outcome' }),
        },
      ]) {
        const issues = issuesWith(change) as string[]
        expect(issues).toContainEqual(
          expect.stringMatching(/^features\.odd: made with number\(\), category\(\)/),
        )
        // A check that reads `log` of what is no feature would give the message of JavaScript.
        expect(issues.join('\n')).not.toContain("'log'")
      }
    },
  )

  it('sets its monitoring, with defaults for the rest', () => {
    const { monitor } = define({
      monitor: {
        every: '10 min',
        errors: { warn: 3, alarm: 5 },
        cooldown: { maxPerWeek: 2, after: { quality: '1 h' } },
      },
    }).definition
    expect(monitor).toEqual({
      ...defaultMonitorPolicy,
      everyMs: 600_000,
      service: { ...defaultMonitorPolicy.service, errorWarn: 0.03, errorAlarm: 0.05 },
      cooldown: {
        ...defaultMonitorPolicy.cooldown,
        maxPerWeek: 2,
        afterMs: { ...defaultMonitorPolicy.cooldown.afterMs, quality: 3_600_000 },
      },
    })
    expect(define({ monitor: { rollback: false } }).definition.monitor).toMatchObject({ rollback: false })
    expect(define({}).definition.monitor).toBeUndefined()
    const drift = { alarm: 0.3, exclude: ['note'], features: { size: { warn: 0.2 } } }
    const tuned = (given: object) => define({ monitor: { drift: given } }).definition.monitor?.drift
    expect(tuned({ ...drift, reference: '7 d' })).toEqual({ ...drift, referenceMs: 604_800_000 })
    expect(tuned({ reference: 'training' })).toEqual({ referenceMs: [] })
    expect(
      issuesWith({
        monitor: {
          drift: {
            alarm: 0.05,
            exclude: ['petals'],
            features: { size: { limit: 1 } },
            reference: '1 h',
            until: 1,
          },
        },
      }),
    ).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^monitor\.drift\.exclude: "petals" is not a feature; they are /),
        'monitor.drift: has the fields warn, alarm, exclude, features, reference, not until',
        'monitor.drift.features.size: has the fields warn, alarm, reference, not limit',
        expect.stringContaining('alarm (0.05) is not below'),
        expect.stringContaining('the two periods would overlap'),
      ]),
    )
    expect(issuesWith({ monitor: { span: '90 min', silent: 'long' } })).toEqual([
      expect.stringMatching(/^monitor\.silent: /),
      'monitor: spanMs is a multiple of countMs (3600000 ms), not 5400000 ms',
    ])
  })

  it('keeps the functions of its metrics beside the definition, which says what the gate does with them', () => {
    const of = () => 1
    const { definition, metrics } = define({
      evaluation: {
        floors: { auc: 0.6, cost: 2 },
        guards: ['brier', 'cost'],
        margins: { cost: { relative: 0.1 } },
        metrics: { cost: { of, better: 'lower' }, calls: { of, better: 'higher' } },
      },
    })
    expect(metrics).toEqual({ cost: of, calls: of })
    const { policy } = definition.evaluation
    expect([policy.floors, policy.guards]).toEqual([{ auc: 0.6 }, ['brier']])
    expect(policy.custom).toEqual({
      cost: { better: 'lower', guard: true, floor: 2, margin: { relative: 0.1 } },
      calls: { better: 'higher', guard: false },
    })
  })

  it('sets how the importance of features is measured, or that it is not', () => {
    const evaluation = (importance: unknown) => ({ evaluation: { floors: { auc: 0.6 }, importance } })
    const compiled = (importance: unknown) => define(evaluation(importance)).definition.evaluation.importance
    expect([undefined, 'off', { permutations: 5 }].map(compiled)).toEqual([
      undefined,
      'off',
      { rows: 2_000, permutations: 5 },
    ])
    expect(issuesWith(evaluation('on'))).toEqual([
      `evaluation.importance: 'off' or { rows, permutations } is required, not "on"`,
    ])
    expect(issuesWith(evaluation({ rows: 0, permutatons: 3 }))).toEqual([
      'evaluation.importance: has no field permutatons: did you mean permutations?',
      'evaluation.importance.rows: a whole number from 1 to 20000 is required, not 0',
    ])
  })

  it('types its rows from its features', () => {
    words.defineModel({
      ...base,
      hyperparameters: { units: 4, shape: 'wide' },
      train: ({ rows, hyperparameters }) => {
        expectTypeOf(rows).toEqualTypeOf<
          readonly {
            size: number
            colour: 'red' | 'blue'
            weight: number | null
            note: string | null
          }[]
        >()
        expectTypeOf(hyperparameters.units).toExtend<number>()
        return Promise.reject(new Error('is not called here'))
      },
      // @ts-expect-error -- green is no declared value
      golden: [{ size: 1, colour: 'red', weight: null, note: null }]
        .map((row) => ({ ...row, colour: 'green' as const }))
        .slice(1),
    })
  })

  it('with five errors reports all five with their paths', () =>
    expect(
      issuesWith({
        features: { ...features, size: number({ min: 5, max: 1 }) },
        label: words.yesNo({ column: 'colour', positive: 'blooms' }),
        split: words.byTime({ train: '3 weeks', test: '1 d' }),
        evaluation: { floors: { rmse: 3 } },
        release: words.canary({ stages: [percent(5)], soak: '30 mn' as '30 min' }),
      }),
    ).toEqual([
      'features.size: min 5 is above max 1',
      'label.column: colour is also a feature: the model would see its label',
      'split: byTime needs the eventTime of the source',
      'evaluation.floors: a binary model has the metrics auc, accuracy, brier, logLoss, f1, precision, recall, averagePrecision, recallAtTop, precisionAtTop, not rmse',
      `release.soak: a duration such as '30 min' or '7 d' is required, not "30 mn"`,
    ]))

  it('without required fields reports each, and the errors of the others', () =>
    expect(
      issuesWith({
        features: undefined,
        source: null,
        evaluation: undefined,
        label: words.oneOf(['one']),
        release: { strategy: 'canary' },
        seed: -1,
      }),
    ).toEqual([
      'features: is missing',
      'source: is missing',
      'evaluation: is missing',
      'seed: a whole number from 0 is required, not -1',
      expect.stringContaining('release: has the wrong shape'),
    ]))

  it.each([
    ['features', { features: { size: undefined } }, 'features.size: made with'],
    ['expectations', { expect: 5 }, 'expect: has the wrong shape'],
    ['golden rows', { golden: 7 }, 'golden: has the wrong shape'],
    ['hyperparameters', { hyperparameters: null }, 'hyperparameters: has the wrong shape'],
    ['a schedule', { retrain: 'weekly' }, 'retrain: has the wrong shape'],
    ['a class with NUL', { label: words.yesNo({ positive: 'a\0' }) }, 'model: a text has NUL'],
  ])('with %s of another shape says so', (_name, change, issue) =>
    expect(issuesWith(change)).toEqual(expect.arrayContaining([expect.stringContaining(issue)])),
  )

  it.each([
    ['name', { name: 'Roses_1' }, 'name: up to 63'],
    ['train', { train: undefined }, 'train: a function'],
    ['no feature', { features: {} }, 'features: at least one'],
    ['feature name', { features: { _size: number() } }, 'features._size: a name begins with a letter'],
    ['feature name with a blank', { features: { 'unit price': number() } }, 'and _ only, as in unit_price'],
    ['feature kind', { features: { size: { kind: 'colour' } } }, 'features.size: made with'],
    ['no value', { features: { size: category([]) } }, 'features.size.values: at least 1'],
    [
      'value twice',
      { features: { size: category(['a', 'a']) } },
      'features.size.values: a value is listed twice',
    ],
    [
      'value that is not a text',
      { features: { size: category([1 as unknown as string]) } },
      'features.size.values: every',
    ],
    [
      'infinite limit',
      { features: { size: number({ max: Infinity }) } },
      'features.size.max: a finite number',
    ],
    [
      'missing',
      { features: { size: number({ missing: 'drop' as 'fill' }) } },
      "features.size.missing: 'fill' or",
    ],
    ['classes', { label: words.oneOf(['a']), evaluation: { floors: { accuracy: 1 } } }, 'label: at least 2'],
    [
      'threshold',
      { label: words.yesNo({ positive: 'a', threshold: 1 }) },
      'label.threshold: a number between',
    ],
    ['positive', { label: words.yesNo({ positive: '' }) }, 'label.positive: the name'],
    ['label column', { label: words.yesNo({ column: '', positive: 'a' }) }, 'label.column: the name'],
    ['label time', { label: words.yesNo({ positive: 'a', knownAt: 'size' }) }, 'label.knownAt: size is also'],
    [
      'label range',
      { label: words.quantity({ min: 2, max: 1 }), evaluation: { floors: { rmse: 1 } } },
      'label: min 2',
    ],
    [
      'metric with a taken name',
      { evaluation: { floors: { auc: 0.6 }, metrics: { auc: { of: () => 1, better: 'higher' } } } },
      'evaluation.metrics.auc: the gate has a metric auc already',
    ],
    [
      'metric without a function',
      { evaluation: { floors: { auc: 0.6 }, metrics: { cost: { of: 3, better: 'lower' } } } },
      'evaluation.metrics.cost: { of: (y, answers) => number',
    ],
    [
      'metric without a direction',
      { evaluation: { floors: { auc: 0.6 }, metrics: { cost: { of: () => 1 } } } },
      "evaluation.metrics.cost.better: 'higher' or 'lower' is required",
    ],
    [
      'primary metric that nothing defines',
      { evaluation: { ...ownPrimary, primary: 'costs' } },
      'evaluation.primary: a binary model has the metrics auc, accuracy, brier, logLoss, f1, precision, recall, averagePrecision, recallAtTop, precisionAtTop, cost, not costs',
    ],
    [
      'custom primary metric without a direction',
      { evaluation: { ...ownPrimary, metrics: { cost: { of: () => 1 } } } },
      "evaluation.metrics.cost.better: 'higher' or 'lower' is required",
    ],
    ...[NaN, -1, { relative: 1 }, 'none'].map(
      (margin) =>
        [
          `custom primary metric with the margin ${JSON.stringify(margin)}`,
          { evaluation: { ...ownPrimary, margin } },
          'evaluation.margin: how much worse "not worse" may be in cost is ',
        ] as [string, object, string],
    ),
    [
      'margin of a custom metric that makes no sense',
      { evaluation: { ...ownPrimary, primary: 'auc', margins: { cost: null } } },
      'evaluation.margins.cost: how much worse "not worse" may be in cost is a finite number of at least 0, not null',
    ],
    [
      'stand-in without a custom primary metric',
      { evaluation: { floors: { auc: 0.6 }, standIn: 'accuracy' } },
      'evaluation.standIn: auc is a metric of the task, so that nothing stands in for it',
    ],
    [
      'stand-in that the task cannot have',
      { evaluation: { ...ownPrimary, standIn: 'rmse' } },
      'evaluation.standIn: a binary model has the metrics auc',
    ],
    [
      'stand-in that is a function',
      { evaluation: { ...ownPrimary, standIn: 'cost' } },
      'evaluation.standIn: cost is a function of this file: write one of auc',
    ],
    [
      'limit of the stand-in among those of other metrics',
      { evaluation: ownPrimary, monitor: { quality: { metrics: { auc: { alarm: 0.6 } } } } },
      'monitor.quality.metrics: auc stands in for the primary metric: write its limits as quality.warn',
    ],
    ['absolute path', { source: words.csv('/etc/passwd') }, 'source.source: a path inside'],
    ['path above', { source: words.parquet('data/../../a.parquet') }, 'source.source: a path inside'],
    [
      'address of another kind',
      { source: words.csv('ftp://example.org/a.csv') },
      'source.source: a path inside',
    ],
    [
      'password',
      { source: words.csv('https://a:b@example.org/a.csv') },
      'source.source: an address holds no',
    ],
    ['bucket without a key', { source: words.parquet('s3://rows') }, 'source.source: an address of S3 has'],
    ['no file', { source: words.csv({}) }, 'source: at least one file'],
    ['view name', { source: words.csv({ 'a b': 'a.csv' }, { rows: 'select 1' }) }, 'source.a b: a view name'],
    ['no query', { source: words.csv({ a: 'a.csv', b: 'b.csv' }) }, 'source.rows: a query'],
    ['key', { source: words.csv('a.csv', { key: ['a', ''] }) }, 'source.key: the name of a column'],
    [
      'event time',
      { source: words.csv('a.csv', { eventTime: 7 as unknown as string }) },
      'source.eventTime: the name of a column',
    ],
    [
      'lookback',
      { source: words.csv('a.csv', { lookback: '-1 d' as '1 d' }) },
      'source.lookback: a duration',
    ],
    ['share', { split: words.stratified({ test: 1 }) }, 'split.test: a share between'],
    [
      'rows',
      {
        source: words.csv('a.csv', { eventTime: 't' }),
        split: words.byTime({ train: '1 d', test: '1 d', maxRows: { test: 0 } }),
      },
      'split.maxRows.test: a whole number',
    ],
    ['seed', { seed: 1.5 }, 'seed: a whole number'],
    ['subject', { subject: '' }, 'subject: the name of a column'],
    ['subject that is not a text', { subject: 7 }, 'subject: the name of a column'],
    ['subject that is a number', { subject: 'size' }, 'subject: size is a number among the features'],
    [
      'subject that is logged as a digest',
      { subject: 'note', features: { ...features, note: words.text({ log: 'digest' }) } },
      'subject: `note` is logged as a digest, so a person cannot be found by it',
    ],
    [
      'word for the log',
      { features: { ...features, note: words.text({ log: 'hash' } as never) } },
      "features.note.log: 'value' or 'digest' is required, not \"hash\"",
    ],
    [
      'log of a category',
      { features: { ...features, hue: words.category({ log: 'digest' } as never) } },
      'features.hue: has the fields missing, column, about, values, not log',
    ],
    [
      'served rows of a feature that is logged as a digest',
      {
        features: { ...features, note: words.text({ log: 'digest' }) },
        source: words.served(),
        label: words.yesNo({ positive: 'blooms', column: 'outcome' }),
      },
      'features.note.log: `note` is logged as a digest, so served rows have no value of it to train on',
    ],
    [
      'text that is computed from a feature that is logged as a digest',
      {
        features: { ...features, hue: words.category() },
        prepare: { fields: { note: words.text({ log: 'digest' }) }, columns: { hue: 'lower("Note")' } },
      },
      'prepare.columns.hue: reads note, and `note` is logged as a digest, but the log would keep this text',
    ],
    ['hyperparameter', { hyperparameters: { rate: NaN } }, 'hyperparameters.rate: a finite'],
    ['primary', { evaluation: { primary: 'f2', floors: { auc: 1 } } }, 'evaluation.primary: a binary model'],
    ['guard', { evaluation: { guards: ['r2'], floors: { auc: 1 } } }, 'evaluation.guards: a binary model'],
    [
      'baseline',
      { label: words.oneOf(['a', 'b']), evaluation: { baseline: 'x', floors: { accuracy: 0.5 } } },
      'evaluation.baseline: one column cannot',
    ],
    ['no floor', { evaluation: { floors: {} } }, 'evaluation.floors: at least one'],
    ['floor', { evaluation: { floors: { auc: NaN } } }, 'evaluation.floors.auc: a finite'],
    [
      'clip without a limit',
      { label: words.quantity({ clip: true }), evaluation: { floors: { rmse: 1 } } },
      'label.clip: answers are clipped at a limit',
    ],
    ['top', { evaluation: { floors: { auc: 1 }, top: 0 } }, 'evaluation.top: a number above 0'],
    [
      'top of a number',
      { label: words.quantity(), evaluation: { floors: { rmse: 1 }, top: 0.1 } },
      'evaluation.top: only a yesNo label',
    ],
    ...(
      [
        [
          'margin',
          { margin: 5 },
          'evaluation.margin: how much worse "not worse" may be in auc is a number from 0',
        ],
        ['margin below 0', { margin: -0.5 }, 'evaluation.margin: how much worse'],
        ['margin that is not a number', { margin: NaN }, 'to below 1, not NaN'],
        ['margin in words', { margin: 'lots' }, 'to below 1, not lots'],
        [
          'relative margin',
          { margins: { brier: { relative: 2 } } },
          'in brier is a number from 0 to below 1, not { relative: 2 }',
        ],
        ['margin of another kind', { margins: { rmse: 0.1 } }, 'evaluation.margins: a binary model has'],
        [
          'floor above 1',
          { floors: { accuracy: 7 } },
          'evaluation.floors.accuracy: accuracy is a number from 0 to 1, not 7',
        ],
        [
          'floor of a loss',
          { floors: { auc: 0.6, brier: 0 } },
          'brier is the highest allowed value and above 0, not 0',
        ],
        [
          'evidence',
          { evidence: { rows: -5 } },
          'evaluation.evidence.rows: is a whole number from 0, not -5',
        ],
        [
          'misspelled evidence',
          { evidence: { row: 5 } },
          'evaluation.evidence: has no field row: did you mean rows?',
        ],
        [
          'slice metric',
          { sliceLimits: { metric: 'rmse' } },
          'evaluation.sliceLimits.metric: is one of accuracy, auc',
        ],
        [
          'slice loss',
          { sliceLimits: { points: 20 } },
          'evaluation.sliceLimits.points: a number from 0 to 1',
        ],
        [
          'calibration',
          { calibration: { ece: NaN, overChampion: 0.02 } },
          'evaluation.calibration.ece: a number',
        ],
        ['fairness', { fairness: { selectionRatio: 80 } }, 'evaluation.fairness.selectionRatio: a number'],
        [
          'fairness of errors',
          { fairness: { errorDifference: -1 } },
          'evaluation.fairness.errorDifference: a finite number of at least 0',
        ],
        ['leakage', { leakage: { featureAuc: 99 } }, 'evaluation.leakage.featureAuc: a number from 0.5 to 1'],
      ] as const
    ).map(
      ([name, given, message]) =>
        [name, { evaluation: { floors: { auc: 0.6 }, ...given } }, message] as [string, object, string],
    ),
    [
      'slice',
      {
        evaluation: {
          floors: { auc: 1 },
          slices: Array.from({ length: 2 }, () => ({ name: 'a', where: 'true' })),
        },
      },
      'evaluation.slices: a name is listed twice',
    ],
    [
      'many slices',
      {
        evaluation: {
          floors: { auc: 1 },
          slices: Array.from({ length: 51 }, (_, i) => ({ name: `${i}`, where: 'true' })),
        },
      },
      'evaluation.slices: at most 50',
    ],
    [
      'policy',
      { release: words.canary({ stages: [percent(5), percent(5)] }) },
      'release: stages[1].shareBp must be larger than that of the stage before',
    ],
    [
      'approvers',
      { release: words.direct({ approval: { by: -1, within: '1 d' } }) },
      'release: approval.approvers',
    ],
    [
      'list of approvers',
      { release: words.direct({ approval: { by: 2, within: '1 d', from: ['ada'] } }) },
      'release: approval.from names 1 user, and approval.approvers is 2',
    ],
    [
      'name of an approver',
      { release: words.direct({ approval: { by: 1, within: '1 d', from: ['ada', ' '] } }) },
      'release: approval.from is a list of different names of users',
    ],
    ['owner', { owner: ' ' }, 'owner: a person or a team, of up to 200 characters'],
    ['schedule', { retrain: { cron: 'daily' } }, 'retrain.cron: five fields'],
    ['period', { retrain: { every: 'week' } }, 'retrain.every: a duration'],
    [
      'golden row',
      { golden: [{ size: 1, colour: 'green', weight: Infinity, extra: 1 }] },
      'golden[0]: extra is not a feature',
    ],
  ])('with a wrong %s says so', (_name, change, issue) =>
    expect(issuesWith(change)).toEqual(expect.arrayContaining([expect.stringContaining(issue)])),
  )

  it('is plain data except its function', () => {
    const { definition } = define({})
    expect(JSON.parse(JSON.stringify(definition))).toEqual(definition)
  })
})

describe('a release specification', () => {
  it('is lowered to milliseconds and basis points', () => {
    const { release } = define({
      release: words.canary({
        stages: [percent(5, { soak: '10 min', requests: 50, deadline: '1 h' }), percent(25)],
        soak: '2 h',
        approval: { by: 2, within: '7 d', from: ['ada', 'bob'] },
        watch: { tick: '1 s', every: '500 ms', exposure: '3 s' },
      }),
    }).definition
    expect(release).toMatchObject({
      strategy: 'canary',
      approval: { approvers: 2, withinMs: 604_800_000, from: ['ada', 'bob'] },
      shadow: { shareBp: 10_000, minMs: 7_200_000 },
      stages: [
        { shareBp: 500, minMs: 600_000, minRequests: 50, deadlineMs: 3_600_000 },
        { shareBp: 2_500, minMs: 7_200_000, minRequests: 400, deadlineMs: 57_600_000 },
      ],
      probation: { holdbackBp: 500, minMs: 7_200_000 },
      watch: { tickMs: 1_000, everyMs: 500, exposureMs: 3_000, acknowledgeMs: 10_000 },
    })
    expect(issuesOfPolicy(release)).toEqual([])
  })

  it('omits what is switched off', () => {
    const { release } = define({
      release: words.canary({ stages: [percent(50)], shadow: 'off', probation: 'off' }),
    }).definition
    expect(release.shadow).toBeUndefined()
    expect(release.probation).toBeUndefined()
  })
})

describe('a duration', () => {
  it.each([
    ['250 ms', 250],
    ['15 s', 15_000],
    ['1.5 min', 90_000],
    ['30 minutes', 1_800_000],
    ['2h', 7_200_000],
    ['7 d', 604_800_000],
    ['1 week', 604_800_000],
    ['2 weeks', 1_209_600_000],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms))
  it.each([
    '',
    '5',
    'min',
    '5 fortnights',
    '-5 min',
    '1e3 s',
    '5 constructor',
    5,
    null,
    `${'9'.repeat(400)} d`,
  ])('%j is not a duration', (text) => expect(parseDuration(text)).toBeUndefined())
})
