/**
 * How versions are numbered: `name_vMAJOR.MINOR.PATCH`. Each part answers a question people ask of a new version: may
 * my requests stay as they are (MAJOR), has it learned something else (MINOR), or is it the same again (PATCH)?
 */
import type { Features, Output } from '../model/features.ts'

export interface VersionNumber {
  major: number
  minor: number
  patch: number
}

/** Where a version came from: what is needed to make it again and to answer who, when and why. */
export interface VersionLineage {
  snapshot: string
  asOf: string
  code: string
  dependencies: string
  hyperparameters: Record<string, number | string | boolean>
  seed: number
  /** Metric → value on the frozen test rows. */
  metrics: Record<string, number | null>
  rows: { train: number; test: number }
  validationId: string
  trainingId: string
  evaluationId: string
  retrainingId: string
  /** The live champion it was compared with. */
  baseline?: string
  requestedBy: string
  reason: string
}

/** What the number is told from. */
export interface Numbered {
  features: Features
  output: Output
  snapshot: string
  code: string
  hyperparameters: Record<string, number | string | boolean>
}

export const formatVersion = (model: string, { major, minor, patch }: VersionNumber): string =>
  `${model}_v${major}.${minor}.${patch}`

/**
 * MAJOR rises when a request or an answer of before no longer fits, MINOR when the data, the code or the
 * hyperparameters are others, PATCH when all of them are the same: another seed, other dependencies, or trained again.
 */
export function nextVersion(
  previous: { number: VersionNumber; of: Numbered } | undefined,
  candidate: Numbered,
): VersionNumber {
  if (previous === undefined) return { major: 1, minor: 0, patch: 0 }
  const { major, minor, patch } = previous.number
  if (
    !requestsStillFit(previous.of.features, candidate.features) ||
    !sameAnswers(previous.of.output, candidate.output)
  )
    return { major: major + 1, minor: 0, patch: 0 }
  if (
    previous.of.snapshot !== candidate.snapshot ||
    previous.of.code !== candidate.code ||
    !sameParameters(previous.of.hyperparameters, candidate.hyperparameters)
  )
    return { major, minor: minor + 1, patch: 0 }
  return { major, minor, patch: patch + 1 }
}

/** Whether every request that was right before is right now: the same features, each allowing at least what it did. */
export function requestsStillFit(before: Features, after: Features): boolean {
  const names = Object.keys(before)
  if (names.length !== Object.keys(after).length) return false
  return names.every((name) => {
    const [old, now] = [before[name], after[name]]
    if (old === undefined || now === undefined || old.kind !== now.kind) return false
    if (old.missing === 'fill' && now.missing !== 'fill') return false
    if (old.kind === 'number' || now.kind === 'number' || now.values === undefined) return true
    const allowed = new Set(now.values)
    return old.values !== undefined && old.values.every((value) => allowed.has(value))
  })
}

/** Whether a reader of the answers of before understands those of now. A threshold is no part of the form. */
function sameAnswers(before: Output, after: Output): boolean {
  if (before.kind === 'probability') return after.kind === 'probability' && before.positive === after.positive
  if (before.kind === 'number') return after.kind === 'number' && before.unit === after.unit
  return after.kind === 'classes' && before.classes.join('\n') === after.classes.join('\n')
}

function sameParameters(before: Numbered['hyperparameters'], after: Numbered['hyperparameters']): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].every((name) => before[name] === after[name])
}
