/** Tests the search for slices in which a challenger is worse: planted ones are found, and others are not. */
import { describe, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { searchSlices, searchText } from '../../../domain/evaluation/slice-search.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { columnOf } from '../../../domain/model/columns.ts'
import type { TaskName } from '../../../domain/tasks/output.ts'

const rows = 4_000
const each = <Value>(of: (row: number) => Value): Value[] => Array.from({ length: rows }, (_, row) => of(row))

interface Drawn {
  age: number[]
  country: string[]
  noise: (number | null)[]
  random: () => number
}
function draw(seed: number): Drawn {
  const random = seededRandom(seed)
  return {
    random,
    age: each(() => Math.floor(18 + 60 * random())),
    country: each(() => ['DE', 'FR', 'IT'][Math.floor(3 * random())]!),
    noise: each(() => (random() < 0.1 ? null : random())),
  }
}
const columnsOf = ({ age, country, noise }: Drawn) => ({
  age: columnOf(age),
  country: columnOf(country),
  noise: columnOf(noise),
})

/** For each task: labels, and answers that are off by `error(row)`, from 0 to 1. */
const tasks: Record<
  TaskName,
  {
    y: (row: number) => number[]
    answer: (row: number, error: number) => number[]
    more?: Partial<GatePolicy>
  }
> = {
  binary: { y: (row) => [row % 2], answer: (row, error) => [row % 2 === 1 ? 1 - error : error] },
  multiclass: {
    y: (row) => [row % 3],
    answer: (row, error) => [0, 1, 2].map((k) => (k === row % 3 ? 1 - error : error / 2)),
    more: { slices: { metric: 'brier', points: 0.02, alpha: 0.05 } },
  },
  regression: { y: (row) => [row % 10], answer: (row, error) => [(row % 10) + error] },
  quantiles: {
    y: (row) => [row % 10],
    answer: (row, error) => [(row % 10) - 1 + error, (row % 10) + error, (row % 10) + 1 + error],
    more: { levels: [0.1, 0.5, 0.9] },
  },
  multioutput: {
    y: (row) => [row % 10, row % 5],
    answer: (row, error) => [(row % 10) + error, (row % 5) + error],
    more: { targets: ['low', 'high'] },
  },
}

function compare(name: TaskName, drawn: Drawn, harm: (row: number) => number) {
  const { y, answer, more } = tasks[name]
  const policy = { ...defaultGatePolicy(name), ...more }
  const labels = Float64Array.from(each(y).flat())
  const answers = (of: (row: number) => number) =>
    score(
      name,
      labels,
      each((row) => answer(row, of(row))),
      policy,
    )
  const noise = each(() => 0.2 + 0.1 * drawn.random())
  return searchSlices(
    {
      columns: columnsOf(drawn),
      champion: answers(() => 0.2 + 0.1 * drawn.random()),
      challenger: answers((row) => noise[row]! + harm(row)),
    },
    policy,
  )
}

describe.each(Object.keys(tasks) as TaskName[])('of %s', (name) => {
  it('a slice of two conditions is found, with what its rows have in common', () => {
    const drawn = draw(7)
    const isHarmed = (row: number) => drawn.country[row] === 'DE' && drawn.age[row]! < 48
    const search = compare(name, drawn, (row) => (isHarmed(row) ? 0.4 : 0))!
    expect(search.rows.proposing + search.rows.proving).toBe(rows)
    const [first] = search.found
    expect(first?.name).toMatch(/country = DE/)
    expect(search.found.map((slice) => slice.name).join()).toMatch(/age < 4\d/)
    expect(first!.challenger).not.toBe(first!.champion)
    expect(searchText(search)).toMatch(/ other rows prove \d+ of them \(false discovery rate 5 %\)/)
  })

  it('of equal models, at most one search in twenty finds a slice', () => {
    const searches = Array.from({ length: 60 }, (_, seed) => compare(name, draw(100 + seed), () => 0)!)
    expect(searches.reduce((sum, { proposed }) => sum + proposed, 0)).toBeGreaterThan(60)
    expect(searches.filter(({ found }) => found.length > 0).length).toBeLessThanOrEqual(3)
  })
})

it('the rows of a single entity prove nothing', () => {
  const drawn = draw(2)
  const policy = defaultGatePolicy('regression')
  const y = Float64Array.from(each((row) => row % 10))
  const found = (entities: number[]) =>
    searchSlices(
      {
        columns: { ...columnsOf(drawn), big: columnOf(each((row) => (row < 2_000 ? 'yes' : 'no'))) },
        champion: score(
          'regression',
          y,
          each((row) => [row % 10]),
          policy,
        ),
        challenger: score(
          'regression',
          y,
          each((row) => [(row % 10) + (row < 2_000 ? 5 : 0)]),
          policy,
        ),
        entities,
      },
      policy,
    )?.found.length ?? 0
  expect(found(each((row) => row))).toBeGreaterThan(0)
  expect(found(each((row) => (row < 2_000 ? Math.floor(row / 1_000) : row)))).toBe(0)
})

it('is not made with fewer rows than a slice needs', () => {
  const policy = defaultGatePolicy('regression')
  const few = { ...policy, evidence: { ...policy.evidence, sliceRows: rows } }
  const y = new Float64Array(rows)
  const scored = score(
    'regression',
    y,
    each(() => [0]),
    few,
  )
  expect(searchSlices({ columns: {}, champion: scored, challenger: scored }, few)).toBeUndefined()
})

it('decides nothing: the verdict is that of the gate without a search', () => {
  const drawn = draw(3)
  const y = each((row) => row % 2)
  const answers = (off: (row: number) => number) => each((row) => [row % 2 === 1 ? 1 - off(row) : off(row)])
  const noise = each(() => 0.2 + 0.2 * drawn.random())
  const input = {
    y,
    champion: answers((row) => noise[row]!),
    challenger: answers((row) => noise[row]! + (drawn.age[row]! < 30 ? 0.2 : -0.15)),
  }
  const policy = defaultGatePolicy('binary')
  const { sliceSearch, ...report } = judgeGate({ ...input, columns: columnsOf(drawn) }, policy)
  expect(sliceSearch?.found.length).toBeGreaterThan(0)
  expect(report).toEqual({ ...judgeGate(input, policy), sliceSearch: undefined })
})
