/**
 * Starts the longest files first, so that no process works alone at the end. Vitest knows the durations of an earlier run only in the
 * same checkout; without them it starts large files first, and the longest ones are small.
 */
import {
  BaseSequencer,
  type TestSequencer,
  type TestSequencerConstructor,
  type TestSpecification,
  type Vitest,
} from 'vitest/node'

/** Files of more than half a minute of two idle cores, longest first. One that mostly waits stands beside one that mostly computes. */
const longest = [
  'docs/tutorial',
  'simulation/simulate',
  'faults/release',
  'activities/retrain/flight-gate',
  'docs/readme',
  'activities/retrain/train',
  'workflows/retrain/retrain',
  'workflows/retrain/killed-worker',
  'activities/retrain/evaluate',
  'faults/crash',
  'faults/interrupted',
  'faults/builds',
  'cli/commands/admin/up',
  'api/routes/lifecycle/drills',
  'workflows/release/strategies',
  'faults/signal-burst',
  'faults/races',
  'faults/outage',
  'workflows/release/endings',
  'workflows/release/evidence',
  'api/dashboard/approver',
]

const placeOf = ({ moduleId }: TestSpecification): number => {
  const place = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
  return place === -1 ? longest.length : place
}

/** A constructor without `class`: Vitest calls it with `new`. */
export const LongestFirst = function (vitest: Vitest): TestSequencer {
  const usual = new BaseSequencer(vitest)
  return {
    shard: (files) => usual.shard(files),
    async sort(files) {
      const sorted = await usual.sort(files)
      return sorted.sort((a, b) => (a.project.name === b.project.name ? placeOf(a) - placeOf(b) : 0))
    },
  }
} as unknown as TestSequencerConstructor
