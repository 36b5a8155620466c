/**
 * Says which settings a sender may change alone: those that tighten a policy. One that loosens it waits for an approver like code, because a
 * developer could otherwise remove the approver, the floors or the stages of its own releases.
 */
import { metricScales, type GateMetric } from '../evaluation/gate-metrics.ts'
import { primaryIsHigher } from '../evaluation/policy.ts'
import type { ModelDefinition } from '../model-definition.ts'
import { defaultQualification } from '../model/qualification.ts'
import { completeMonitorPolicy } from '../monitoring/policy.ts'
import { asStored, changedFields, type ChangedField } from './plan.ts'

/**
 * - `more`, `less`: the direction that tightens. With `given`, an absent value is the loosest; without it, an added or removed value waits.
 * - `better`: towards the better values of the metric that the last part of the word names, or of the primary metric; absent is the loosest.
 * - `free`: neither direction loosens what releases a version.
 * - `waits`: every change waits.
 */
export type Tightening =
  | 'more'
  | 'less'
  | 'more, or given'
  | 'less, or given'
  | 'better, or given'
  | 'free'
  | 'waits'

const stage = String.raw`(shadow|stages\.\d+|probation)`

/** All words of the policies, from the special to the general: the first that matches decides, and a word without an entry waits. */
export const tightenings: readonly (readonly [pattern: RegExp, Tightening])[] = (
  [
    // Release
    [String.raw`release\.approval\.approvers`, 'more'],
    [String.raw`release\.approval\.withinMs`, 'less'],
    [String.raw`release\.requireDrill\.withinMs`, 'less, or given'],
    [String.raw`release\.${stage}\.(minMs|minRequests)`, 'more, or given'],
    [String.raw`release\.${stage}\.deadlineMs`, 'less, or given'],
    [String.raw`release\.(shadow|stages\.\d+)\.shareBp`, 'less, or given'],
    [String.raw`release\.probation\.(holdbackBp|shadowBp|coverLabels)`, 'more, or given'],
    [String.raw`release\.watch\.(everyMs|exposureMs|decisionMs)`, 'less'],
    [String.raw`release\.qualification\.(p99Us|rssBytes|weightBytes|timeoutMs)`, 'less'],
    [String.raw`release\.qualification\.(p99Times|cpuTimes|rssTimes)`, 'less, or given'],
    [String.raw`release\.limits\.(errorRatio|slowRatio|guardRate|minDelta|maxStaleMs|harmBudget)`, 'less'],
    [String.raw`release\.limits\.alpha\.\w+`, 'more'],
    [String.raw`release\.limits\.promotion\.(ratio|negligibleRate)`, 'less'],
    [String.raw`release\.limits\.promotion\.logE`, 'more'],
    [String.raw`release\.limits\.nonInferiority\.margin`, 'less, or given'],
    [String.raw`release\.limits\.nonInferiority\.logE`, 'more, or given'],
    [String.raw`release\.limits\.srm\.alpha`, 'more'],
    [String.raw`release\.limits\.srm\.(tolerance|designEffect)`, 'less'],
    [String.raw`release\.limits\.scoreShift\.(tolerance|minDelta|rollbackRatio)`, 'less'],
    [String.raw`release\.limits\.disagreement\.max`, 'less'],
    [String.raw`release\.limits\.business\.\w+\.notWorse`, 'less, or given'],
    [String.raw`release\.limits\.business\.\w+\.better`, 'more, or given'],
    [String.raw`release\.limits\.external\.\w+\.tolerance`, 'less'],
    [String.raw`release\..*`, 'waits'],
    // Evaluation
    [String.raw`evaluation\.policy\.floors\.\w+`, 'better, or given'],
    [String.raw`evaluation\.policy\.margins\.\w+(\.relative)?`, 'less'],
    [String.raw`evaluation\.policy\.confidence`, 'more'],
    [String.raw`evaluation\.policy\.threshold`, 'free'],
    [String.raw`evaluation\.policy\.evidence\.(rows|positives|negatives|sliceRows|slicePositives)`, 'more'],
    [String.raw`evaluation\.policy\.slices\.points`, 'less'],
    [String.raw`evaluation\.policy\.slices\.alpha`, 'more'],
    [String.raw`evaluation\.policy\.calibration\.(ece|overChampion)`, 'less'],
    [String.raw`evaluation\.policy\.fairness\.selectionRatio`, 'more'],
    [String.raw`evaluation\.policy\.fairness\.(rateDifference|errorDifference|minRows)`, 'less'],
    [String.raw`evaluation\.policy\.leakage\.(overlap|featureAuc|featureCorrelation|gain)`, 'less'],
    [String.raw`evaluation\.policy\.testSetUses`, 'less'],
    [String.raw`evaluation\..*`, 'waits'],
    [String.raw`label\.output\.threshold`, 'free'],
    // Monitor
    [String.raw`monitor\.everyMs`, 'less'],
    [String.raw`monitor\.service\.\w+`, 'less'],
    [String.raw`monitor\.quality\.(metrics\.\w+\.)?(warn|alarm)`, 'better, or given'],
    [String.raw`monitor\.drift\.(warn|alarm)`, 'less, or given'],
    [String.raw`monitor\.drift\.features\.\w+\.(warn|alarm)`, 'less, or given'],
    [String.raw`monitor\.rollback`, 'more'],
    [String.raw`monitor\.(cooldown|cost)\..*`, 'free'],
    [String.raw`monitor\.retrain`, 'free'],
    [String.raw`monitor\..*`, 'waits'],
  ] as const
).map(([pattern, tightening]) => [new RegExp(`^${pattern}$`), tightening])

export const tighteningOf = (path: string): Tightening =>
  tightenings.find(([pattern]) => pattern.test(path))?.[1] ?? 'waits'

/** The first setting that loosens a policy; undefined where all that differ tighten it or are free. */
export function loosenedField(before: ModelDefinition, after: ModelDefinition): string | undefined {
  const stored = asStored(after)
  return changedFields(complete(before), complete(stored)).find((field) => loosens(field, before))?.path
}

/** With the defaults that an absent value means. */
const complete = ({ release, evaluation, monitor, label }: ModelDefinition): object => ({
  release: {
    ...release,
    qualification: {
      ...defaultQualification,
      ...(release as Partial<typeof release> | undefined)?.qualification,
    },
  },
  evaluation,
  monitor: completeMonitorPolicy(monitor),
  label,
})

function loosens({ path, before, after }: ChangedField, definition: ModelDefinition): boolean {
  const tightening = tighteningOf(path)
  if (tightening === 'free') return false
  if (tightening === 'waits') return true
  const [direction, given] = tightening.split(', ')
  if (before === undefined) return given === undefined || !isOrdered(after)
  if (!isOrdered(before) || !isOrdered(after)) return true
  const isMore = Number(after) > Number(before)
  const wantsMore = direction === 'better' ? isHigherBetter(path, definition) : direction === 'more'
  return isMore !== wantsMore
}

const isOrdered = (value: unknown): value is number | boolean =>
  typeof value === 'boolean' || (typeof value === 'number' && !Number.isNaN(value))

/** Of the metric in the path, or of the primary metric. */
function isHigherBetter(path: string, { evaluation }: ModelDefinition): boolean {
  const named = path.split('.').find((part): part is GateMetric => Object.hasOwn(metricScales, part))
  return named === undefined ? primaryIsHigher(evaluation.policy) : metricScales[named].better === 'higher'
}
