/** Tests the card of a version, with all facts known and with almost none. */
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { describe, expect, it } from 'vitest'
import type { GateReport } from '../../../domain/evaluation/gate.ts'
import { compressionMethods } from '../../../domain/model/compression.ts'
import { cardMarkdown } from '../../../domain/registry/model-card-markdown.ts'
import { modelCard, type CardSource } from '../../../domain/registry/model-card.ts'

const bare: CardSource = {
  version: 'iris_v1.0.0',
  model: 'iris',
  status: 'registered',
  createdAt: '2026-03-01T00:00:00.000Z',
  createdBy: 'retrain',
  artifactDigest: 'sha256:aa',
  manifest: {},
  lineage: {},
}

describe('a card', () => {
  it('of a version with few known facts lists what is unknown', () => {
    const card = modelCard(bare)
    expect(card.limits).toContain('No evaluation is stored.')
    expect(card.limits).toContain('The model file has no description.')
    expect(cardMarkdown(card)).toContain('# iris\\_v1.0.0')
    expect(cardMarkdown(card)).not.toMatch(/undefined|null|NaN/)
  })

  it('says where a version is answered', () => {
    const of = (manifest: CardSource['manifest']) => cardMarkdown(modelCard({ ...bare, manifest }))
    expect(of({ artifact: 'endpoint', library: 'json endpoint at models.example.org' })).toContain(
      'json endpoint at models.example.org, which answers outside of this system',
    )
    expect(of({ artifact: 'python-object', library: 'x' })).toContain(
      'x, runs code of its model file in a process of its own',
    )
    const brought = { ...bare, createdBy: 'ada', lineage: { origin: 'brought' } } as const
    expect(
      cardMarkdown(modelCard({ ...brought, manifest: { artifact: 'python-object', library: 'x' } })),
    ).toContain('x, runs code of ada in a process of its own')
    expect(of({ artifact: 'trees', library: 'x' })).not.toMatch(/x,/)
  })

  it.each(compressionMethods)(
    'says of a version by %s how it was made, and that its origin is that of its parent',
    (to) => {
      const compression = { version: 'iris_v0.9.0', artifact: 'sha256:5', to, counts: {} }
      const of = (origin?: 'brought' | 'distilled') =>
        modelCard({ ...bare, lineage: { origin, compression } })
      for (const card of [of(), of('brought'), of('distilled')])
        expect(card.limits).toContain(
          'Made to answer like iris_v0.9.0, with the limitations of that version.',
        )
      const isElsewhere = (card: ReturnType<typeof of>) =>
        [card.limits.join(), cardMarkdown(card)].map((text) => /elsewhere/.test(text))
      expect([of(), of('brought'), of('distilled')].map(isElsewhere)).toEqual([
        [false, false],
        to === 'distil' ? [false, false] : [true, true],
        [false, false],
      ])
      expect(cardMarkdown(of('distilled'))).toContain(
        '- Origin: a network that has learnt here what another version answers',
      )
    },
  )

  it('says for ever that the gate refused a version', () => {
    const breakGlass = { retraining: 'retrain/iris/1', artifact: 'sha256:aa', evaluation: 'sha256:e' }
    const card = modelCard({ ...bare, lineage: { breakGlass } })
    expect(cardMarkdown(card)).toContain(
      'The gate refused this version, and an admin registered it by break-glass.',
    )
  })

  it('gives no verdict to a metric that decided nothing', () => {
    const row = { champion: 0.7, challenger: 0.7, delta: 0, low: -0.1, high: 0.1, verdict: 'not_worse' }
    const metrics = ['auc', 'brier', 'accuracy'].map((metric) => ({ ...row, metric })) as never
    const policy = { primary: 'auc', guards: ['brier'], slices: { metric: 'auc' } } as never
    const evaluation = { id: 'e1', verdict: 'not_worse', report: { metrics, policy } }
    const card = modelCard({ ...bare, evaluation })
    expect(card.evaluation?.metrics.map(({ result }) => result)).toEqual([
      'no regression',
      'no regression',
      'no verdict',
    ])
    expect(cardMarkdown(card)).toMatch(/\| Accuracy \|[^\n]*\| no verdict \|/)
  })

  it('names the requester once, and metrics as the pages do', () => {
    const row = { champion: null, challenger: 0.7, delta: null, low: null, high: null, verdict: 'reported' }
    const metrics = [
      { ...row, metric: 'auc' },
      { ...row, metric: 'logLoss' },
    ] as never
    const evaluation = { id: 'e1', verdict: 'better', report: { metrics } }
    const of = (requestedBy: string) =>
      cardMarkdown(modelCard({ ...bare, createdBy: 'ada', lineage: { requestedBy }, evaluation }))
    expect(of('ada').match(/ada/g)).toHaveLength(1)
    expect(of('bob')).toContain('- Requested by: bob')
    expect(of('ada')).toMatch(/\| AUC \|[^]*\| Log loss \|/)
  })

  it('names the newest training event beside the time of the snapshot, where events have times', () => {
    const lineage = { asOf: '2025-11-01T00:00:00Z' }
    expect(modelCard({ ...bare, lineage }).limits).toContain('Trained on data as of 2025-11-01T00:00:00Z.')
    const card = modelCard({ ...bare, lineage: { ...lineage, newestEvent: '2023-05-02T00:00:00Z' } })
    expect(card.limits).toContain(
      'Trained on events up to 2023-05-02T00:00:00Z, as known at 2025-11-01T00:00:00Z.',
    )
    expect(cardMarkdown(card)).toContain('2023-05-02T00:00:00Z')
  })

  it('says of refitted weights what was judged and what is released', () => {
    const refit = {
      trainingId: 'trn_1_refit',
      snapshot: 'sha256:0123456789',
      rows: 1_860,
      newestEvent: '2025-10-31T00:00:00Z',
      judged: 'sha256:judged',
      change: 0.0123,
      limit: 0.1,
    }
    const rows = { train: 1_400, test: 460 }
    const judged = { asOf: '2025-12-01T00:00:00Z', newestEvent: '2025-09-30T00:00:00Z' }
    const card = modelCard({ ...bare, lineage: { snapshot: 'sha256:abcdef', rows, ...judged, refit } })
    expect(card.limits).toContain(
      'Trained on events up to 2025-10-31T00:00:00Z, as known at 2025-12-01T00:00:00Z.',
    )
    expect(card.data).toMatchObject({
      snapshot: refit.snapshot,
      newestEvent: refit.newestEvent,
      trainRows: 1_860,
      judged: { snapshot: 'sha256:abcdef', newestEvent: judged.newestEvent, trainRows: 1_400 },
    })
    expect(cardMarkdown(card)).toContain('Newest training event: 2025-10-31T00:00:00Z')
    expect(cardMarkdown(card)).toContain(
      '- Refit: recipe judged on the test rows of the snapshot sha256:abcdef, weights refitted on 1,860 rows up to 2025-10-31T00:00:00Z (snapshot sha256:01234567); their answers to the test rows differ by 0.0123 on average, with the limit 0.1 of refitDistance',
    )
    expect(card.limits.join()).toContain('the released ones were refitted afterwards')
  })

  it('names who answers for the model, its risk, and what it takes beside the champion', () => {
    const measured = { p50Us: 3, p99Us: 7.4, cpuUs: 4, rssBytes: 104_857_600, loadMs: 40 }
    const card = cardMarkdown(
      modelCard({ ...bare, owner: 'Credit team', risk: 'high', cost: { candidate: measured } }),
    )
    expect(card).toContain('- Owner: Credit team\n- Risk: high')
    expect(card).toContain(
      '## Cost\n\n3 µs a row at the median, 7.4 µs at the 99th percentile, 4 ms of processor time for 1,000 predictions, 100 MiB of memory',
    )
    expect(modelCard(bare).limits).toContain('The model file names no owner.')
  })

  it('has the code that the installation of an imported version states', () => {
    const lineage = { origin: 'brought', bundle: { code: 'sha256:c0de' } } as CardSource['lineage']
    expect(cardMarkdown(modelCard({ ...bare, lineage }))).toContain('- Code: `sha256:c0de`')
  })

  it('lists the hyperparameters in one line, with those that a request set', () => {
    const lineage = { hyperparameters: { units: 16, epochs: 3 }, overrides: { epochs: 3 } }
    expect(cardMarkdown(modelCard({ ...bare, lineage }))).toContain(
      '- Hyperparameters: units 16, epochs 3 (set by the request)',
    )
    expect(cardMarkdown(modelCard(bare))).not.toContain('Hyperparameters')
  })

  it('names rows of a flood that its training left out', () => {
    const flood = '9 of 9 rows from 2024-03-08T00:00Z to 2024-03-11T00:00Z are left out: a flood of one value'
    expect(modelCard({ ...bare, lineage: { floods: [flood] } }).limits).toContain(`${flood}.`)
  })

  it('lists the slices that degraded most first and those that were too small last', () => {
    const slice = (name: string, delta: number | null, verdict: 'ok' | 'insufficient') =>
      ({
        name,
        rows: 100,
        positives: null,
        champion: 0.7,
        challenger: 0.7,
        delta,
        p: null,
        adjustedP: null,
        verdict,
      }) as const
    const card = modelCard({
      ...bare,
      evaluation: {
        id: 'e1',
        verdict: 'better',
        report: {
          slices: [slice('a', 0.1, 'ok'), slice('b', -0.1, 'ok'), slice('c', null, 'insufficient')],
          policy: defaultGatePolicy('regression'),
        },
      },
    })
    expect(card.evaluation?.slices.map(({ name }) => name)).toEqual(['b', 'a', 'c'])
    expect(cardMarkdown(card)).toContain('Slices by RMSE (worst first)')
    expect(card.limits.join(' ')).toContain('Too few test rows to evaluate: c.')
  })

  it.each([
    [
      { kind: 'probability', positive: 'late', threshold: 0.4 } as const,
      'the probability of late; positive from 0.4',
    ],
    [{ kind: 'classes', classes: ['a', 'b'] } as const, 'a probability for each of a, b'],
    [{ kind: 'number', unit: 'min' } as const, 'a number in min'],
    [{ kind: 'number' } as const, 'a number'],
  ])('says what is answered: %o', (output, words) =>
    expect(modelCard({ ...bare, manifest: { output } }).answers).toContain(words),
  )

  it('lists the inputs in the order of the model file, with what becomes of a missing value', () => {
    const fill = { kind: 'number', missing: 'fill' } as const
    const category = { kind: 'category', missing: 'fill' } as const
    const number = { kind: 'number', mean: 0, std: 1 } as const
    const card = modelCard({
      ...bare,
      manifest: {
        features: {
          size: { kind: 'number' },
          age: fill,
          dose: fill,
          colour: category,
          soil: category,
          old: fill,
        },
        featureOrder: ['old', 'size', 'age', 'dose', 'colour', 'soil'],
        preprocessing: [
          { name: 'size', ...number, fill: null },
          { name: 'age', ...number, fill: null },
          { name: 'dose', ...number, fill: 2.5 },
          { name: 'colour', kind: 'category', vocabulary: ['red'], encoding: 'code' },
          { name: 'soil', kind: 'category', vocabulary: ['clay'] },
        ],
      },
    })
    expect(card.asks.map(({ name, missing }) => [name, missing])).toEqual([
      ['old', 'accepted'],
      ['size', 'rejected'],
      ['age', 'left to the model'],
      ['dose', 'imputed as 2.5'],
      ['colour', 'left to the model'],
      ['soil', 'as an unknown value'],
    ])
  })

  it('of a first version says whether its floors are met', () => {
    const row = { champion: null, delta: null, low: null, high: null, verdict: 'reported' } as const
    const metrics = [
      { ...row, metric: 'auc', challenger: 0.81, floor: 0.7, floorMet: true },
      { ...row, metric: 'brier', challenger: 0.3, floor: 0.2, floorMet: false },
      { ...row, metric: 'ece', challenger: 0.1, floor: null, floorMet: null },
    ] as unknown as GateReport['metrics']
    const card = cardMarkdown(
      modelCard({ ...bare, evaluation: { id: 'e1', verdict: 'insufficient', report: { metrics } } }),
    )
    expect(card).toContain('| AUC | — | 0.8100 | — | — | 0.7 | passed |')
    expect(card).toContain('| Brier score | — | 0.3000 | — | — | 0.2 | failed |')
    expect(card).toContain('| ece | — | 0.1000 | — | — | — | no verdict |')
  })

  it('does not call a metric passed that is worse than that of the champion, although its floor is met', () => {
    const row = { champion: 0.8, challenger: 0.71, delta: -0.09, low: -0.1, high: -0.08, floor: 0.7 }
    const worse = { ...row, verdict: 'worse' }
    const metrics = [
      { ...worse, metric: 'auc', floorMet: true },
      { ...worse, metric: 'brier', floorMet: false },
    ] as unknown as GateReport['metrics']
    const policy = { primary: 'accuracy', guards: [], slices: { metric: 'accuracy' } } as never
    const card = cardMarkdown(
      modelCard({ ...bare, evaluation: { id: 'e1', verdict: 'better', report: { metrics, policy } } }),
    )
    expect(card).toMatch(/\| AUC \|.*\| no verdict \|/)
    expect(card).toMatch(/\| Brier score \|.*\| failed \|/)
  })

  it('of some numbers shows the value that was compared with the champion', () => {
    const metric = {
      metric: 'rmse',
      champion: 2,
      challenger: 5,
      beside: 1.5,
      delta: 0.5,
      low: 0.4,
      high: 0.6,
    }
    const metrics = [{ ...metric, floor: null, verdict: 'better' }] as unknown as GateReport['metrics']
    const card = modelCard({ ...bare, evaluation: { id: 'e1', verdict: 'better', report: { metrics } } })
    expect(cardMarkdown(card)).toContain(
      '| RMSE | 2.0000 | 5.0000 (1.5000 of the compared numbers) | +0.5000 |',
    )
  })

  it('says why a version was not released', () => {
    const refused = modelCard({ ...bare, notReleased: 'the champion has *changed*' })
    expect(cardMarkdown(refused)).toContain('\n- Not released: the champion has \\*changed\\*\n')
    expect(cardMarkdown(modelCard(bare))).not.toContain('Not released')
  })

  it('names the Python of its training and the first of its packages', () => {
    const dependencies = { lightgbm: '4.7.0', numpy: '2.1.0_rc', python: '3.12.1' }
    const card = modelCard({ ...bare, dependencies })
    expect(card.training.packages).toEqual(dependencies)
    expect(cardMarkdown(card)).toContain('\n- Python: 3.12.1\n- Packages: lightgbm 4.7.0, numpy 2.1.0\\_rc')
    const many = Object.fromEntries(Array.from({ length: 32 }, (_, place) => [`p${place}`, '1.0']))
    expect(cardMarkdown(modelCard({ ...bare, dependencies: { ...many, node: '22.1.0' } }))).toMatch(
      /\n- Node: 22\.1\.0\n- Packages: p0 1\.0, .* and 2 more/,
    )
  })

  it('names a rollback as the first limitation', () =>
    expect(modelCard({ ...bare, rolledBackAt: '2026-04-01T00:00:00.000Z' }).limits[0]).toContain(
      'Rolled back at',
    ))

  it('has the reason that the requester of its retraining gave', () => {
    const created = modelCard({ ...bare, lineage: { reason: 'manual', note: 'new sensor' } })
    expect(created.created).toMatchObject({ reason: 'manual', note: 'new sensor' })
    expect(cardMarkdown(created)).toContain('manual: new sensor')
  })

  it('escapes names that contain a cell, a tag or a link', () => {
    const name = 'a|b<img src=x>[c](javascript:d)`e'
    const page = cardMarkdown(
      modelCard({
        ...bare,
        about: name,
        manifest: { features: { [name]: { kind: 'number', about: name } } },
        lineage: { reason: name, snapshot: '`x` <b>' },
      }),
    )
    expect(page.replaceAll(/\\./g, '')).not.toMatch(/<img|\]\(/)
    expect(page).toContain('Snapshot: `x<b>`')
  })
})
