/**
 * Asks whether what a version is asked, and what it answers, still looks as it did in training. A model that meets another
 * world than it was taught answers as confidently as ever; nobody would hear of it before the outcomes come.
 */
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { judgeDrift as judge, defaultDriftPolicy, type DriftLevel } from '../../domain/monitoring/drift.ts'
import { DomainError } from '../../domain/errors.ts'
import { countBins, defaultCountMs, type Profile } from '../../domain/model/reference-profile.ts'
import type { Output } from '../../domain/model/features.ts'
import { maturedTruths } from '../../domain/monitoring/quality.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { insertDriftJudgement, type DriftJudgement } from '../../store/monitoring/drift-judgements.ts'
import { findWindow } from '../../store/serving/feature-counts.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { findMaturity, readAnswered } from './matured-window.ts'
import type { QualityInput } from './quality.ts'

export interface DriftInput {
  model: string
  /** The champion when absent. */
  version?: string
  /** ISO 8601; the window ends with the last count that was over by then. Counts run for an hour unless the version says otherwise. */
  to: string
  /** Made up to whole counts. The window before is as long. */
  windowMs: number
}

export interface DriftResult {
  level: DriftLevel
  version?: string
  judgementId?: number
  /** What alarms: features, the score or the label. What a retraining may be asked for by. */
  drifted: string[]
  /** One sentence each, with its arithmetic. */
  reasons: string[]
}

/** The same window is judged once. Without a champion, a profile or counts there is nothing to say, and nothing is stored. */
export const checkDrift =
  ({ store, log }: Deps) =>
  async ({ model, to, windowMs, ...input }: DriftInput): Promise<DriftResult> => {
    if (!(windowMs > 0) || !Number.isFinite(windowMs) || !(Date.parse(to) > 0))
      throw new DomainError(
        'invalid_request',
        `drift is judged over a window, not over ${windowMs} ms to ${to}`,
      )
    const version = input.version ?? (await findChampion(store, model))?.version
    if (version === undefined) return nothing(`${model} has no champion`)
    const { profile } = (await getVersion(store, version)).manifest
    if (profile === undefined) return { ...nothing(`${version} has no reference profile`), version }
    const { everyMs = defaultCountMs } = profile
    const toMs = Math.floor(Date.parse(to) / everyMs) * everyMs
    const lengthMs = Math.ceil(windowMs / everyMs) * everyMs
    const [fromMs, beforeMs] = [toMs - lengthMs, toMs - 2 * lengthMs]
    const current = await findWindow(store, { model, version, fromMs, toMs })
    if (current === undefined) return { ...nothing(`${version} was not asked`), version }
    const previous = (await findWindow(store, { model, version, fromMs: beforeMs, toMs: fromMs })) ?? null
    const policy = defaultDriftPolicy
    const judgement = await insertDriftJudgement(store, {
      model,
      version,
      subject: 'served',
      fromMs,
      toMs,
      report: judge({ reference: profile, current, previous }, policy),
      inputs: { current, previous },
      policy,
    })
    const result = resultOf(judgement)
    await tell(store, judgement, result)
    log.info({ ...result, model, to: new Date(toMs).toISOString(), windowMs: lengthMs }, 'drift judged')
    return result
  }

/** Whether what becomes true is still as frequent as in training. On matured outcomes, and the window of them before. */
export const checkLabelDrift =
  ({ store, log }: Deps) =>
  async ({ model, at, windowMs, observedMs, ...input }: QualityInput): Promise<DriftResult> => {
    const nowMs = Date.parse(at)
    if (!(nowMs > 0) || !(windowMs > 0) || !(observedMs > 0))
      throw new DomainError(
        'invalid_request',
        `drift of outcomes is judged over a window at a moment, not ${windowMs} ms at ${at}`,
      )
    const version = input.version ?? (await findChampion(store, model))?.version
    if (version === undefined) return nothing(`${model} has no champion`)
    const { manifest } = await getVersion(store, version)
    const profile = manifest.profile?.label
    if (profile === undefined)
      return { ...nothing(`${version} has no reference profile of its label`), version }
    const matured = await findMaturity({ store }, { model, nowMs, windowMs, observedMs })
    if (matured === undefined)
      return { ...nothing(`too little is known of how late outcomes of ${model} are`), version }
    const { late, fromMs, toMs } = matured
    const count = async (span: { fromMs: number; toMs: number }) => {
      const answered = await readAnswered({ store }, { model, version, manifest }, { ...span, nowMs })
      const { rows, cohort } = maturedTruths(answered)
      if (cohort.status === 'insufficient') return null
      return { features: {}, label: countLabels(profile, manifest.output, rows) }
    }
    const current = await count({ fromMs, toMs })
    if (current === null) return { ...nothing(`too few outcomes of ${version} have come`), version }
    const previous = await count({ fromMs: fromMs - windowMs, toMs: fromMs })
    const policy = defaultDriftPolicy
    const reference = { rows: manifest.profile?.rows ?? 0, features: [], label: profile }
    const judgement = await insertDriftJudgement(store, {
      model,
      version,
      subject: 'label',
      fromMs,
      toMs,
      report: judge({ reference, current, previous }, policy),
      inputs: { current, previous, maturity: late },
      policy,
    })
    const result = resultOf(judgement)
    await tell(store, judgement, result)
    log.info({ ...result, model, at, windowMs }, 'drift of outcomes judged')
    return result
  }

function countLabels(profile: Profile, output: Output, rows: readonly { y: number }[]): number[] {
  const named = (y: number) => (output.kind === 'classes' ? (output.classes[y] ?? null) : String(y))
  return countBins(
    profile,
    rows.map(({ y }) => (profile.kind === 'number' ? y : named(y))),
  )
}

const nothing = (why: string): DriftResult => ({ level: 'insufficient', drifted: [], reasons: [why] })

function resultOf({ id, version, level, report }: DriftJudgement): DriftResult {
  const { features, score, label } = report
  const rows = [...features, ...(score === null ? [] : [score]), ...(label === null ? [] : [label])]
  return {
    level,
    version,
    judgementId: id,
    drifted: rows.filter((row) => row.level === 'alarm').map(({ name }) => name),
    reasons: report.reasons.map(({ message }) => message),
  }
}

/** One matter a model, and one for its outcomes: it is renewed while it lasts, and closed by a window that is stable again. */
async function tell(
  store: Deps['store'],
  { model, version, subject, id, level }: DriftJudgement,
  { drifted, reasons }: DriftResult,
): Promise<void> {
  const dedupeKey = `${subject === 'label' ? 'label_drift' : 'drift'}/${model}`
  if (reasons.length === 0) {
    if (level === 'stable') await resolveAlert(store, dedupeKey)
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

/** Where the level itself is no reason for an alert, values are that training never saw. */
function kindOf(subject: DriftJudgement['subject'], level: DriftLevel): AlertKind {
  if (level === 'unreadable') return 'drift_unreadable'
  if (level !== 'warn' && level !== 'alarm') return 'new_category'
  return subject === 'label' ? `label_drift_${level}` : `drift_${level}`
}
