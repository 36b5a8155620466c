/**
 * Orders test files so that the longest start first and no process works alone at the end. Vitest uses durations of an earlier run of the
 * same checkout; without them it starts large files first, but the longest files are small.
 */
import {
  BaseSequencer,
  type TestSequencer,
  type TestSequencerConstructor,
  type TestSpecification,
  type Vitest,
} from 'vitest/node'

/**
 * Files that take more than ten seconds on two idle cores, longest first. Files that mostly wait alternate with files that mostly compute.
 */
const longest = [
  'long/hosts',
  'faults/release',
  'api/dashboard/every-page',
  'simulation/at-length',
  'api/dashboard/approver',
  'workflows/retrain/retrain',
  'cli/commands/admin/up',
  'activities/retrain/train',
  'faults/wrong-answers',
  'docs/tutorial',
  'workflows/retrain/several-numbers',
  'workflows/retrain/quantiles',
  'simulation/simulate',
  'activities/retrain/evaluate',
  'workflows/retrain/killed-worker',
  'faults/builds',
  'docs/readme',
  'api/routes/lifecycle/drills',
  'faults/crash',
  'faults/interrupted',
  'workflows/release/queue',
  'faults/fleet',
  'faults/races',
  'api/server',
  'api/streams/kafka',
  'workflows/release/strategies',
  'cli/backup/point-in-time/restore-to',
  'workflows/partitions',
  'workflows/retrain/decayed-champion',
  'faults/outage',
  'api/services/deferred-starts',
  'workflows/release/evidence',
  'api/routes/frozen-servers',
  'workflows/batch',
  'workflows/erase',
  'workflows/release/commands',
  'activities/retrain/snapshot',
  'workflows/retrain/brought',
  'workflows/release/authority',
  'api/serving/routing/routing',
  'workflows/trial',
  'api/streams/nats',
  'workflows/triggers',
  'workflows/starts',
  'api/outcomes/bulk-outcomes',
  'workflows/release/endings',
  'api/routes/lifecycle/commands',
  'activities/runtime/kept-children',
  'workflows/release/probation',
  'api/transport/tls',
  'workflows/replay',
  'cli/sync/many-models',
  'faults/signal-burst',
  'cli/backup/backup',
  'activities/worker',
  'activities/tracing/one-trace',
  'activities/trainers/train-by-program',
  'workflows/monitor',
  'workflows/retrain/queue-training',
  'workflows/sweep',
  'workflows/release/rollback',
]

const placeOf = ({ moduleId }: TestSpecification): number => {
  const place = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
  return place === -1 ? longest.length : place
}

/** A constructor function, because Vitest calls it with `new`. */
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
