/** Draws parents with children that are as different as a limit allows, or less, and judges them as rows come in. */
import { seededRandom } from '@tenure/sequential'
import {
  judgeFidelity,
  type FidelityInput,
  type FidelityPolicy,
  type FidelityReport,
} from '../../../domain/evaluation/fidelity.ts'

type Uniform = () => number

/** How the child of a pair differs. `draw` gives the distance of an entity's rows, and whether its decision is another one. */
interface Child {
  name: string
  draw: (uniform: Uniform, policy: FidelityPolicy) => { distance: number; isFlipped?: boolean }
  /** Whether it answers probabilities with decisions; numbers otherwise. */
  decides?: true
  /** The most rows of an entity, which all differ alike; 1 unless given. */
  maxRows?: number
  /** Whether the judge is not told the entities. */
  isUntold?: boolean
  /** The number of slices, each of its own rows. */
  slices?: number
  /** The bound that the judge is told, in multiples of ε. */
  bound?: number
}

/** Children that break a limit by as little as possible: E[d] = ε, or the flips are as many as allowed. */
export const brokenChildren: readonly Child[] = [
  { name: 'each distance between 0 and 2ε', draw: (u, { epsilon }) => ({ distance: 2 * epsilon * u() }) },
  {
    name: 'one row in five by 5ε',
    draw: (u, { epsilon }) => ({ distance: u() < 0.2 ? 5 * epsilon : 0 }),
  },
  { name: 'rare rows by 1/2', draw: (u, { epsilon }) => ({ distance: u() < 2 * epsilon ? 0.5 : 0 }) },
  { name: 'rare rows by 1', draw: (u, { epsilon }) => ({ distance: u() < epsilon ? 1 : 0 }) },
  {
    name: 'one row in ten by 10ε, in 20 slices',
    draw: (u, { epsilon }) => ({ distance: u() < 0.1 ? 10 * epsilon : 0 }),
    slices: 20,
  },
  {
    name: 'one row in five by 5ε, with a certificate of 5ε',
    draw: (u, { epsilon }) => ({ distance: u() < 0.2 ? 5 * epsilon : 0 }),
    bound: 5,
  },
  {
    name: 'rare entities by 1, of 1 to 20 rows',
    draw: (u, { epsilon }) => ({ distance: u() < epsilon ? 1 : 0 }),
    maxRows: 20,
  },
  {
    name: 'other decisions at the limit, no distance',
    draw: (u, { flips }) => ({ distance: 0, isFlipped: u() < flips }),
    decides: true,
  },
  {
    name: 'distance and other decisions at both limits',
    draw: (u, { epsilon, flips }) => ({ distance: 2 * epsilon * u(), isFlipped: u() < flips }),
    decides: true,
  },
]

/** Rare entities as above, but the judge takes each row for an entity of its own: what the entities are for. */
export const untoldChild: Child = {
  ...brokenChildren.find(({ maxRows }) => maxRows !== undefined)!,
  name: 'the same entities, whose rows are judged as independent',
  isUntold: true,
}

/** Children that answer like their parents. */
export const equalChildren: readonly Child[] = [
  { name: 'the same answers', draw: () => ({ distance: 0 }) },
  { name: 'each distance between 0 and ε/5', draw: (u, { epsilon }) => ({ distance: (epsilon / 5) * u() }) },
  { name: 'each distance between 0 and ε', draw: (u, { epsilon }) => ({ distance: epsilon * u() }) },
  {
    name: 'one row in 10/ε by 1/2, with another decision',
    draw: (u, { epsilon }) => (u() < epsilon / 10 ? { distance: 0.5, isFlipped: true } : { distance: 0 }),
    decides: true,
  },
  {
    name: 'each distance between 0 and ε, with a certificate of 2ε',
    draw: (u, { epsilon }) => ({ distance: epsilon * u() }),
    bound: 2,
  },
  {
    name: 'each distance between 0 and ε, with a certificate of ε',
    draw: (u, { epsilon }) => ({ distance: epsilon * u() }),
    bound: 1,
  },
  { name: 'the same answers, 1 to 20 rows an entity', draw: () => ({ distance: 0 }), maxRows: 20 },
]

const threshold = 0.5
const probability = { output: { kind: 'probability', positive: 'yes', threshold } } as const
/** Decides nothing, so that its distances alone are judged. */
const number = { output: { kind: 'number', min: 0, max: 1 } } as const

/** A stream of rows that both versions answer. */
function rowsOf(
  { draw, decides, maxRows = 1, isUntold, slices = 0, bound }: Child,
  policy: FidelityPolicy,
  seed: number,
) {
  const uniform = seededRandom(seed)
  const [parent, child, entities]: [number[][], number[][], number[]] = [[], [], []]
  let entity = 0
  return {
    judge(rows: number): FidelityReport {
      while (parent.length < rows) {
        const { distance, isFlipped = false } = draw(uniform, policy)
        const own = 1 + Math.floor(maxRows * uniform())
        for (let i = 0; i < own; i++) {
          const step = isFlipped ? Math.max(distance, 1e-9) : distance
          const before = isFlipped ? threshold - step / 2 : 0
          parent.push([before])
          child.push([before + step])
          entities.push(entity)
        }
        entity++
      }
      const input: FidelityInput = {
        parent: parent.slice(0, rows),
        child: child.slice(0, rows),
        version: decides ? probability : number,
        entities: maxRows > 1 && !isUntold ? entities.slice(0, rows) : undefined,
        slices: Array.from({ length: slices }, (_, k) => ({
          name: `slice ${k}`,
          rows: Array.from({ length: Math.floor(rows / slices) }, (_row, i) => i * slices + k),
        })),
        certificate: bound === undefined ? undefined : { bound: bound * policy.epsilon },
        policy: decides ? policy : { ...policy, tolerance: 1 },
      }
      return judgeFidelity(input)
    },
  }
}

/**
 * How many runs pass any of `children` children, judged one after another on as many rows. `isSpent`: each as an attempt of its own;
 * otherwise each as the only one.
 */
export function countAnyPassed(
  child: Child,
  policy: FidelityPolicy,
  {
    children,
    runs,
    rows,
    seed,
    isSpent,
  }: Record<'children' | 'runs' | 'rows' | 'seed', number> & { isSpent: boolean },
): number {
  let passed = 0
  for (let run = 0; run < runs; run++)
    for (let attempt = 1; attempt <= children; attempt++) {
      const judged = isSpent ? { ...policy, attempt } : policy
      if (rowsOf(child, judged, seed * 1e6 + run * children + attempt).judge(rows).verdict !== 'equal')
        continue
      passed++
      break
    }
  return passed
}

/** How many of the runs pass, and how many are refused, at the first of these numbers of rows that decides. */
export function countVerdicts(
  child: Child,
  policy: FidelityPolicy,
  { runs, looks, seed }: { runs: number; looks: readonly number[]; seed: number },
): { equal: number; notEqual: number } {
  const counts = { equal: 0, notEqual: 0 }
  for (let run = 0; run < runs; run++) {
    const rows = rowsOf(child, policy, seed * 1e6 + run)
    for (const look of looks) {
      const { verdict } = rows.judge(look)
      if (verdict === 'insufficient') continue
      counts[verdict === 'equal' ? 'equal' : 'notEqual']++
      break
    }
  }
  return counts
}

/** After how many rows equality is proven when the judge is asked again after as many as it says are needed; Infinity beyond `most`. */
export function rowsUntilEqual(
  child: Child,
  policy: FidelityPolicy,
  { seed, most }: { seed: number; most: number },
): number {
  const rows = rowsOf(child, policy, seed)
  for (let count = 100; count <= most;) {
    const { verdict, needed = count } = rows.judge(count)
    if (verdict === 'equal') return count
    if (verdict === 'not_equal') return Infinity
    count += needed
  }
  return Infinity
}
