/**
 * Names the kinds of row that an id of an argument may mean, and the arguments that are no id and do no harm. A name means one kind in all
 * activities and workflows; `id` means what its activity is about.
 */
import { leavesOf, type Callee, type Shape } from './arguments.ts'

export type RowKind =
  | 'batch'
  | 'command'
  | 'drill'
  | 'erasure'
  | 'evaluation'
  | 'firing'
  | 'model'
  /** The row that asks for a run: a command, a queue entry, a drill, a retraining, a trigger, a firing, a sweep or a trial. */
  | 'order'
  | 'queued'
  | 'release'
  /** A retraining, a trial or a sweep. */
  | 'run'
  | 'retraining'
  | 'snapshot'
  /** The key of a release's next effect. */
  | 'step'
  /** The name of a batch of the model file. */
  | 'schedule'
  | 'sweep'
  | 'training'
  | 'trial'
  | 'validation'
  | 'version'
  | 'view'

/** By the name of the argument, or by the name of its activity or workflow and its own. */
const ids: Readonly<Record<string, RowKind>> = {
  batch: 'schedule',
  'commands[]': 'command',
  model: 'model',
  order: 'order',
  release: 'release',
  releaseId: 'release',
  run: 'run',
  retraining: 'retraining',
  retrainingId: 'retraining',
  snapshotDigest: 'snapshot',
  step: 'step',
  sweep: 'sweep',
  training: 'training',
  trainingId: 'training',
  trial: 'trial',
  validationId: 'validation',
  evaluationId: 'evaluation',
  version: 'version',
  view: 'view',
  // Of a definition of the view.
  'failView.digest': 'view',
  'materialise.digest': 'view',
  'materialiseView.digest': 'view',
  queued: 'queued',
  'endDrill.id': 'drill',
  'erase.id': 'erasure',
  'eraseStage.id': 'erasure',
  'failBatch.id': 'batch',
  'openDrill.id': 'drill',
  'openRelease.id': 'release',
  'scoreBatch.id': 'batch',
  'simulateReplicaLoss.id': 'drill',
  'simulateWorkerLoss.id': 'drill',
}

/** Arguments that are no id, and why no value of them does harm. */
const harmless: Readonly<Record<string, string>> = {
  'endDrill.isCancelled': 'ends a drill that has not passed as one that was skipped, as a cancellation does',
  seen: 'a row older than this was restored from a backup, and its release ends with the baseline',
  'endRetraining.isCancelled': 'ends a run, as a cancellation does',
  'endSweep.isCancelled': 'ends a run, as a cancellation does',
  'endTrial.isCancelled': 'ends a run, as a cancellation does',
  'failBatch.isCancelled': 'ends a batch, as a cancellation does',
}

/** The kind of row that an argument names; undefined for one that is no id. */
export function kindOf(callee: string, path: string, shape: Shape): RowKind | undefined {
  if (shape.kind !== 'text') return undefined
  return ids[`${callee}.${path}`] ?? ids[path]
}

/** Returns the arguments that are neither an id nor harmless: `activity.argument`, once for each argument of the first level. */
export function claimsOf({ name, takes }: Callee): string[] {
  const leaves = takes.flatMap((each, place) => leavesOf(each, place === 0 ? '' : `(${place + 1})`))
  const claims = leaves.flatMap(({ path, shape }) =>
    kindOf(name, path, shape) !== undefined || path in harmless || `${name}.${path}` in harmless
      ? []
      : [`${name}.${path.split(/\.|\[/)[0]}`],
  )
  return [...new Set(claims)]
}
