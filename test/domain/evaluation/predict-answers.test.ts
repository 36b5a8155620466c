/** Tests what the gate records of both versions' answers to the same test rows, for every task. */
import { describe, expect, it } from 'vitest'
import {
  defaultDisagreement,
  distanceSteps,
  reportDisagreement,
} from '../../../domain/canary/disagreement.ts'
import {
  answerShares,
  type PredictedAnswers,
  type PredictedDistance,
} from '../../../domain/canary/predicted-answers.ts'
import { predictAnswers } from '../../../domain/evaluation/predict-answers.ts'
import type { OutcomeValue } from '../../../domain/tasks/output.ts'
import { decisionNames, taskOf } from '../../../domain/tasks/tasks.ts'
import { answeringKinds, answeringModels, outputOf } from '../../support/tasks/answering.ts'

const rows = 1_010
const at = Array.from({ length: rows }, (_, i) => i)

/** The champion is wrong in a fifth of the rows, the challenger in each tenth. */
function compared(kind: (typeof answeringKinds)[number]) {
  const { answer, outcome, profile } = answeringModels[kind]
  const output = outputOf(kind)
  const truth = (value: OutcomeValue) =>
    taskOf(output).truth(output, taskOf(output).canonical(output, value))!
  return {
    y: at.flatMap((i) => truth(outcome(i))),
    challenger: { answers: at.map((i) => answer(i, i % 10 !== 0)), output },
    champion: {
      answers: at.map((i) => answer(i, i % 5 !== 0)),
      output,
      profile: profile && { rows: 101, features: [], ...profile },
    },
    shared: output,
    days: at.map((i) => Math.floor(i / 101)),
    slices: [
      { name: 'odd', rows: at.filter((i) => i % 2 === 1) },
      { name: 'fifth', rows: at.filter((i) => i % 5 === 0) },
    ],
  }
}

describe.each(answeringKinds)('the answers of %s', (kind) => {
  const found = predictAnswers(compared(kind))!
  const perRow = kind === 'numbers' ? 2 : 1

  it('are counted by both versions, with the version that was right where they differ', () => {
    const sum = (of: (cell: (typeof found.cells)[number]) => number) =>
      found.cells.reduce((n, cell) => n + of(cell), 0)
    expect(sum((cell) => cell.rows)).toBe(rows * perRow)
    // Only in rows whose place ends in 5 do the versions differ, and the challenger is right there.
    const differ = found.cells.filter(({ champion, candidate }) => champion !== candidate)
    expect(differ.length).toBeGreaterThan(0)
    for (const cell of differ) expect([cell.championRight, cell.candidateRight]).toEqual([0, cell.rows])
    expect(sum((cell) => cell.candidateRight) - sum((cell) => cell.championRight)).toBe((rows / 10) * perRow)
    const { champion, candidate } = answerShares(found)
    for (const shares of [champion, candidate])
      expect(shares.reduce((all, share) => all + share, 0)).toBeCloseTo(perRow, 10)
  })

  it('differ by the distance that a shadow would measure, in all rows and in each slice', () => {
    const [all, odd, fifth] = found.distances
    expect([all!.name, odd!.name, fifth!.name]).toEqual(['all requests', 'odd', 'fifth'])
    const step = all!.mean / 0.1
    expect(step).toBeGreaterThan(0.3)
    expect(odd!.mean).toBeCloseTo(0.2 * step, 1)
    expect(fifth!.mean).toBeCloseTo(0.5 * step, 1)
    expect(found.blocks).toEqual({ count: 10, of: 'days' })
  })

  it('that are equal differ by nothing, on no day', () => {
    const { champion, ...rest } = compared(kind)
    const equal = predictAnswers({ ...rest, champion: { ...champion, answers: rest.challenger.answers } })!
    expect(equal.cells.every((cell) => cell.champion === cell.candidate)).toBe(true)
    expect(
      [...equal.sd, equal.distances[0]!.mean, equal.distances[0]!.sd].every((value) => value === 0),
    ).toBe(true)
  })
})

it('rows without days are parted, and few rows predict nothing', () => {
  const { days: _days, ...timeless } = compared('probability')
  expect(predictAnswers(timeless)!.blocks).toEqual({ count: 10, of: 'rows' })
  const few = (answers: readonly number[][]) => answers.slice(0, 199)
  const { challenger, champion } = timeless
  const asked = {
    ...timeless,
    challenger: { ...challenger, answers: few(challenger.answers) },
    champion: { ...champion, answers: few(champion.answers) },
    slices: [],
  }
  expect(predictAnswers(asked)).toBeUndefined()
})

it('numbers whose level has moved lie a distance apart that a shadow counts alike, so it never exceeds itself', () => {
  const given = compared('number')
  const moved = (by: number) => given.champion.answers.map((answer) => answer.map((value) => value + by))
  for (const by of [0.13, 0.29, 0.31, 0.47, 0.53]) {
    const [{ mean, sd }] = predictAnswers({
      ...given,
      challenger: { ...given.challenger, answers: moved(by) },
    })!.distances as [PredictedDistance]
    const distances = Array.from({ length: distanceSteps + 1 }, () => 0)
    distances[Math.round(mean * distanceSteps)] = 10_000
    expect([mean * distanceSteps, sd]).toEqual([
      expect.closeTo(Math.round(mean * distanceSteps), 6),
      expect.closeTo(0, 6),
    ])
    const seen = {
      measure: 'distance',
      all: { name: 'all requests', distances },
      slices: [],
      changes: [],
    } as const
    const predicted = { distances: [{ name: 'all requests', mean, sd }] } as unknown as PredictedAnswers
    expect(reportDisagreement(seen, { ...defaultDisagreement, max: 0 }, 0.002, predicted).all.above).toBe(
      false,
    )
  }
})

it('a champion decides by its own threshold', () => {
  const given = compared('probability')
  const output = { ...given.shared, threshold: 0.1 } as typeof given.shared
  const found = predictAnswers({ ...given, champion: { ...given.champion, output } })!
  expect(answerShares(found).champion).toEqual([0, 1])
  expect(found.names).toEqual(decisionNames(output))
})

it('a day on which the shares differ more widens what is expected', () => {
  const given = compared('probability')
  const constant = (i: number) => [i < 101 ? 0.9 : 0.1 + 0.8 * Number(i % 4 === 0)]
  const found = predictAnswers({
    ...given,
    champion: { ...given.champion, answers: at.map((i) => [i % 4 === 0 ? 0.9 : 0.1]) },
    challenger: { ...given.challenger, answers: at.map(constant) },
  })!
  // ln 4 on one day of ten, and 0 on nine: a standard deviation of 0.3 ln 4.
  expect(found.sd[1]).toBeCloseTo(0.3 * Math.log(101.5 / 26), 1)
})
