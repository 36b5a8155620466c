/** Tests when the test rows are expected to have enough positives, for each kind of split. */
import { expect, it } from 'vitest'
import { expectationOf, type LackingEvidence } from '../../../domain/evaluation/expected-evidence.ts'

const dayMs = 86_400_000
const hash = { kind: 'hash', test: 0.2, stratified: true } as const
const time = { kind: 'time', trainMs: 60 * dayMs, testMs: 7 * dayMs, maturedMs: 0 } as const

it.each<[string, LackingEvidence, string]>([
  [
    'a share of all rows grows with them',
    { have: 50, need: 100, split: hash, spanMs: 30 * dayMs },
    'At the present rate, expected in about 30 d.',
  ],
  [
    'a share of rows without event times has no rate',
    { have: 50, need: 100, split: hash },
    'The date cannot be estimated: the rows have no event times.',
  ],
  [
    'a full test period does not grow, and a longer one has enough',
    { have: 61, need: 100, split: time, spanMs: 90 * dayMs },
    'Waiting is not enough: the test period is 7 d. At the present rate one of 12 d has enough (`test` of the split).',
  ],
  [
    'a young source fills the test period',
    { have: 61, need: 100, split: time, spanMs: 3 * dayMs },
    'At the present rate, expected in about 47 h.',
  ],
  [
    'a young source whose test period will be too short',
    { have: 20, need: 100, split: time, spanMs: 3 * dayMs },
    'Waiting is not enough: the test period is 7 d. At the present rate one of 15 d has enough (`test` of the split).',
  ],
  [
    'a sample does not grow with its rows',
    { have: 61, need: 100, split: { ...time, maxTest: 20_000 }, spanMs: 90 * dayMs },
    'The test rows are a sample of at most 20,000: raise `maxRows.test` of the split.',
  ],
  [
    'none at all has no rate',
    { have: 0, need: 100, split: hash, spanMs: 30 * dayMs },
    'The date cannot be estimated: there are none yet.',
  ],
])('%s', (_, lacking, sentence) => expect(expectationOf(lacking)).toContain(sentence))
