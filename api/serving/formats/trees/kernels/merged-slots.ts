/**
 * Gives a column one slot for both sides that a missing value may take. A reader compares −value where a missing value passes, so a column
 * often has two slots, which cost two bytes and two searches.
 */
import { nextDown, nextDownSingle, type Forest, type Slot } from '../forest.ts'
import { boundsOf } from './row-bins.ts'

export interface MergedSlots extends Pick<
  Forest,
  'slots' | 'sets' | 'tests' | 'thresholds' | 'passed' | 'failed'
> {
  /** 1 for each node whose test became the opposite. A missing value passes it, as if it were the smallest value. */
  turned: Uint8Array
}

/** The maximum number of thresholds of a merged slot, so that a missing value has a position of its own in a byte. */
const maxBounds = 254

export function mergedSlotsOf(forest: Forest): MergedSlots {
  const { slots, tests, thresholds } = forest
  const separate = new Set<number>()
  // No threshold is below −∞, so the opposite of −v ≤ ∞ does not exist.
  for (let node = 0; node < tests.length; node++)
    if (thresholds[node] === Infinity) separate.add(tests[node]!)
  const first = merge(forest, separate)
  const tooMany = new Set<Slot>()
  for (const [index, bounds] of boundsOf(first).entries())
    if (bounds.length > maxBounds) tooMany.add(first.slots[index]!)
  if (tooMany.size === 0) return first
  for (const [index, slot] of slots.entries())
    if ([...tooMany].some((each) => keyOf(each) === keyOf(slot))) separate.add(index)
  return merge(forest, separate)
}

const keyOf = ({ column, missing, single }: Slot): string => `${column} ${missing} ${single}`

function merge({ slots, sets, tests, ...nodes }: Forest, separate: ReadonlySet<number>): MergedSlots {
  const merged: Slot[] = []
  const indexOf = new Map<string, number>()
  const isTurned = slots.map(({ negated }, index) => negated && !separate.has(index))
  const slotOf = slots.map((slot, index) => {
    const negated = slot.negated && !isTurned[index]
    const key = `${keyOf(slot)} ${negated}`
    if (!indexOf.has(key)) indexOf.set(key, merged.push({ ...slot, negated }) - 1)
    return indexOf.get(key)!
  })
  const turned = new Uint8Array(tests.length)
  const [thresholds, passed, failed] = [nodes.thresholds.slice(), nodes.passed.slice(), nodes.failed.slice()]
  for (let node = 0; node < tests.length; node++) {
    const test = tests[node]!
    if (test < 0 || !isTurned[test]) continue
    turned[node] = 1
    thresholds[node] = below(-thresholds[node]!, slots[test]!.single)
    passed[node] = nodes.failed[node]!
    failed[node] = nodes.passed[node]!
  }
  return {
    slots: merged,
    sets,
    tests: tests.map((test) => (test < 0 ? test : slotOf[test]!)),
    thresholds,
    passed,
    failed,
    turned,
  }
}

/** Returns the next smaller number that a slot can have. */
const below = (value: number, single: boolean): number =>
  single && Math.fround(value) === value ? nextDownSingle(value) : nextDown(value)
