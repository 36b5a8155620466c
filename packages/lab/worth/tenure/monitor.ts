/** Judges a day of the champion as the monitor does: matured quality, drift, decay and the triggers of a retraining. */
import { judgeDrift } from '../../../../domain/monitoring/drift.ts'
import type { DriftWindow } from '../../../../domain/monitoring/drift-window.ts'
import { judgeDecay, judgeReturn, type DecayState } from '../../../../domain/monitoring/decay.ts'
import { maturedSpan, maturity } from '../../../../domain/monitoring/label-maturity.ts'
import { defaultMonitorPolicy } from '../../../../domain/monitoring/policy.ts'
import { judgeQuality, type QualityReport } from '../../../../domain/monitoring/quality.ts'
import type { TriggerPolicy } from '../../../../domain/monitoring/retraining-triggers.ts'
import { countBins } from '../../../../domain/model/reference-profile.ts'
import { countDifferences } from '@tenure/sequential'
import { reversedReasons } from '../../../../domain/evaluation/gate.ts'
import type { Period } from '../contenders.ts'
import type { YearStream, StreamRow } from '../streams.ts'
import type { PlayedVersion } from '../versions.ts'
import { gatePolicyOf, yesNoOutput } from './gate.ts'

/** A request with the answer of the champion of its time. */
export interface LoggedRow extends StreamRow {
  version: string
  answer: number
}

/** Returns the default cooldowns of a model file, on the stream's clock. */
export function triggerPolicyOf({ weekMs }: YearStream, defaults: TriggerPolicy): TriggerPolicy {
  const ratio = weekMs / 604_800_000
  const { drift, quality, labels } = defaults.afterMs
  return {
    ...defaults,
    afterMs: { drift: drift * ratio, quality: quality * ratio, labels: labels * ratio },
    maxMs: defaults.maxMs * ratio,
    weekMs,
  }
}

/** Returns the champion's quality on the outcomes of one day that have matured by now. */
export function measureQuality(
  stream: YearStream,
  log: readonly LoggedRow[],
  { version, nowMs, baseline }: { version: string; nowMs: number; baseline: number | null },
): QualityReport | undefined {
  const dayMs = stream.weekMs / 7
  const own = log.filter((row) => row.version === version)
  const arrived = log.filter(({ knownAtMs }) => knownAtMs <= nowMs)
  const delaysMs = arrived
    .filter(({ atMs }) => atMs < nowMs - 2 * dayMs)
    .map(({ atMs, knownAtMs }) => knownAtMs - atMs)
  const matured = maturity([{ endMs: nowMs - 2 * dayMs, delaysMs }], nowMs, 0)
  if (matured.horizonMs === null || own.length === 0) return undefined
  // The judge needs a thousand rows, more than a day has.
  const span = { ...maturedSpan(nowMs, matured.horizonMs, 2 * dayMs), nowMs }
  return judgeQuality(
    {
      predictions: own.map(({ id, atMs, answer }) => ({ id, atMs, outputs: [answer] })),
      labels: own.map(({ id, told, atMs, knownAtMs }) => ({
        predictionId: id,
        value: told,
        observedMs: atMs,
        arrivedMs: knownAtMs,
        revision: 1,
      })),
      maturity: matured,
      span,
      output: yesNoOutput(stream),
      baseline,
    },
    gatePolicyOf(stream),
  )
}

/** Returns the features that alarm over two days. */
export function driftedIn(
  { profile }: PlayedVersion,
  today: readonly LoggedRow[],
  yesterday: readonly LoggedRow[],
): string[] {
  const windowOf = (rows: readonly LoggedRow[]): DriftWindow => ({
    features: Object.fromEntries(
      profile.features.map((each) => [
        each.name,
        countBins(
          each,
          rows.map(({ features }) => features[each.name] ?? null),
        ),
      ]),
    ),
    score: countBins(
      profile.score!,
      rows.map(({ answer }) => answer),
    ),
  })
  const { features, score } = judgeDrift({
    reference: profile,
    current: windowOf(today),
    previous: windowOf(yesterday),
  })
  return [...features, ...(score === null ? [] : [score])].flatMap(({ name, level }) =>
    level === 'alarm' ? [name] : [],
  )
}

/**
 * Returns the days on whose known outcomes the champion ranks worse than chance, in all rows or in a slice: what a user checks after an
 * alert.
 */
export function invertedDays(
  { slices, weekMs }: YearStream,
  log: readonly LoggedRow[],
  { fromMs, nowMs }: { fromMs: number; nowMs: number },
): Period[] {
  const dayMs = weekMs / 7
  const days = Array.from(
    { length: Math.round((nowMs - fromMs) / dayMs) },
    (_, place) => fromMs + place * dayMs,
  )
  return days.flatMap((startMs) => {
    const period = { fromMs: startMs, toMs: startMs + dayMs }
    const rows = log.filter(
      ({ atMs, knownAtMs }) => atMs >= period.fromMs && atMs < period.toMs && knownAtMs <= nowMs,
    )
    const found = reversedReasons(
      {
        y: rows.map(({ told }) => told),
        champion: { rows: rows.length, width: 1, values: Float32Array.from(rows, ({ answer }) => answer) },
        slices: slices.map(({ name, holds }) => ({
          name,
          rows: rows.flatMap(({ features }, place) => (holds(features) ? [place] : [])),
        })),
      },
      { task: 'binary' },
    )
    return found.length > 0 ? [period] : []
  })
}

export interface DecayLook {
  state: DecayState
  /** The version to return to, with the reason. */
  back?: string
}

/** Returns whether quality was lost twice in a row while the previous version is better on the same rows. */
export function judgeDay(
  {
    champion,
    before,
    log,
    nowMs,
  }: { champion: PlayedVersion; before: PlayedVersion; log: readonly LoggedRow[]; nowMs: number },
  { state, quality }: { state: DecayState | undefined; quality: QualityReport | undefined },
): DecayLook {
  const qualityAlarm =
    quality === undefined || quality.level === 'insufficient'
      ? undefined
      : quality.level === 'lost'
        ? quality.reasons.map(({ message }) => message).join('; ')
        : null
  const facts = { version: champion.id, qualityAlarm, tops: [] }
  const judged = judgeDecay(facts, state, defaultMonitorPolicy.service)
  if (judged.finding === undefined) return { state: judged.state }
  const rows = log
    .filter(({ version, knownAtMs }) => version === champion.id && knownAtMs <= nowMs)
    .slice(-maxRows)
  const again = before.answer(rows.map(({ features }) => features))
  const differences = rows.map(({ answer, told }, i) => (answer - told) ** 2 - (again[i]! - told) ** 2)
  const { isBetter, message } = judgeReturn(countDifferences(differences), {
    to: before.id,
    judged: { loss: 'brier' },
  })
  return { state: judged.state, back: isBetter ? `${judged.finding.message}; ${message}` : undefined }
}

/** As the monitor reads them. */
const maxRows = 1_000
