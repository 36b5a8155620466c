/** Tests the headline of a retraining, for each outcome and each step. */
import { describe, expect, it } from 'vitest'
import { headlineOf, stepText } from '../../../../api/dashboard/pages/training/retraining.tsx'
import type { RetrainingEnding } from '../../../../domain/training/runs.ts'

const startedAt = '2026-03-01T12:00:00.000Z'
const nowMs = Date.parse('2026-03-01T12:04:00Z')
const retraining = {
  id: 'retrain/flights/1',
  model: 'flights',
  reason: 'schedule',
  requestedBy: 'schedule',
  asOf: startedAt,
  evidence: {},
  startedAt,
  makes: 'training',
}
const shown = (more: object = {}, rest: object = {}) =>
  headlineOf({ retraining: { ...retraining, ...more }, nowMs, ...rest } as never)
const endedAt = '2026-03-01T12:03:00.000Z'
const report = {
  policy: { primary: 'auc', guards: [] },
  metrics: [
    {
      metric: 'auc',
      champion: 0.709,
      challenger: 0.691,
      oneSidedLow: -0.02,
      margin: 0.005,
      verdict: 'not_better',
    },
  ],
  reasons: [],
}
const version = 'flights_v1.4.2'

const headlines: Record<RetrainingEnding['outcome'], [headline: string, more?: object, rest?: object]> = {
  released: ['flights v1.4.2 trained, its release started', { version }],
  registered: ['flights v1.4.2 registered, not released', { version }],
  unchanged: ['flights not released: the same artifact as before'],
  quarantined: [
    'flights not trained: the data failed 2 of 28 checks',
    {},
    { validation: { verdict: 'block', failed: 2, expectations: 28, checks: [] } },
  ],
  not_better: ['flights not released: AUC 0.6910 vs 0.7090', {}, { report }],
  insufficient: [
    'flights not released: 61 of 100 positives in the test rows',
    {},
    { lacking: [{ what: 'positives', have: 61, need: 100, expected: '' }] },
  ],
  failed: ['flights: retraining failed: the file is gone', { message: 'the file is gone' }],
  cancelled: ['flights: retraining cancelled by ada', {}, { cancellation: { actor: 'ada' } }],
}

it.each(Object.entries(headlines))(
  'a retraining that ended as %s says so',
  (outcome, [headline, more, rest]) => expect(shown({ outcome, endedAt, ...more }, rest)).toBe(headline),
)

it('an ended retraining without its report or its checks still says what happened', () => {
  expect(shown({ outcome: 'quarantined', endedAt })).toBe('flights not trained: the data failed validation')
  expect(shown({ outcome: 'not_better', endedAt, message: `slow; ${'x'.repeat(400)}` })).toBe(
    'flights not released: slow …',
  )
  expect(shown({ outcome: 'throttled', endedAt })).toBe('flights: throttled')
})

const compression = { makes: 'compression', compression: { version, to: 'int8' } }
const registration = { makes: 'registration' }

it.each<[headline: string, more: object, rest?: object]>([
  ['flights v1.4.3 compressed, its release started', { ...compression, outcome: 'released' }],
  ['flights v1.4.3 registered, its release started', { ...registration, outcome: 'released' }],
  ['flights v1.4.3 registered, not released', { ...compression, outcome: 'registered' }],
  ['flights not compressed: the data failed validation', { ...compression, outcome: 'quarantined' }],
  ['flights: compression failed: it hung', { ...compression, outcome: 'failed', message: 'it hung' }],
  [
    'flights: registration cancelled by ada',
    { ...registration, outcome: 'cancelled' },
    headlines.cancelled[2],
  ],
])('a version that is not trained is not called so: %s', (headline, more, rest) => {
  const made = headline.includes('v1.4.3') ? { version: 'flights_v1.4.3' } : {}
  expect(shown({ endedAt, ...made, ...more }, rest)).toBe(headline)
})

it.each([
  [compression, 'flights: compression of v1.4.2 to int8 since 4 min, step 2 of 4: making the version'],
  [registration, 'flights: registration since 4 min, step 2 of 4: making the version'],
])('a running one that trains nothing says what it makes', (more, headline) => {
  expect(shown(more, { training: { status: 'running' } })).toBe(headline)
  expect(shown(more, { waiting: 'no worker' })).toMatch(
    /^flights: (compression|registration) has not begun, /,
  )
})

describe('a running retraining', () => {
  const training = { status: 'done', evaluation: { id: 'e', verdict: 'better' } }
  it.each([
    [undefined, 'step 1 of 4: loading and validating data'],
    [{ status: 'running' }, 'step 2 of 4: training'],
    [{ status: 'failed' }, 'step 2 of 4: training failed'],
    [{ status: 'done' }, 'step 3 of 4: evaluating against champion'],
    [training, 'step 4 of 4: registering and releasing'],
    [{ ...training, refit: 'running' }, 'step 4 of 4: training again on all matured rows'],
  ])('with the training %o is in its step', (given, step) => {
    expect(stepText(given as never, 'training')).toBe(step)
    expect(shown({}, { training: given })).toBe(`flights: retraining since 4 min, ${step}`)
  })
  it('that waits for a worker says since when', () =>
    expect(shown({}, { waiting: 'no worker' })).toBe('flights: training has not begun, waiting since 4 min'))
})
