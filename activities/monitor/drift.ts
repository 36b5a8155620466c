/**
 * Checks whether the inputs and scores of a version still match its training data. Input drift shows before outcomes arrive, even when
 * the model's confidence does not change.
 */
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import {
  driftEvidenceAt,
  driftPolicyOf,
  historyFromMs,
  referencesOf,
  referenceSpans,
  weekSpans,
  type DriftTuning,
} from '../../domain/monitoring/drift-history.ts'
import {
  answerRows,
  defaultDriftPolicy,
  judgeDrift as judge,
  labelRows,
  type DriftLevel,
} from '../../domain/monitoring/drift.ts'
import { driftWeights } from '../../domain/explanation/importance.ts'
import { DomainError } from '../../domain/errors.ts'
import {
  countBins,
  defaultCountMs,
  labelProfiles,
  type Profile,
  type ReferenceProfile,
} from '../../domain/model/reference-profile.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { maturedTruths } from '../../domain/monitoring/quality.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { insertDriftJudgement, type DriftJudgement } from '../../store/monitoring/monitor-windows.ts'
import { listHours } from '../../store/serving/feature-counts.ts'
import { listReferenceHours } from '../../store/serving/reference-hours.ts'
import { findImportance } from '../../store/training/evaluations.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { findChecked, findMaturity, readAnswered, type QualityInput } from './matured-window.ts'
import { decisionNames, taskOf } from '../../domain/tasks/tasks.ts'

export interface DriftInput {
  model: string
  /** Default: the champion. */
  version?: string
  /** ISO 8601. The window ends with the last complete count. A count covers an hour unless the version says otherwise. */
  to: string
  /** Rounded up to whole counts. The previous window has the same length. */
  windowMs: number
  /** The importance of each feature, as the model file declares it. Default: the measured importance of the version. */
  importance?: Record<string, number>
  /** The limits and the reference that the model file sets. */
  tuning?: DriftTuning
}

export interface DriftResult {
  level: DriftLevel
  version?: string
  judgementId?: number
  /** The subjects in alarm: features, scores or labels. They may trigger a retraining. */
  drifted: string[]
  /** One sentence each, with its arithmetic. */
  reasons: string[]
}

/** Judges a window once. Stores nothing without a champion, a reference profile or counts. */
export const checkDrift =
  (deps: Deps) =>
  async ({ model, to, windowMs, importance, tuning, ...input }: DriftInput): Promise<DriftResult> => {
    const { store } = deps
    if (!(windowMs > 0) || !Number.isFinite(windowMs) || !(Date.parse(to) > 0))
      throw new DomainError(
        'invalid_request',
        `the drift window must be positive and end at a time: ${windowMs} ms to ${to}`,
      )
    const version = input.version ?? (await findChampion(store, model))?.version
    if (version === undefined) return nothing(`${model} has no champion`)
    const { profile } = (await getVersion(store, version)).manifest
    if (profile === undefined) return { ...nothing(`${version} has no reference profile`), version }
    const { everyMs = defaultCountMs } = profile
    const toMs = Math.floor(Date.parse(to) / everyMs) * everyMs
    const lengthMs = Math.ceil(windowMs / everyMs) * everyMs
    const span = { toMs, lengthMs, everyMs }
    const fromMs = toMs - lengthMs
    const own = await listHours(store, { model, version, fromMs: historyFromMs(span), toMs })
    const earlier = await listReferenceHours(store, { model, version, profile }, referenceSpans(span, tuning))
    const weeks = await Promise.all(
      weekSpans(span, tuning).map((each) => listHours(store, { model, version, ...each })),
    )
    const before = [...earlier, ...weeks.flat()].filter(({ hourMs }) => hourMs < historyFromMs(span))
    const hours = [...new Map([...before, ...own].map((hour) => [hour.hourMs, hour])).values()]
    hours.sort((one, other) => one.hourMs - other.hourMs)
    const evidence = driftEvidenceAt(profile, hours, span, tuning)
    if (evidence === undefined) return { ...nothing(`${version} served no requests`), version }
    const { reference, ...counted } = evidence
    const measured = importance === undefined ? await findImportance(store, version) : undefined
    const inputs = {
      ...counted,
      ...(referencesOf(tuning).length === 0 ? {} : { reference }),
      importance: importance ?? (measured && driftWeights(measured)),
    }
    const judged = { model, version, subject: 'served', fromMs, toMs } as const
    const isExported = own.some((hour) => hour.isExported === true)
    return judgeWindow(deps, { ...judged, isExported }, reference, inputs, driftPolicyOf(tuning))
  }

/** Checks whether the label distribution of matured outcomes still matches training, and compares it with the previous window. */
export const checkLabelDrift =
  (deps: Deps) =>
  async (input: QualityInput): Promise<DriftResult> => {
    const { store } = deps
    const { model, windowMs } = input
    const checked = await findChecked(store, input, 'window of label drift')
    if (checked === undefined) return nothing(`${model} has no champion`)
    const { version, manifest, nowMs } = checked
    const { rows = 0, label, labels } = manifest.profile ?? {}
    const reference: ReferenceProfile = { rows, features: [], label, labels }
    if (labelProfiles(reference).length === 0)
      return { ...nothing(`${version} has no reference profile of its label`), version }
    const matured = await findMaturity(store, { ...input, nowMs })
    if (matured === undefined)
      return { ...nothing(`too few outcomes of ${model} to estimate their delay`), version }
    const { late, fromMs, toMs } = matured
    const count = async (span: { fromMs: number; toMs: number }) => {
      const { rows: known, cohort } = maturedTruths(await readAnswered(store, checked, { ...span, nowMs }))
      if (cohort.status === 'insufficient') return null
      const countsOf = (profile: Profile, place = 0) => countLabels(profile, manifest.output, known, place)
      return {
        features: {},
        ...(label && { label: countsOf(label) }),
        ...(labels && {
          labels: Object.fromEntries(labels.map((each, k) => [each.name, countsOf(each, k)])),
        }),
      }
    }
    const current = await count({ fromMs, toMs })
    if (current === null) return { ...nothing(`too few outcomes of ${version}`), version }
    const previous = await count({ fromMs: fromMs - windowMs, toMs: fromMs })
    const span = { model, version, subject: 'label', fromMs, toMs } as const
    return judgeWindow(deps, span, reference, { current, previous, maturity: late })
  }

/** Stores the verdict on a window once, and raises or resolves its alert. */
async function judgeWindow(
  { store, log }: Deps,
  {
    isExported = false,
    ...span
  }: Pick<DriftJudgement, 'model' | 'version' | 'subject' | 'fromMs' | 'toMs'> & { isExported?: boolean },
  reference: ReferenceProfile,
  inputs: DriftJudgement['inputs'],
  policy = defaultDriftPolicy,
): Promise<DriftResult> {
  const report = judge({ reference, ...inputs }, policy)
  const judgement = await insertDriftJudgement(store, { ...span, report, inputs, policy })
  const found = resultOf(judgement)
  const isMarked = isExported && found.reasons.length > 0
  const result = isMarked ? { ...found, reasons: [...found.reasons, exportedText] } : found
  await alertDrift(store, judgement, result)
  log.info({ ...span, ...result }, 'drift judged')
  return result
}

function countLabels(
  profile: Profile,
  output: Output,
  rows: readonly { y: readonly number[] }[],
  place: number,
): number[] {
  const named = (y: number) =>
    taskOf(output).labelKind === 'text' ? (decisionNames(output)[y] ?? null) : String(y)
  const values = rows.map(({ y }) => (profile.kind === 'number' ? y[place]! : named(y[place]!)))
  return countBins(profile, values)
}

/** Said where no replica has counted: the rows are a claim of a key. */
const exportedText = 'from counts that exported predictors have sent'

const nothing = (why: string): DriftResult => ({ level: 'insufficient', drifted: [], reasons: [why] })

function resultOf({ id, version, level, report }: DriftJudgement): DriftResult {
  const rows = [...report.features, ...answerRows(report), ...labelRows(report)]
  return {
    level,
    version,
    judgementId: id,
    drifted: rows.filter((row) => row.level === 'alarm').map(({ name }) => name),
    reasons: report.reasons.map(({ message }) => message),
  }
}

/** One alert per model for inputs and one for outcomes; a stable window resolves it. */
async function alertDrift(
  store: Deps['store'],
  { model, version, subject, id, level }: DriftJudgement,
  { drifted, reasons }: DriftResult,
): Promise<void> {
  const dedupeKey = `${subject === 'label' ? 'label_drift' : 'drift'}/${model}`
  if (reasons.length === 0) {
    if (level === 'stable') await resolveAlert(store, dedupeKey, `${version}: no drift in the last window`)
    return
  }
  await upsertAlert(store, {
    dedupeKey,
    model,
    severity: level === 'alarm' ? 'critical' : 'warning',
    kind: kindOf(subject, level),
    message: `${version}: ${reasons.join('; ')}`,
    evidence: { judgementId: id, version, drifted },
  })
}

/** Lists values unseen in training when the level itself raises no alert. */
function kindOf(subject: DriftJudgement['subject'], level: DriftLevel): AlertKind {
  if (level === 'unreadable') return 'drift_unreadable'
  if (level !== 'warn' && level !== 'alarm') return 'new_category'
  return subject === 'label' ? `label_drift_${level}` : `drift_${level}`
}
