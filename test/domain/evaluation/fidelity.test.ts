/** Tests the judge of fidelity: each verdict with each of its reasons, over all tasks, and its error by simulation. */
import { describe, expect, it } from 'vitest'
import { outputWidth } from '@tenure/predictors/features'
import { seededRandom } from '@tenure/sequential'
import {
  defaultFidelity,
  issuesOfFidelity,
  judgeFidelity,
  levelOf,
  type FidelityInput,
  type FidelityPolicy,
} from '../../../domain/evaluation/fidelity.ts'
import { rowLosses, score } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { Output, OutputKind } from '../../../domain/tasks/output.ts'
import { gateOf, taskOf, tasks } from '../../../domain/tasks/tasks.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import {
  brokenChildren,
  countAnyPassed,
  countVerdicts,
  equalChildren,
  rowsUntilEqual,
  untoldChild,
} from '../../support/evaluation/children.ts'
import { mostOf, worldsOf } from '../../support/evaluation/worlds.ts'

const outputs: { [Kind in OutputKind]: Output } = {
  probability: { kind: 'probability', positive: 'late', threshold: 0.5 },
  classes: { kind: 'classes', classes: ['a', 'b', 'c'] },
  number: { kind: 'number', min: 0, max: 10 },
  quantiles: { kind: 'quantiles', levels: [0.1, 0.5, 0.9], min: 0, max: 10 },
  numbers: { kind: 'numbers', names: ['a', 'b'], min: 0, max: 10 },
}
const limits: FidelityPolicy = { epsilon: 0.02, flips: 0.02, alpha: 0.05 }

/** Valid answers, apart by about `distance` in the units of the task. */
function pair(output: Output, rows: number, { distance, seed = 1 }: { distance: number; seed?: number }) {
  const uniform = seededRandom(seed)
  const width = outputWidth(output)
  const { sumsToOne, decides } = taskOf(output)
  const parent: number[][] = []
  const child: number[][] = []
  for (let row = 0; row < rows; row++) {
    // Far from the threshold, so that no decision differs.
    const sure = 0.85 + 0.1 * uniform()
    if (sumsToOne) {
      parent.push(Array.from({ length: width }, (_, k) => (k === 0 ? sure : (1 - sure) / (width - 1))))
      const moved = sure - distance
      child.push(Array.from({ length: width }, (_, k) => (k === 0 ? moved : (1 - moved) / (width - 1))))
      continue
    }
    const unit = decides ? 1 : 10
    parent.push(Array.from({ length: width }, (_, k) => sure * unit + k / 10))
    child.push(Array.from({ length: width }, (_, k) => (sure - distance) * unit + k / 10))
  }
  return { parent, child }
}

const judge = (output: Output, rows: number, distance: number, more: Partial<FidelityInput> = {}) =>
  judgeFidelity({
    ...pair(output, rows, { distance }),
    version: { output },
    policy: limits,
    ...more,
  })
const codes = ({ reasons }: { reasons: { code: string }[] }) => reasons.map(({ code }) => code)

const invalid = (row: readonly number[]): number[] => row.map(() => NaN)

describe.each(Object.keys(tasks) as OutputKind[])('the fidelity of %s', (kind) => {
  const output = outputs[kind]

  it('is proven for answers that are nearly the same, and measured in [0, 1]', () => {
    const report = judge(output, 1_000, 0.001)
    expect(codes(report)).toEqual(['equal'])
    expect(report.verdict).toBe('equal')
    expect(report.meanDifference).toBeCloseTo(0.001, 8)
    expect(report.maxDifference).toBeCloseTo(0.001, 8)
    expect(report.flips).toBe(0)
    expect(report.evidence).toBeGreaterThanOrEqual(report.threshold!)
    expect(report.needed).toBeUndefined()
  })

  it('is refuted for answers beyond the limit', () => {
    const report = judge(output, 1_000, 0.06)
    expect(report.verdict).toBe('not_equal')
    expect(codes(report)).toEqual(['differs'])
    expect(report.reasons[0]!.message).toContain('mean distance 6 % (limit 2 %)')
  })

  it('is not proven by few rows, and by as many more as the report says', () => {
    const few = judge(output, 50, 0.001)
    expect(few.verdict).toBe('insufficient')
    expect(codes(few)).toEqual(['unproven'])
    expect(judge(output, 50 + few.needed!, 0.001).verdict).toBe('equal')
    expect(judge(output, 50 + few.needed! - 1, 0.001).verdict).toBe('insufficient')
  })

  it('is refused for answers of another shape, and undecided without valid ones of the parent', () => {
    const { parent, child } = pair(output, 30, { distance: 0 })
    const version = { output }
    const none = judgeFidelity({ parent: parent.map(invalid), child, version, policy: limits })
    expect([none.verdict, codes(none)]).toEqual(['insufficient', ['parent_unreadable']])
    expect(none.reasons[0]!.message).toContain('none of 30 rows is valid: the answer is not finite')
    const wider = judgeFidelity({
      parent,
      child: child.map((row) => [...row, 0, 0]),
      version,
      policy: limits,
    })
    expect([wider.verdict, codes(wider)]).toEqual(['not_equal', ['child_unreadable']])
    const shorter = judgeFidelity({ parent, child: child.slice(1), version, policy: limits })
    expect(shorter.reasons[0]!.message).toContain('29 answers for 30 rows')
  })

  /** Each way in which a row is without a valid answer. */
  const ways: [string, string, (row: number[]) => number[]][] = [
    ['refused', 'prepare_failed', invalid],
    ['answered with NaN', 'the answer is not finite', invalid],
    ['answered with too few numbers', 'the answer has 0 numbers', () => []],
    ['answered outside of its limits', 'the answer is outside of min 0', (row) => row.map(() => 11)],
    ...(taskOf(output).sumsToOne
      ? [
          [
            'answered with a sum of 0.3',
            'the probabilities of the answer do not sum to 1',
            (row: number[]) => row.map(() => 0.1),
          ] as [string, string, (row: number[]) => number[]],
        ]
      : []),
  ]
  describe.each(ways)('for rows that are %s', (_, why, spoil) => {
    const rows = 1_000
    const { parent, child } = pair(output, rows, { distance: 0.001 })
    const version = { output }
    /** Rows with such an answer, one among the test rows or one in each part. */
    const spoiled = (answers: number[][], places: readonly number[]) =>
      answers.map((row, at) => (places.includes(at) ? spoil(row) : row))
    const refusalsOf = (places: readonly number[]) =>
      why === 'prepare_failed' ? new Map(places.map((row) => [row, why])) : undefined
    const requests = Array.from({ length: 500 }, (_row, at) => `request-${at}`)

    it.each([
      ['test rows', [499, 3], undefined],
      ['test rows beside requests', [499, 3], requests],
      ['logged requests', [999, 503], requests],
      ['both', [999, 3], requests],
    ])(
      'by the child, each counts as the largest distance and as another decision: %s',
      (_where, places, ids) => {
        const refusals = { child: refusalsOf(places) }
        const given = { parent, child: spoiled(child, places), version, requests: ids, refusals }
        const policy = { ...limits, epsilon: 0.1, flips: 0.1 }
        const report = judgeFidelity({ ...given, policy })
        expect(report).toMatchObject({ verdict: 'equal', rows, flips: 2, maxDifference: 1 })
        expect(report.meanDifference).toBeCloseTo((998 * 0.001 + 2) / rows, 8)
        expect(report.refused).toMatchObject({
          child: { rows: 2, why: expect.stringContaining(why) as string },
        })
        expect(report.reasons[0]!.message).toContain(
          '2 rows that the parent answers are refused, which counts as the largest distance and another decision',
        )
        expect(report.worst.slice(0, 2)).toMatchObject(
          places
            .toSorted((a, b) => a - b)
            .map((index) => ({
              index,
              difference: 1,
              isFlipped: true,
              parent: parent[index],
              refused: expect.stringContaining(why) as string,
              ...(ids !== undefined && index >= 500 && { request: `request-${index - 500}` }),
            })),
        )
        expect(JSON.stringify(report)).not.toContain('null,null')
        // Enough of them prove that the child is another one, in the part where they are.
        const many = Array.from({ length: 60 }, (_row, at) => (places[0]! > 500 ? 999 - at * 2 : at * 2))
        const worse = { ...given, child: spoiled(child, many), refusals: { child: refusalsOf(many) } }
        expect(judgeFidelity({ ...worse, policy: limits }).verdict).toBe('not_equal')
      },
    )

    it('by the child, one breaks a bound of the transformation', () => {
      const report = judgeFidelity({
        parent,
        child: spoiled(child, [7]),
        version,
        refusals: { child: refusalsOf([7]) },
        policy: limits,
        certificate: { bound: 0.01 },
      })
      expect([report.verdict, codes(report)]).toEqual(['not_equal', ['certificate_broken']])
      expect(report.reasons[0]!.message).toContain(`row 7 is refused (${why}`)
    })

    it('by the parent, each alone is left out, whatever the child answers', () => {
      const places = [3, 999, 503]
      const report = judgeFidelity({
        parent: spoiled(parent, places),
        child: spoiled(child, [3]),
        version,
        requests,
        refusals: { parent: refusalsOf(places), child: refusalsOf([3]) },
        entities: parent.map((_row, at) => Math.floor(at / 2)),
        slices: [{ name: 'first', rows: [0, 1, 2, 3] }],
        policy: limits,
      })
      expect(report).toMatchObject({ rows: 997, requests: 498, entities: 500, flips: 0 })
      expect(report.refused).toEqual({ parent: { rows: 3, why: expect.stringContaining(why) as string } })
      expect(report.maxDifference).toBeCloseTo(0.001, 8)
      expect(report.slices.map((slice) => slice.rows)).toEqual([499, 498, 3])
      expect(report.worst.map(({ index }) => index).filter((row) => places.includes(row))).toEqual([])
    })
  })

  it('shows the ten rows that differ most', () => {
    const { parent, child } = pair(output, 400, { distance: 0 })
    for (let row = 0; row < 12; row++)
      child[row * 30] = pair(output, 400, { distance: 0.01 * row }).child[row * 30]!
    const { worst } = judgeFidelity({ parent, child, version: { output }, policy: limits })
    expect(worst.map(({ index }) => index)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2].map((row) => row * 30))
    expect(worst[0]).toMatchObject({ parent: parent[330], child: child[330] })
    expect(worst[0]!.difference).toBeCloseTo(0.11, 8)
  })

  it('is of valid default limits, whatever the primary metric', () => {
    const { gate } = taskOf(output)
    for (const primary of [...gate.metrics, 'own'])
      for (const margin of [0, 0.004, { relative: 0.01 }]) {
        const policy = {
          ...defaultGatePolicy(gate.name),
          primary,
          margins: { [primary]: margin },
          ...(primary === 'own' && { custom: { own: { better: 'lower' as const } } }),
        }
        const limit = defaultFidelity(policy, { version: { output } })
        expect(issuesOfFidelity(limit)).toEqual([])
        expect(limit.basis).toMatch(/mean distance|margin/)
      }
  })
})

describe('test rows and logged requests', () => {
  const output = outputs.probability
  const [tested, few] = [pair(output, 2_000, { distance: 0 }), pair(output, 200, { distance: 0.03 })]
  const both = { parent: [...tested.parent, ...few.parent], child: [...tested.child, ...few.child] }
  const ids = few.parent.map((_, row) => `request-${row}`)
  const judged = (requests?: string[]) =>
    judgeFidelity({ ...both, requests, version: { output }, policy: { ...limits, epsilon: 0.01 } })

  it('are both counted, and a child that differs in the requests alone is refused for them', () => {
    expect(judged().verdict).toBe('equal')
    const report = judged(ids)
    expect(report).toMatchObject({ verdict: 'not_equal', rows: 2_200, requests: 200 })
    expect(codes(report)).toEqual(['slice_differs'])
    expect(report.slices.map(({ name, refuted }) => [name, refuted])).toEqual([
      ['test rows', false],
      ['logged requests', true],
    ])
    expect(report.worst.map(({ request }) => request)).toEqual(
      report.worst.map(({ index }) => `request-${index - 2_000}`),
    )
  })

  it('prove together what either is too few for', () => {
    const half = pair(output, 200, { distance: 0 })
    const rows = { parent: [...half.parent, ...half.parent], child: [...half.child, ...half.child] }
    const version = { output }
    expect(judgeFidelity({ ...half, version, policy: limits }).verdict).toBe('insufficient')
    const report = judgeFidelity({ ...rows, requests: ids, version, policy: limits })
    expect(report.verdict).toBe('equal')
    expect(report.reasons[0]!.message).toContain('in 200 test rows and 200 logged requests')
    expect(judgeFidelity({ ...half, requests: ids, version, policy: limits }).slices).toEqual([])
  })
})

it('counts flipped decisions by the threshold of the version', () => {
  const output: Output = { kind: 'probability', positive: 'late', threshold: 0.25 }
  const parent = Array.from({ length: 1_000 }, () => [0.251])
  const child = parent.map(([p], row) => [row % 10 === 0 ? 0.249 : p!])
  const report = judgeFidelity({ parent, child, version: { output }, policy: limits })
  expect(report).toMatchObject({ verdict: 'not_equal', flips: 100, flipShare: 0.1 })
  expect(report.meanDifference).toBeLessThan(0.001)
  expect(report.worst[0]!.isFlipped).toBe(true)
  expect(report.warnings.map(({ code }) => code)).toEqual(['constant_answers'])
})

it('counts a number as flipped beyond the tolerance', () => {
  const parent = Array.from({ length: 100 }, () => [5])
  const child = parent.map(([value], row) => [row === 0 ? 8 : value! + 0.5])
  const version = { output: outputs.number }
  const report = (tolerance?: number) =>
    judgeFidelity({ parent, child, version, policy: { ...limits, epsilon: 0.5, tolerance } })
  expect(report().flips).toBe(1)
  expect(report(0.01).flips).toBe(100)
})

it('measures numbers in the range of the parent in training', () => {
  const score = numberProfile(
    'score',
    Array.from({ length: 1_001 }, (_, i) => i / 10),
  )
  const version = { output: { kind: 'number' } as const, profile: { rows: 1_001, features: [], score } }
  const report = judgeFidelity({ parent: [[10], [20]], child: [[18], [500]], version, policy: limits })
  // Of 80 between the percentiles; a distance is at most 1.
  expect(report.worst.map(({ difference }) => difference)).toEqual([1, 0.1])
})

it('judges no number whose unit is not known, unless its answers are the same', () => {
  const version = { output: { kind: 'number' } as const }
  const parent = Array.from({ length: 1_000 }, (_, i) => [i])
  const child = parent.map(([value]) => [value! + 1e-9 * (value === 7 ? 1e9 : 0)])
  const report = judgeFidelity({ parent, child, version, policy: limits })
  expect([report.verdict, codes(report)]).toEqual(['insufficient', ['no_scale']])
  expect(report.reasons[0]!.message).toContain('set min and max of the label')
  const same = judgeFidelity({ parent, child: parent, version, policy: limits })
  expect(same.verdict).toBe('equal')
  expect(same.reasons[0]!.message).toContain('all 1,000 answers are the same')
  // An unknown range proves nothing from a bound.
  const certified = judgeFidelity({
    parent,
    child: parent,
    version,
    policy: limits,
    certificate: { bound: 0 },
  })
  expect(certified.certified).toBeUndefined()
})

it.each([
  ['no rows', { parent: [], child: [] }, 'no_rows', 'no rows that both versions answered'],
  ['entities of another number', { entities: [1, 2] }, 'entities_unreadable', '2 entities for 40 rows'],
  ['a limit of 0', { policy: { ...limits, epsilon: 0 } }, 'policy_invalid', 'epsilon: a number above 0'],
  ['a limit that is not a number', { policy: { ...limits, flips: NaN } }, 'policy_invalid', 'flips: '],
  ['an α of 1', { policy: { ...limits, alpha: 1 } }, 'policy_invalid', 'alpha: '],
  ['half an attempt', { policy: { ...limits, attempt: 1.5 } }, 'policy_invalid', 'attempt: a whole number'],
  ['a tolerance of 2', { policy: { ...limits, tolerance: 2 } }, 'policy_invalid', 'tolerance: '],
  ['a bound that is not a number', { certificate: { bound: NaN } }, 'certificate_unreadable', 'not NaN'],
])('is undecided for %s', (_, more, code, text) => {
  const report = judge(outputs.probability, 40, 0, more)
  expect([report.verdict, codes(report)]).toEqual(['insufficient', [code]])
  expect(report.reasons[0]!.message).toContain(text)
})

it('counts an entity once, however many rows it has', () => {
  const entities = Array.from({ length: 5_000 }, (_, row) => row % 20)
  const report = judge(outputs.probability, 5_000, 0, { entities })
  expect(report).toMatchObject({ verdict: 'insufficient', entities: 20, rows: 5_000 })
  expect(report.reasons[0]!.message).toContain('all 5,000 answers are the same, and too few')
  expect(report.needed! % 250).toBe(0)
  const one = judge(outputs.probability, 5_000, 0, { entities: entities.map(() => 'u') })
  expect([one.verdict, codes(one)]).toEqual(['insufficient', ['unproven', 'one_entity']])
})

it('says that no number of rows like these proves equality where the mean is beyond the limit', () => {
  const report = judge(outputs.probability, 40, 0.021)
  expect(report).toMatchObject({ verdict: 'insufficient', needed: undefined })
  expect(report.reasons[0]!.message).toContain('no number of rows like these')
})

describe('a slice', () => {
  const rows = 4_000
  const inSlice = Array.from({ length: 200 }, (_, i) => i * 20)
  const { parent, child } = pair(outputs.probability, rows, { distance: 0 })
  const worse = pair(outputs.probability, rows, { distance: 0.1 }).child
  const spoiled = child.map((row, i) => (i % 20 === 0 ? worse[i]! : row))
  const version = { output: outputs.probability }
  const slices = [
    { name: 'evening', rows: inSlice },
    { name: 'morning', rows: inSlice.map((row) => row + 1) },
    { name: 'night', rows: [] },
  ]

  it('that differs refutes a child that is equal in the mean', () => {
    const input = { parent, child: spoiled, version, policy: limits }
    expect(judgeFidelity(input).verdict).toBe('equal')
    const report = judgeFidelity({ ...input, slices })
    expect([report.verdict, codes(report)]).toEqual(['not_equal', ['slice_differs']])
    expect(report.reasons[0]!.message).toContain('in the slice "evening": mean distance 10 %')
    expect(report.slices.map(({ refuted }) => refuted)).toEqual([true, false, false])
  })

  it('without rows is told and refutes nothing', () => {
    const report = judgeFidelity({ parent, child, version, policy: limits, slices })
    expect(report.verdict).toBe('equal')
    expect(report.warnings.map(({ code }) => code)).toEqual(['slice_missing'])
    expect(report.slices.at(-1)).toMatchObject({ rows: 0, meanDifference: null, flipShare: null })
  })
})

describe('a certificate', () => {
  it('within the limit proves the distance without a test, and flips are judged still', () => {
    const tight = { ...limits, epsilon: 0.0001 }
    const untested = judge(outputs.probability, 400, 0.00005, { policy: tight })
    expect(untested.verdict).toBe('insufficient')
    const certificate = { bound: 0.00006 }
    const report = judge(outputs.probability, 400, 0.00005, { policy: tight, certificate })
    expect(report).toMatchObject({ verdict: 'equal', differenceEvidence: null, certified: 0.00006 })
    expect(report.reasons[0]!.message).toContain('by construction')
    const few = judge(outputs.probability, 40, 0.00005, { policy: tight, certificate })
    expect(few.verdict).toBe('insufficient')
  })

  it('beyond the limit makes fewer rows enough', () => {
    const report = judge(outputs.number, 300, 0.001, { certificate: { bound: 1 } })
    expect(report).toMatchObject({ certified: 0.1, verdict: 'equal' })
    const without = judge(outputs.number, 300, 0.001)
    expect(report.differenceEvidence).toBeGreaterThan(3 * without.differenceEvidence!)
  })

  it('that an answer breaks refuses the child', () => {
    const report = judge(outputs.probability, 400, 0.004, { certificate: { bound: 0.001 } })
    expect([report.verdict, codes(report)]).toEqual(['not_equal', ['certificate_broken']])
  })
})

describe('the default limits', () => {
  const policy = { ...defaultGatePolicy('binary'), primary: 'brier' }
  const ofMae = { ...defaultGatePolicy('regression'), primary: 'mae', margins: { mae: 0.02 } }

  it('follow from the margin of a metric that the distance bounds', () => {
    const margins = { ...policy.margins, brier: 0.004 }
    expect(defaultFidelity({ ...policy, margins })).toMatchObject({
      epsilon: 0.002,
      flips: 0.01,
      alpha: 0.05,
      basis: expect.stringContaining('at most 2 times the mean distance'),
    })
    const { epsilon } = defaultFidelity(ofMae, { version: { output: outputs.number } })
    expect(epsilon).toBeCloseTo(0.002, 10)
  })

  it('are bounded by the margin of accuracy for decisions', () => {
    const margins = { ...policy.margins, accuracy: 0.02 }
    expect(defaultFidelity({ ...policy, margins }).flips).toBe(0.02)
  })

  it('say why they do not', () => {
    expect(defaultFidelity(policy)).toMatchObject({
      epsilon: 0.005,
      basis: expect.stringContaining('relative to a value that only labels show'),
    })
    expect(defaultFidelity(defaultGatePolicy('binary')).basis).toBe(
      'no bound of AUC follows from the mean distance of answers, so ε is 0.5 %',
    )
    expect(defaultFidelity(ofMae).basis).toContain('the range of answers is not known')
  })

  /** Answers that are drawn as far apart as they can be, and labels of both kinds. */
  it.each(
    Object.values(outputs).flatMap((output) =>
      Object.entries(gateOf(taskOf(output).gate.name).mostPerDistance).map(([metric, most]) => ({
        output,
        metric,
        most,
      })),
    ),
  )('bound $metric of $output.kind: at most $most times the mean distance', ({ output, metric, most }) => {
    const uniform = seededRandom(3)
    const { gate, facts, sumsToOne, rises, decides } = taskOf(output)
    const width = outputWidth(output)
    const answer = () => {
      const drawn = Array.from(
        { length: width },
        () => (uniform() < 0.3 ? Math.round(uniform()) : uniform()) + 1e-9,
      )
      const total = drawn.reduce((sum, value) => sum + value, 0)
      const valid = drawn.map((value) =>
        sumsToOne ? value / total : (decides ? 1 : 10) * Math.min(1, value),
      )
      return rises ? valid.toSorted((a, b) => a - b) : valid
    }
    const rows = 500
    const parent = Array.from({ length: rows }, answer)
    // Half of them differ in few of their numbers.
    const child = parent.map((row) => {
      const other = answer()
      const mixed =
        uniform() < 0.5 || sumsToOne ? other : row.map((value, k) => (uniform() < 0.5 ? value : other[k]!))
      return rises ? mixed.toSorted((a, b) => a - b) : mixed
    })
    const classes = gate.classes(width)
    const truths = taskOf(output).numbers(output).length || 1
    const y = Array.from({ length: rows * truths }, () =>
      classes > 0 ? Math.floor(uniform() * classes) : 10 * uniform(),
    )
    const policy = { ...defaultGatePolicy(gate.name), ...facts(output) }
    const [one, other] = [parent, child].map((answers) =>
      rowLosses(metric as 'brier', score(gate.name, y, answers, policy))!,
    )
    const unit = classes > 0 ? 1 : 10
    const slopes = parent.flatMap((row, i) => {
      const { meanDifference } = judgeFidelity({
        parent: [row],
        child: [child[i]!],
        version: { output },
        policy: limits,
      })
      return meanDifference === 0 ? [] : [Math.abs(one![i]! - other![i]!) / (unit * meanDifference!)]
    })
    expect(Math.max(...slopes)).toBeLessThanOrEqual(most + 1e-9)
    // Close to the bound, so that a smaller one would be broken.
    expect(Math.max(...slopes)).toBeGreaterThan(0.7 * most)
  })
})

describe('by simulation, of a child that breaks a limit by as little as it can', () => {
  const policy: FidelityPolicy = { epsilon: 0.05, flips: 0.05, alpha: 0.05 }
  const sample = { runs: worldsOf(250), looks: [60, 240], seed: 1 }
  const limit = mostOf(0.05, sample.runs)

  it.each(brokenChildren)('at most 5 % pass or are refused: $name', (child) => {
    const { equal, notEqual } = countVerdicts(child, policy, sample)
    expect(equal).toBeLessThanOrEqual(limit)
    expect(notEqual).toBeLessThanOrEqual(limit)
  })

  it('far more pass where the rows of an entity count as many', () =>
    expect(countVerdicts(untoldChild, policy, sample).equal).toBeGreaterThan(limit))
})

describe('several children of one parent, at the limit', () => {
  const policy: FidelityPolicy = { epsilon: 0.05, flips: 0.05, alpha: 0.2 }
  const family = { children: 20, runs: worldsOf(150), rows: 80, seed: 1 }
  const rare = brokenChildren.find(({ name }) => name === 'rare rows by 1')!

  it('pass in at most α of the runs, any of them, where each has a share of α', () =>
    expect(countAnyPassed(rare, policy, { ...family, isSpent: true })).toBeLessThanOrEqual(0.2 * family.runs))

  it('pass in more where each has the whole', () =>
    expect(countAnyPassed(rare, policy, { ...family, isSpent: false })).toBeGreaterThan(0.2 * family.runs))

  it('have shares of α that add up to at most α', () => {
    const shares = Array.from({ length: 600 }, (_, at) => levelOf({ alpha: 0.05, attempt: at + 1 }))
    expect(shares[1]).toBeCloseTo(0.009_375, 12)
    expect(shares.every((share) => share > 0)).toBe(true)
    expect(shares.reduce((sum, share) => sum + share)).toBeCloseTo(0.05, 12)
  })

  it('are refuted at the whole α, whatever their share is', () => {
    const verdicts = [1, 9].map((attempt) =>
      judge(outputs.number, 20, 0.3, { policy: { ...limits, attempt } }),
    )
    expect(verdicts.map(({ verdict }) => verdict)).toEqual(['not_equal', 'not_equal'])
    const equal = judge(outputs.number, 500, 0.001, { policy: { ...limits, attempt: 9 } })
    expect(equal.verdict).toBe('insufficient')
    expect(equal.threshold).toBeCloseTo(Math.log(4 ** 9 / 0.15), 8)
  })
})

it.each(equalChildren)(
  'equal children are found, the median of 25 in 15/ε rows or entities: $name',
  (child) => {
    const policy: FidelityPolicy = { epsilon: 0.02, flips: 0.02, alpha: 0.05 }
    // An entity has 10.5 rows in the mean.
    const most = (15 / policy.epsilon) * (child.maxRows === undefined ? 1 : 10.5)
    const found = Array.from({ length: 25 }, (_, seed) => rowsUntilEqual(child, policy, { seed, most: 1e5 }))
    expect(found).not.toContain(Infinity)
    expect(found.toSorted((a, b) => a - b)[12]).toBeLessThanOrEqual(most)
  },
)
