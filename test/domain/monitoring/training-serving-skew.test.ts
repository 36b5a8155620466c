import { expect, it } from 'vitest'
import { withUnread } from '../../../domain/release/judge-stage.ts'
import {
  findSkew,
  isComparedCopy,
  isSkewDue,
  maxDifferingShare,
  mergeSkew,
  servedSkewReason,
  servedText,
} from '../../../domain/monitoring/training-serving-skew.ts'

const hourMs = 3_600_000
const window = (hour: number) => ({ fromMs: hour * hourMs, toMs: (hour + 1) * hourMs })

it.each([
  ['which ends a day', 23, 2, true],
  ['in which no day ends', 12, 2, false],
  ['in which the champion was promoted', 12, 12.5, true],
  ['after the one in which it was promoted', 13, 12.5, false],
])('skew is checked once a day and after a promotion: a window %s', (_name, hour, since, due) =>
  expect(isSkewDue(window(hour), since * hourMs)).toBe(due),
)

it('the first fifty copies of a shadow are compared, then one in a hundred', () => {
  const compared = Array.from({ length: 1_000 }, (_, n) => n).filter(isComparedCopy)
  expect(compared).toHaveLength(50 + 9)
  expect(compared.slice(49, 52)).toEqual([49, 100, 200])
})

it('rows without a difference bound the share of such rows', () => {
  expect(maxDifferingShare(50)).toBe(0.06)
  // With a share of 3/m, the chance that m rows show none is below 5 %.
  for (const rows of [4, 50, 1_000]) expect((1 - maxDifferingShare(rows)) ** rows).toBeLessThan(0.05)
  expect(maxDifferingShare(2)).toBe(1)
})

it('one row of another answer is a finding against a candidate, with its column and prediction', () => {
  const row = (score: number, predictionId: string) => ({
    predictionId,
    served: { score },
    replayed: { score: 0.5 },
  })
  const before = findSkew(Array.from({ length: 49 }, (_, i) => row(0.5, `p${i}`)))
  expect(servedSkewReason(before)).toBeNull()
  const served = mergeSkew(before, findSkew([row(0.05, 'p49')]))
  expect(servedSkewReason(served)).toEqual({
    code: 'serving_skew',
    message:
      'what is served is not what was judged: 1 of 50 rows differ from training: score in 1, as in p49',
    values: { mismatchedRows: 1, compared: 50, column: 'score', example: 'p49', maxDifference: 0.45 },
  })
})

it.each([
  [{ compared: 50 }, '50 rows served as judged, at most 6 % differ'],
  [{ compared: 1 }, '1 row served as judged'],
  [
    { compared: 50, problem: 'not compared: score, because `note` is logged as a digest' },
    '50 rows served as judged, at most 6 % differ; not compared: score, because `note` is logged as a digest',
  ],
  [{ compared: 0 }, 'no served row was compared with training: none is in the prediction log yet'],
  [
    { compared: 0, problem: 'm_v1 cannot be replayed: its process did not end within 60 s' },
    'no served row was compared with training: m_v1 cannot be replayed: its process did not end within 60 s',
  ],
])('served rows %o are told', (served, text) =>
  expect(servedText({ mismatchedRows: 0, columns: [], ...served })).toBe(text),
)

it('no stage passes while served rows are being compared, and a finding does not wait for them', () => {
  const judgement = (kind: 'pass' | 'fail') => ({
    verdict: { kind, reasons: [], statistics: {}, judge: 'canary' },
    reason: kind,
    inputs: {},
  })
  const served = { compared: 0, mismatchedRows: 0, columns: [], isUnread: true as const }
  expect(withUnread(judgement('pass'), { served })).toMatchObject({
    verdict: { kind: 'inconclusive', reasons: [{ code: 'served_unread' }] },
    reason: 'its served rows are still being compared with training',
  })
  expect(withUnread(judgement('fail'), { served }).verdict.kind).toBe('fail')
  const { isUnread: _, ...read } = served
  expect(withUnread(judgement('pass'), { served: read }).verdict.kind).toBe('pass')
})
