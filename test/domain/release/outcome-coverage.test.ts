/**
 * Tests that no judge compares outcomes that are known for different shares of the answers of its two sides, for every comparison of
 * outcomes: neither a loss nor a proof is found, and two arms are held.
 */
import { countDifferences, normalCdf, seededRandom, standardNormal } from '@tenure/sequential'
import { describe, expect, it } from 'vitest'
import { businessTest, type BusinessFigures } from '../../../domain/canary/business-metric.ts'
import {
  coverageCode,
  coverageCounter,
  coverageReason,
  pairCoverage,
  pairCoverageReason,
  type Coverage,
} from '../../../domain/canary/coverage.ts'
import { businessAlpha } from '../../../domain/canary/alpha-split.ts'
import type { AbPolicy } from '../../../domain/canary/ab-test.ts'
import { pairedLosses, type ArmLosses, type ServedPair } from '../../../domain/canary/holdback.ts'
import type { CountedTick, Observation, OutcomeComparison } from '../../../domain/release/evidence-builder.ts'
import { judge } from '../../../domain/release/judge-stage.ts'
import type { JudgedState } from '../../../domain/release/state.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { answerBins } from '../../../domain/tasks/tasks.ts'
import { releasePolicy } from '../../support/release/releases.ts'

const [version, baseline] = ['m_v1.1.0', 'm_v1.0.0']
const { tickMs } = releasePolicy.watch

/** A stage in which all requests succeed, half of them at each version. */
function stageOf(stage: 'canary' | 'probation', ab?: AbPolicy): JudgedState {
  return {
    version,
    baseline,
    strategy: ab === undefined ? 'canary' : 'ab',
    policy: {
      ...releasePolicy,
      stages: [{ ...releasePolicy.stages[0]!, shareBp: 5_000 }],
      probation: { ...releasePolicy.probation!, holdbackBp: 5_000 },
      limits: {
        ...releasePolicy.limits,
        promotion: 'off',
        scoreShift: 'off',
        disagreement: 'off',
        business: {
          spent: {
            event: 'purchase',
            counts: 'mean',
            min: 0,
            max: 100,
            withinMs: 1,
            delayMs: 0,
            lowerIsBetter: false,
            action: 'rollback',
          },
        },
        alpha: businessAlpha,
      },
      ab,
    },
    stage,
    stageIndex: 0,
    shareBp: 5_000,
    routings: [{ stage, stageIndex: 0, generation: 1, shareBp: 5_000, startedMs: 0 }],
    promoted: stage === 'probation',
  }
}
const none = { errors: 0, invalid: 0, slow95: 0, slow99: 0 }
const counted = [0, 1, 2, 3].flatMap((tick): CountedTick[] =>
  [version, baseline].map((each) => ({
    version: each,
    generation: 1,
    tickMs: tick * tickMs,
    lengthMs: tickMs,
    requests: 500,
    ...none,
  })),
)

/** Losses of 500 blocks, all of which differ by `delta`. */
const lossesOf = (delta: number): ArmLosses => ({
  differences: countDifferences(Array.from({ length: 500 }, () => delta)),
  candidate: { total: 500, loss: 100 + 500 * delta },
  control: { total: 500, loss: 100 },
})
const cohortsOf = (wrong: number): Observation['cohorts'] =>
  Array.from({ length: 20 }, (_, i) => ({
    atMs: i * tickMs,
    canary: { total: 100, events: wrong },
    control: { total: 100, events: 15 },
  }))
function spentOf(value: number): BusinessFigures {
  const metric = stageOf('canary').policy.limits.business!['spent']!
  const test = businessTest(metric)
  for (let user = 0; user < 300; user++) {
    test.add('canary', value, { index: 0, shareBp: 5_000 })
    test.add('control', 50, { index: 0, shareBp: 5_000 })
  }
  return test.figures()
}

const alike: Coverage = {
  canary: { answers: 5_000, outcomes: 4_500 },
  control: { answers: 5_000, outcomes: 4_500 },
}
/** The candidate declines less. */
const selective: Coverage = { ...alike, control: { answers: 5_000, outcomes: 4_150 } }

interface Compared {
  state: JudgedState
  worse: Partial<Observation>
  better: Partial<Observation>
}
const ab = (metric: string) => stageOf('canary', { metric, alpha: 0.05 })
const ofOutcomes: Record<OutcomeComparison, Compared> = {
  holdback: {
    state: stageOf('probation'),
    worse: { holdback: lossesOf(0.2) },
    better: { holdback: lossesOf(-0.2) },
  },
  losses: { state: ab('loss'), worse: { losses: lossesOf(0.2) }, better: { losses: lossesOf(-0.2) } },
  cohorts: {
    state: ab('accuracy'),
    worse: { cohorts: cohortsOf(35) },
    better: { cohorts: cohortsOf(3) },
  },
}
const judged = (state: JudgedState, seen: Partial<Observation>) =>
  judge(state, { counted, staleMs: 1, watchedMs: 4 * tickMs, ...seen }).verdict
const codesOf = ({ reasons }: ReturnType<typeof judged>) => reasons.map(({ code }) => code)

describe.each(Object.entries(ofOutcomes))('the outcomes of the %s', (name, { state, worse, better }) => {
  const withCoverage = (seen: Partial<Observation>, coverage: Coverage) =>
    judged(state, { ...seen, coverage: { [name]: coverage } })

  it('are judged where both sides have as many', () => {
    expect(withCoverage(worse, alike).kind).toBe('fail')
    expect(withCoverage(better, alike).kind).toBe('pass')
    expect(judged(state, worse).kind).toBe('fail')
  })

  it('hold the stage where they do not, and say so', () => {
    for (const seen of [worse, better]) {
      const verdict = withCoverage(seen, selective)
      expect(verdict.kind).toBe('inconclusive')
      expect(codesOf(verdict)).toEqual([coverageCode])
    }
  })
})

describe('the mean of a business metric', () => {
  const seen = (value: number, coverage: Coverage) => ({
    business: { spent: { ...spentOf(value), coverage } },
  })

  it('is judged where as many users have a value, and told where they do not', () => {
    const state = stageOf('canary')
    expect(judged(state, seen(20, alike)).kind).toBe('fail')
    const held = judged(state, seen(20, selective))
    expect(held.kind).toBe('pass')
    expect(codesOf(held)).toEqual(['stage_passed', coverageCode])
    expect(held.reasons[1]!.message).toMatch(/^spent: outcomes are known for 90 % of 5,000 users/)
  })

  it('decides no A/B test where they do not', () => {
    expect(judged(ab('spent'), seen(80, alike)).kind).toBe('pass')
    const held = judged(ab('spent'), seen(80, selective))
    expect(held.kind).toBe('inconclusive')
    expect(codesOf(held)[0]).toBe(coverageCode)
  })

  it('counts the users without a value, and a total has none', () => {
    const metric = stageOf('canary').policy.limits.business!['spent']!
    const add = (counts: 'mean' | 'total') => {
      const test = businessTest({ ...metric, counts })
      for (const value of [3, null, 5]) test.add('canary', value, { index: 0, shareBp: 5_000 })
      return test.figures().coverage
    }
    expect(add('mean')?.canary).toEqual({ answers: 3, outcomes: 2 })
    expect(add('total')).toBeUndefined()
  })
})

describe('the pairs of a shadow', () => {
  const output: Output = { kind: 'probability', positive: 'decline', threshold: 0.53 }
  const threshold = 0.53
  const cdf = (z: number) => normalCdf(z)!
  /** How much of the risk of a request a version knows. */
  const skills = { equal: [0.8, 0.8], worse: [0.5, 0.9], better: [0.9, 0.5] } as const
  type Missing = 'of declined customers' | 'by chance' | 'by risk'

  /** Requests to two calibrated versions; `served`: whose answer the caller receives, without which an outcome may be missing. */
  function pairsOf(
    served: ServedPair['served'],
    [canary, control]: readonly [number, number],
    missing: Missing,
    n = 5_000,
  ): ServedPair[] {
    const uniform = seededRandom(17)
    const normal = () => standardNormal(uniform)
    return Array.from({ length: n }, () => {
      const risk = normal()
      const scoreOf = (known: number) => {
        const signal = known * risk + Math.sqrt(1 - known ** 2) * normal()
        return cdf((1.5 * known * signal - 1) / Math.sqrt(1 + 2.25 * (1 - known ** 2)))
      }
      const scores = { canary: scoreOf(canary), control: scoreOf(control) }
      const value = uniform() < cdf(1.5 * risk - 1)
      const share = {
        'of declined customers': scores[served] >= threshold ? 1 : 0,
        'by chance': 0.1,
        'by risk': cdf(risk - 1.6),
      }[missing]
      const answer = (probability: number) => ({ label: probability >= threshold, probability })
      return {
        served,
        canary: answer(scores.canary),
        control: answer(scores.control),
        value: uniform() < share ? null : value,
      }
    })
  }
  const seenOf = (pairs: readonly ServedPair[]): Partial<Observation> => {
    const of = (served: ServedPair['served']) =>
      pairCoverage(
        pairs.filter((each) => each.served === served),
        { canary: output, control: output },
        answerBins(output),
      )
    return {
      pairedLosses: pairedLosses(pairs, {
        judged: { loss: 'brier' },
        by: { canary: { output }, control: { output } },
      }),
      pairCoverage: { shadow: of('control'), pairedLosses: of('canary') },
    }
  }
  const stage = stageOf('canary')
  const proving: JudgedState = {
    ...stage,
    policy: {
      ...stage.policy,
      limits: { ...stage.policy.limits, nonInferiority: { margin: 0.01, logE: 3 } },
    },
  }

  it.each(['control', 'canary'] as const)(
    'have outcomes alike where the %s serves and outcomes are missing by chance or by risk',
    (served) => {
      for (const missing of ['by chance', 'by risk'] as const) {
        const { pairCoverage: found } = seenOf(pairsOf(served, skills.equal, missing))
        expect(Object.values(found!).map((counts) => pairCoverageReason(counts))).toEqual([
          undefined,
          undefined,
        ])
      }
    },
  )

  it('name the answer whose outcomes are missing', () => {
    const { pairCoverage: found } = seenOf(pairsOf('control', skills.equal, 'of declined customers'))
    expect(pairCoverageReason(found!.shadow!)?.message).toMatch(
      /^outcomes are known for 0 % of \d+ requests that only the copy answered "not decline", for 100 % of \d+ that only the served answer did: logE [\d.]+ ≥ [\d.]+; the outcomes cannot be compared$/,
    )
  })

  it('still hold a loss against a candidate that is not served, whom the missing outcomes favour', () => {
    const seen = (skill: readonly [number, number]) =>
      judged(stage, seenOf(pairsOf('control', skill, 'of declined customers')))
    expect(codesOf(seen(skills.worse))).toEqual(['paired_quality'])
    for (const skill of [skills.equal, skills.better]) {
      const verdict = seen(skill)
      expect(verdict.kind).toBe('pass')
      expect(codesOf(verdict)).toEqual(['stage_passed', coverageCode])
    }
  })

  it('prove nothing for such a candidate', () => {
    const seen = (missing: Missing) => judged(proving, seenOf(pairsOf('control', skills.better, missing)))
    expect(seen('by chance').kind).toBe('pass')
    const held = seen('of declined customers')
    expect(held.kind).toBe('inconclusive')
    expect(codesOf(held)).toEqual([coverageCode])
  })

  it('are not compared where the new champion serves, whom the missing outcomes harm', () => {
    const seen = (missing: Missing, skill: readonly [number, number] = skills.equal) =>
      judged(stageOf('probation'), seenOf(pairsOf('canary', skill, missing, 40_000)))
    expect(codesOf(seen('by chance', skills.worse))).toEqual(['paired_quality'])
    // Compared, this equal champion would be rolled back.
    const { pairCoverage: _, ...compared } = seenOf(
      pairsOf('canary', skills.equal, 'of declined customers', 40_000),
    )
    expect(codesOf(judged(stageOf('probation'), compared))).toEqual(['paired_quality'])
    const held = seen('of declined customers')
    expect(held.kind).toBe('pass')
    expect(codesOf(held)).toEqual(['stage_passed', coverageCode])
  })
})

describe('the coverage of two arms', () => {
  const output: Output = { kind: 'probability', positive: 'decline', threshold: 0.5 }
  const uniform = seededRandom(11)
  /** Declined customers have no outcome. */
  const counts = (
    declined: { canary: number; control: number },
    missing: (isDeclined: boolean) => boolean,
  ) => {
    const counter = coverageCounter({ canary: output, control: output }, answerBins(output))
    for (let i = 0; i < 10_000; i++) {
      const arm = i % 2 === 0 ? 'canary' : 'control'
      const isDeclined = uniform() < declined[arm]
      const value = missing(isDeclined) ? null : uniform() < 0.1
      counter.add({ arm, atMs: i, outputs: [isDeclined ? 0.9 : 0.1], value })
    }
    return counter.counts()
  }
  const sides = ['answers of the candidate', 'of the champion'] as const

  it('differs where declined customers have no outcome, and names the answers', () => {
    const reason = coverageReason(
      counts({ canary: 0.1, control: 0.17 }, (isDeclined) => isDeclined),
      sides,
    )
    expect(reason?.message).toMatch(
      /known for (89|90)[\d.]* % of 5,000 answers of the candidate, for 8[23][\d.]* % of 5,000 of the champion; by answer: "not decline" 100 % of [\d,]+, "decline" 0 % of [\d,]+: logE [\d.]+ ≥ 6.908/,
    )
  })

  it('does not differ where outcomes are missing by chance, nor by less than a point', () => {
    expect(
      coverageReason(
        counts({ canary: 0.1, control: 0.17 }, () => uniform() < 0.1),
        sides,
      ),
    ).toBeUndefined()
    const many = (outcomes: number) => ({ answers: 1_000_000, outcomes })
    expect(coverageReason({ canary: many(900_000), control: many(905_000) }, sides)).toBeUndefined()
    expect(coverageReason({ canary: many(900_000), control: many(911_000) }, sides)).toBeDefined()
  })

  it('watched at every look, differs by chance in less than one of a hundred tests', () => {
    let held = 0
    for (let test = 0; test < 200; test++) {
      const arms = { canary: { answers: 0, outcomes: 0 }, control: { answers: 0, outcomes: 0 } }
      let isHeld = false
      for (let i = 1; i <= 3_000; i++) {
        const arm = arms[uniform() < 0.9 ? 'canary' : 'control']
        arm.answers++
        if (uniform() < 0.85) arm.outcomes++
        isHeld ||= i % 100 === 0 && coverageReason(arms, sides) !== undefined
      }
      if (isHeld) held++
    }
    expect(held).toBeLessThanOrEqual(2)
  })
})
