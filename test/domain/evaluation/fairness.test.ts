/** Shows by simulation that a fair model is refused at most at the declared rate, and an unfair one is found. */
import { describe, expect, it } from 'vitest'
import { fairnessText, judgeFairness, type GateFairnessRow } from '../../../domain/evaluation/fairness.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { TaskName } from '../../../domain/tasks/output.ts'
import { seededRandom } from '@tenure/sequential'
import { mostOf, worldsOf } from '../../support/evaluation/worlds.ts'

const policy = defaultGatePolicy('binary')

interface World {
  /** The selection rate of each group, the same for positives and negatives. */
  selected: readonly number[]
  /** Rows of a group. */
  rows: number
  /** How many equal rows an entity has. */
  copies?: number
}

/** Draws rows of which 8 % are positive. */
function draw({ selected, rows, copies = 1 }: World, uniform: () => number) {
  const drawn = selected.flatMap((share, group) =>
    Array.from({ length: rows / copies }, (_, i) => ({
      group: `g${group}`,
      entity: `${group}/${i}`,
      y: uniform() < 0.08 ? 1 : 0,
      answer: [uniform() < share ? 0.9 : 0.1],
    })),
  )
  const all = drawn.flatMap((row) => Array.from({ length: copies }, () => row))
  return {
    y: all.map(({ y }) => y),
    challenger: all.map(({ answer }) => answer),
    values: all.map(({ group }) => group),
    entities: all.map(({ entity }) => entity),
  }
}

const worlds = worldsOf(100)
const alpha = 1 - policy.confidence
const limit = mostOf(alpha, worlds) / worlds

function refusedShare(world: World, { attributes = 1, confidence = policy.confidence } = {}): number {
  const uniform = seededRandom(world.rows + world.selected.length)
  let refused = 0
  for (let i = 0; i < worlds; i++) {
    const { y, challenger, values, entities } = draw(world, uniform)
    const groups = Array.from({ length: attributes }, (_, k) => ({
      attribute: `a${k}`,
      // The same groups in another order of the rows, which are as fair.
      values: values.map((_each, row) => values[(row * (2 * k + 1) + k) % values.length]!),
    }))
    const scored = score('binary', y, challenger, policy)
    const judged = judgeFairness(
      groups,
      scored,
      { ...policy, confidence },
      { entities: world.copies === undefined ? undefined : entities },
    )
    if (judged.some(({ verdict }) => verdict === 'blocked')) refused++
  }
  return refused / worlds
}

describe('the rate at which a fair model is refused is at most 5 %', () => {
  it.each([
    ['two equal groups', { selected: [0.3, 0.3], rows: 300 }],
    ['ten equal groups', { selected: Array.from({ length: 10 }, () => 0.2), rows: 300 }],
    ['two groups whose ratio is the limit', { selected: [0.2, 0.25], rows: 1_500 }],
    ['two groups whose true-positive rates differ by the limit', { selected: [0.8, 0.9], rows: 150 }],
    ['rare groups with few positives', { selected: [0.95, 0.95, 0.95, 0.95, 0.95], rows: 130 }],
    ['five rows of each entity', { selected: [0.3, 0.3, 0.3], rows: 500, copies: 5 }],
  ] satisfies [string, World][])('with %s', (_name, world) =>
    expect(refusedShare(world)).toBeLessThanOrEqual(limit),
  )

  it('with three attributes', () =>
    expect(refusedShare({ selected: [0.3, 0.3, 0.3], rows: 300 }, { attributes: 3 })).toBeLessThanOrEqual(
      limit,
    ))
})

// Counted by hand. The labels of numbers have the standard deviation 2.
it.each<[task: TaskName, y: number[], answers: number[][], values: Record<string, number | null>]>([
  [
    'binary',
    [1, 1, 0, 0],
    [[0.9], [0.1], [0.8], [0.1]],
    { 'selection rate': 0.5, 'true-positive rate': 0.5, 'false-positive rate': 0.5 },
  ],
  [
    'multiclass',
    [0, 0, 0, 1],
    [
      [0.8, 0.1, 0.1],
      [0.1, 0.8, 0.1],
      [0.8, 0.1, 0.1],
      [0.1, 0.8, 0.1],
    ],
    {
      accuracy: 0.75,
      'recall of red': 2 / 3,
      'predicted rate of red': 0.5,
      'recall of green': 1,
      'predicted rate of green': 0.5,
      'recall of blue': null,
      'predicted rate of blue': 0,
    },
  ],
  ['regression', [0, 4, 0, 4], [[1], [6], [-1], [4]], { 'mean error': 0.25, 'mean absolute error': 0.5 }],
  [
    'multioutput',
    [0, 40, 4, 80, 0, 40, 4, 80],
    [
      [1, 40],
      [6, 60],
      [-1, 40],
      [4, 80],
    ],
    {
      'mean error of near': 0.25,
      'mean absolute error of near': 0.5,
      'mean error of far': -0.25,
      'mean absolute error of far': 0.25,
    },
  ],
  [
    'quantiles',
    [0, 4, 0, 4],
    [
      [0, 2], // at the first
      [0, 4], // at the last
      [1, 2], // below
      [0, 3], // above
    ],
    // Losses of the levels 0.25 and 0.75: (0 + 0.5) / 2, (1 + 0) / 2, (0.75 + 0.5) / 2, (1 + 0.75) / 2.
    { coverage: 0.5, 'pinball loss': 0.5625 / 2 },
  ],
])('the measures of %s have their known values in a group', (task, y, answers, values) => {
  const facts = { ...policy, levels: [0.25, 0.75], targets: ['near', 'far'] }
  const scored = score(task, y, answers, facts)
  const limits = { ...defaultGatePolicy(task), fairness: { ...policy.fairness, minRows: 1 } }
  const [row] = judgeFairness([{ attribute: 'x', values: ['a', 'a', 'a', 'a'] }], scored, limits, {
    classes: ['red', 'green', 'blue'],
  })
  expect(row!.measures.map(({ name }) => name)).toEqual(Object.keys(values))
  const wanted = Object.values(values).map((value) => (value === null ? null : expect.closeTo(value, 12)))
  expect(row!.groups).toEqual([{ group: 'a', rows: 4, judged: true, values: wanted }])
})

/** Numbers with exponential errors, whose mean differs by this many standard deviations of the label in the first of two groups. */
function refusedNumbers(difference: number, rows: number): number {
  const uniform = seededRandom(rows)
  const limits = defaultGatePolicy('regression')
  const refused = Array.from({ length: worlds }, () => {
    const values = Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? 'a' : 'b'))
    // Uniform labels from 0 to 1 have this standard deviation.
    const y = values.map(() => uniform())
    const error = (group: string) =>
      0.15 * (-Math.log(1 - uniform()) - 1) + (group === 'a' ? difference / Math.sqrt(12) : 0)
    const scored = score(
      'regression',
      y,
      values.map((group, i) => [y[i]! + error(group)]),
      limits,
    )
    return judgeFairness([{ attribute: 'origin', values }], scored, limits)[0]!.verdict === 'blocked'
  })
  return refused.filter(Boolean).length / worlds
}

it.each([150, 1_000])(
  'the errors of a number differ by the limit: refused at most at α on %i rows a group',
  (rows) => {
    expect(refusedNumbers(0.1, rows)).toBeLessThanOrEqual(limit)
  },
)

it('the errors of a number differ by three times the limit: refused', () => {
  expect(refusedNumbers(0.3, 1_000)).toBeGreaterThan(0.9)
})

/** The share of worlds with this verdict, where each entity of 60 rows has a selection rate of its own, 5 or 95 %. */
function fewEntities(
  entities: number,
  wanted: GateFairnessRow['verdict'],
  count: number,
  confidence: number,
) {
  const uniform = seededRandom(entities)
  const rows = Array.from({ length: 120 * entities }, (_, i) => ({
    group: `g${i % 2}`,
    entity: `${i % 2}/${Math.floor(i / 120)}`,
  }))
  const values = rows.map(({ group }) => group)
  let found = 0
  for (let i = 0; i < count; i++) {
    const rates = new Map(rows.map(({ entity }) => [entity, uniform() < 0.5 ? 0.05 : 0.95]))
    const scored = score(
      'binary',
      rows.map(() => (uniform() < 0.3 ? 1 : 0)),
      rows.map(({ entity }) => [uniform() < rates.get(entity)! ? 0.9 : 0.1]),
      policy,
    )
    const [row] = judgeFairness(
      [{ attribute: 'origin', values }],
      scored,
      { ...policy, confidence },
      { entities: rows.map(({ entity }) => entity) },
    )
    if (row!.verdict === wanted) found++
  }
  return found / count
}

describe('groups of few entities, which differ much', () => {
  it.each([2, 3, 5])('are not treated differently by chance: %i of each', (entities) => {
    expect(fewEntities(entities, 'blocked', worlds, policy.confidence)).toBeLessThanOrEqual(limit)
    // At the level of a window: four of 300 have a probability of 0.03 %.
    const windows = worldsOf(300)
    expect(fewEntities(entities, 'blocked', windows, 0.999)).toBeLessThan(4 / windows)
  })
})

describe('an unfair model is refused', () => {
  it.each([
    ['one of two groups is selected half as often', { selected: [0.15, 0.3], rows: 1_000 }],
    ['one of four groups is selected a third as often', { selected: [0.1, 0.3, 0.3, 0.3], rows: 600 }],
  ])('when %s', (_name, world) => expect(refusedShare(world)).toBeGreaterThan(0.9))

  it('however many other challengers were judged on the same rows', () => {
    const { y, challenger, values } = draw({ selected: [0.15, 0.4], rows: 600 }, seededRandom(3))
    const judged = (triedHere: number) =>
      judgeGate(
        { y, challenger, champion: null, groups: [{ attribute: 'origin', values }], search: { triedHere } },
        { ...policy, resamples: 60, evidence: { ...policy.evidence, rows: 1, positives: 1, negatives: 1 } },
      ).fairness
    expect(judged(0)[0]?.verdict).toBe('blocked')
    expect(judged(99)).toEqual(judged(0))
  })
})

/** The verdicts on this many worlds with groups of this selection rate and these rows. */
function verdictsOf(
  groups: readonly { selected: number; rows: number }[],
  count = worldsOf(60),
): GateFairnessRow[] {
  const uniform = seededRandom(groups.length)
  return Array.from({ length: count }, () => {
    const drawn = groups.map(({ selected, rows }) => draw({ selected: [selected], rows }, uniform))
    const values = drawn.flatMap(({ y }, group) => y.map(() => `g${group}`))
    const challenger = drawn.flatMap((each) => each.challenger)
    const scored = score(
      'binary',
      drawn.flatMap(({ y }) => y),
      challenger,
      policy,
    )
    return judgeFairness([{ attribute: 'origin', values }], scored, policy)[0]!
  })
}
const shareOf = (rows: readonly GateFairnessRow[], wanted: GateFairnessRow['verdict']) =>
  rows.filter(({ verdict }) => verdict === wanted).length / rows.length

describe('a limit that may be broken by chance', () => {
  const small = Array.from({ length: 12 }, () => ({ selected: 0.3, rows: 150 }))

  it('is no doubt about many small groups of a fair model, which are named', () => {
    const rows = verdictsOf(small)
    expect(shareOf(rows, 'doubtful')).toBeLessThanOrEqual(limit)
    expect(shareOf(rows, 'insufficient')).toBeGreaterThan(0.9)
    expect(rows[0]!.measures[0]!.fewRows).toHaveLength(12)
  })

  it('is no doubt about small groups beside large ones, which are judged', () => {
    const rows = verdictsOf([{ selected: 0.3, rows: 5_000 }, { selected: 0.3, rows: 5_000 }, ...small])
    expect(shareOf(rows, 'doubtful')).toBeLessThanOrEqual(limit)
    for (const { measures } of rows)
      expect(measures[0]!.fewRows).toEqual(small.map((_, i) => `g${i + 2}`).toSorted())
  })

  it('is a doubt about groups with enough rows', () => {
    const rows = verdictsOf([{ selected: 0.305, rows: 2_000 }, { selected: 0.4, rows: 2_000 }, ...small])
    expect(shareOf(rows, 'doubtful') + shareOf(rows, 'blocked')).toBeGreaterThan(0.8)
  })

  it('blocks when it is certain, however few the rows are', () => {
    const rows = verdictsOf([
      { selected: 0.1, rows: 150 },
      { selected: 0.8, rows: 150 },
    ])
    expect(shareOf(rows, 'blocked')).toBe(1)
  })
})

it('a report names the pair that breaks the limit, though a small group may differ more', () => {
  const uniform = seededRandom(5)
  const large = draw({ selected: [0.5, 0.3], rows: 2_000 }, uniform)
  const small = draw({ selected: [0.28], rows: 100 }, uniform)
  const y = [...large.y, ...small.y]
  const values = [...large.values, ...small.values.map(() => 'small')]
  const scored = score('binary', y, [...large.challenger, ...small.challenger], policy)
  const [row] = judgeFairness([{ attribute: 'origin', values }], scored, policy)
  expect(row?.verdict).toBe('blocked')
  expect(row?.measures[0]!.estimate.high).toBeLessThan(0.8)
  // Three pairs of selection and false-positive rates; the small group has fewer than ten positives.
  expect(row?.confidence).toBeCloseTo(1 - 0.05 / 7, 10)
})

it.each<[why: string, values: (string | null)[], minRows?: number]>([
  ['no test row has a group', Array.from({ length: 600 }, () => null)],
  ['no group has enough test rows', Array.from({ length: 600 }, (_, i) => `g${i}`)],
  ['only b has enough test rows', Array.from({ length: 600 }, (_, i) => (i < 50 ? 'a' : 'b'))],
  ['no two groups have values that can be compared', ['a', 'a', 'b', 'b'], 1],
])('fairness that cannot be judged says why: %s', (why, values, minRows = policy.fairness.minRows) => {
  const y = values.map((_, i) => i % 2)
  const scored = score(
    'binary',
    y,
    y.map(() => [0.1]),
    policy,
  )
  const limits = { ...policy, fairness: { ...policy.fairness, minRows } }
  const [row] = judgeFairness([{ attribute: 'x', values }], scored, limits)
  expect(row?.verdict).toBe('undefined')
  expect(fairnessText(row!)).toBe(`not judged, because ${why}`)
  expect(fairnessText({ ...row!, verdict: 'ok' })).toBe('ok')
})
