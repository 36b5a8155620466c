/** Tests when the test rows are expected to have enough positives, for each kind of split, and when a margin is too narrow for them. */
import { expect, it } from 'vitest'
import {
  expectationOf,
  expectedNarrowMargin,
  narrowMarginText,
  type LackingEvidence,
} from '../../../domain/evaluation/expected-evidence.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { normalQuantile, seededRandom, standardNormal } from '@tenure/sequential'

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

/** A world in which both versions rank equally well, AUC 0.75, and differ by chance. */
function equalVersions(rows: number, seed: number) {
  const uniform = seededRandom(seed)
  const above = Math.SQRT2 * normalQuantile(0.75)!
  const drawn = Array.from({ length: rows }, () => {
    const label = uniform() < 0.25 ? 1 : 0
    const z = standardNormal(uniform)
    const answer = () => [
      1 / (1 + Math.exp(-(0.9 * z + Math.sqrt(0.19) * standardNormal(uniform) + label * above))),
    ]
    return { label, champion: answer(), challenger: answer() }
  })
  return {
    y: drawn.map(({ label }) => label),
    champion: drawn.map(({ champion }) => champion),
    challenger: drawn.map(({ challenger }) => challenger),
  }
}

it('an equal challenger that 6,000 rows refuse is told what they can show, and with the named margin four of five pass', () => {
  const policy = { ...defaultGatePolicy('binary'), calibration: 'off', resamples: 60 } as const
  const worlds = Array.from({ length: 60 }, (_, seed) => equalVersions(6_000, seed + 1))
  const reports = worlds.map((world) => judgeGate(world, policy))
  const refused = reports.filter(({ verdict }) => verdict === 'not_better')
  expect(refused.length).toBeGreaterThan(30)
  const margins = refused
    .filter(({ metrics }) => metrics[0]!.verdict === 'not_better')
    .map(({ reasons }) => {
      const [, shows, margin] =
        /can show a loss of ([\d.]+) and the margin is 0\.005, .* margin of ([\d.]+),/.exec(
          reasons[0]!.message,
        )!
      expect(Number(shows)).toBeGreaterThan(0.005)
      return Number(margin)
    })
  // Only a challenger that is certainly worse by chance is told nothing of the rows.
  expect(margins.length).toBeGreaterThan(refused.length - 6)
  const wide = { ...policy, margins: { ...policy.margins, auc: margins[0]! } }
  const passed = worlds.filter((world) => judgeGate(world, wide).verdict !== 'not_better').length
  expect(passed / worlds.length).toBeGreaterThan(0.8 - 3 * Math.sqrt(0.16 / worlds.length))
})

it('a margin that the rows can show is told nothing, and one of 0 names no length of a test', () => {
  expect(narrowMarginText({ shows: 0.004, margin: 0.005 })).toBeUndefined()
  expect(narrowMarginText({ shows: 0.004, margin: 0 })).toBe(
    'this test can show a loss of 0.004 and the margin is 0, so an equal challenger fails more often than it passes: with a margin of 0.006, four of five would pass',
  )
})

it('before the first evaluation, the margins of AUC and accuracy are compared with the expected test rows', () => {
  const told = (metric: 'auc' | 'accuracy' | 'brier', rows: number) =>
    expectedNarrowMargin({ ...defaultGatePolicy('binary'), primary: metric }, { rows, positives: rows / 4 })
  expect(told('auc', 6_000)).toMatch(
    /^AUC on about 6,000 test rows: this test can show a loss of 0\.0\d+ and the margin is 0\.005, so an equal/,
  )
  expect(told('auc', 100_000)).toBeUndefined()
  expect(told('accuracy', 1_000)).toMatch(/loss of 0\.016 and the margin is 0\.01, /)
  expect(told('accuracy', 6_000)).toBeUndefined()
  expect(told('brier', 100)).toBeUndefined()
})
