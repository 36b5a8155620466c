/**
 * Rolls back a champion past its probation when its quality is lost, its answers collapse, or those of a compressed one differ from its
 * parent's. Rolls back at most once per cooldown, and never when the previous version is no better on the same rows: then the world has
 * changed, and only a retraining helps.
 */
import { outputWidth } from '@tenure/predictors/features'
import { countDifferences, sumOf, type ValueCounts } from '@tenure/sequential'
import {
  judgeDecay,
  judgeReturn,
  keepsApart,
  rollbackCooldownMs,
  type DecayFacts,
  type DecayFinding,
  type DecayState,
  type ReturnReport,
  type TopAnswer,
} from '../../domain/monitoring/decay.ts'
import { lossOf, scoredAlike, type LossQuestion } from '../../domain/canary/holdback.ts'
import { DomainError } from '../../domain/errors.ts'
import { percentText } from '../../domain/figures.ts'
import { answerProfiles, binner, defaultCountMs } from '../../domain/model/reference-profile.ts'
import { answerCounts } from '../../domain/monitoring/drift-window.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { digestText, valuesOfLogged } from '../../domain/model/logged-rows.ts'
import type { MonitorPolicy } from '../../domain/monitoring/policy.ts'
import { listLogged, listMaturedRows, type MaturedRow } from '../../store/monitoring/matured-outcomes.ts'
import { findMonitorWindow, type Span } from '../../store/monitoring/monitor-windows.ts'
import { findRollbackTarget, listChampionHistory, type Champion } from '../../store/registry/champions.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getVersion, type Version } from '../../store/registry/versions.ts'
import { findWindow } from '../../store/serving/feature-counts.ts'
import { findOpenRelease } from '../../store/release/releases.ts'
import { alertChampionRollback, rollBackChampion } from '../../store/release/rollback.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import type { Database } from '../../store/postgres.ts'
import type { Deps } from '../deps.ts'
import { runServingChild } from '../runtime/serving-child.ts'
import { findJudgedLoss } from '../evaluation/judged-loss.ts'
import { findMaturity } from './matured-window.ts'
import { scoreOfAnswer, numbersOf, truthWidth } from '../../domain/tasks/tasks.ts'

export interface DecayResult extends DecayState {
  /** `kept`: there is a finding, but the champion stays, for the reason given. */
  level: 'ok' | 'kept' | 'returned'
  reasons: string[]
  to?: string
  comparison?: ReturnReport
}

const maxRows = 1_000
const childMs = 60_000

type Decayed = Span &
  Pick<DecayFacts, 'qualityAlarm' | 'parentAlarm'> & {
    champion: Champion
    /** Where a finding about the parent returns to. */
    parent?: string
  }

/** Judges a window and rolls the champion back on a finding. A repeated call finds another champion and changes nothing. */
export async function returnIfDecayed(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>,
  { champion, qualityAlarm, parentAlarm, parent, ...span }: Decayed,
  policy: MonitorPolicy,
): Promise<DecayResult> {
  const { store, log } = deps
  const { model, fromMs } = span
  const { decay } = (await findMonitorWindow(store, { model, toMs: fromMs }))?.findings ?? {}
  const { version } = champion
  const served = { ...span, version }
  const facts = { version, qualityAlarm, parentAlarm, tops: await findTops(store, served) }
  const { state, finding } = judgeDecay(facts, decay as DecayState | undefined, policy.service)
  if (finding === undefined) return { ...state, level: 'ok', reasons: [] }
  const result = { ...state, reasons: [finding.message] }
  const keptBecause = (why: string): DecayResult => ({
    ...result,
    level: 'kept',
    reasons: [finding.message, why],
  })
  const issue = await issueOfReturn(deps, served)
  if (issue !== undefined) return keptBecause(issue)
  const target = await findRollbackTarget(store, { model, from: version })
  if (target === undefined) return keptBecause(`${model} has no earlier known good version`)
  if (finding.matter === 'parent' && target !== parent) return keptBecause(`${parent} is no rollback target`)
  const compared = await compareOn(deps, finding, { ...span, from: version, to: target }, policy)
  if (typeof compared === 'string') return keptBecause(compared)
  const comparison = compared && { comparison: compared }
  if (compared?.isBetter === false) return { ...keptBecause(compared.message), ...comparison }
  const reason = [finding.message, ...(compared ? [compared.message] : [])].join('; ')
  const order = { model, by: monitorActor(model), reason, from: version }
  // In one transaction with its alert: a repeated call finds another champion and would raise none.
  const done = await store.transaction(async (database) => {
    const moved = await rollBackChampion(database, order, new Map())
    if ('outcome' in moved) return moved
    const facts = { matter: finding.matter }
    const alert = { model, ...moved, severity: 'critical' } as const
    await alertChampionRollback(database, alert, `by its monitor: ${reason}`, facts)
    return moved
  })
  if ('outcome' in done) return keptBecause(done.message)
  const { from, to } = done
  log.warn({ model, from, to, reason }, 'champion rolled back by its monitor')
  return { ...result, ...comparison, level: 'returned', to }
}

export const monitorActor = (model: string): string => `monitor/${model}`

/** Why no rollback may be tried now; undefined when one may. */
export async function issueOfReturn(
  { store }: { store: Database },
  { model, version, toMs }: { model: string; version: string; toMs: number },
): Promise<string | undefined> {
  const release = await findOpenRelease(store, model)
  if (release?.state.version === version) return 'its release is still open, and decides by itself'
  const flag = await findKillSwitch(store, model)
  if (flag !== undefined && flag.serve !== 'normal') return 'a kill switch is set'
  const earlier = (await listChampionHistory(store, model, 20)).find(
    ({ cause, actor, at }) =>
      cause === 'rollback' && actor === monitorActor(model) && toMs - Date.parse(at) < rollbackCooldownMs,
  )
  return earlier && `the monitor has rolled ${model} back at ${earlier.at}`
}

/** Compares both versions on rows of the champion; a text with the reason when a comparison is impossible. The parent was already compared. */
async function compareOn(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  { matter, number }: DecayFinding,
  { fromMs, toMs, from, to }: Span & { from: string; to: string },
  policy: MonitorPolicy,
): Promise<ReturnReport | string | undefined> {
  if (matter === 'parent') return undefined
  const [champion, target] = await Promise.all([getVersion(deps.store, from), getVersion(deps.store, to)])
  return matter === 'quality'
    ? compareQuality(deps, { champion, target, nowMs: toMs }, policy)
    : compareSpread(deps, { champion, target, number, fromMs, toMs })
}

async function compareQuality(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  { champion, target, nowMs }: { champion: Version; target: Version; nowMs: number },
  { spanMs: windowMs, observedMs }: MonitorPolicy,
): Promise<ReturnReport | string> {
  const { store } = deps
  const { model, version: from } = champion
  const matured = await findMaturity(store, { model, nowMs, windowMs, observedMs })
  if (matured === undefined) return 'too few outcomes to tell how late they come'
  const { manifest } = champion
  const width = outputWidth(manifest.output)
  const { fromMs, toMs } = matured
  const asked = { model, version: from, fromMs, toMs, nowMs, fits: manifest.preprocessing ?? [], width }
  const { rows } = await listMaturedRows(store, asked, maxRows)
  if (rows.length === 0) return 'no matured rows to compare on'
  const values = valuesOfLogged(rows, Object.keys(target.manifest.features))
  if ('digested' in values) return notCompared(target, values.digested)
  const by = scoredAlike(target.manifest.output, manifest)
  if (by === undefined) return `${target.version} gives other answers, whose losses cannot be compared`
  const judged = await findJudgedLoss(store, champion)
  const pairs = differencesOf(rows, await answersBy(deps, target, values), { by, judged })
  return judgeReturn(pairs, { to: target.version, judged })
}

const notCompared = ({ version }: Version, digested: readonly string[]): string =>
  `${version} was ${digestText(digested)}`

/** Whether the previous version still gives varied answers (or the one number of them) to the requests of the window. */
async function compareSpread(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  {
    champion,
    target,
    number,
    ...span
  }: Omit<Span, 'model'> & { champion: Version; target: Version } & Pick<DecayFinding, 'number'>,
): Promise<ReturnReport | string> {
  const { manifest, model, version } = champion
  const asked = {
    ...span,
    model,
    version,
    fits: manifest.preprocessing ?? [],
    width: outputWidth(manifest.output),
  }
  const rows = await listLogged(deps.store, asked, maxRows)
  const { output, profile } = target.manifest
  const place = number === undefined || truthWidth(output) === 1 ? 0 : numbersOf(output).indexOf(number)
  const score = answerProfiles(profile)[place]
  const values = valuesOfLogged(rows, Object.keys(target.manifest.features))
  if ('digested' in values) return notCompared(target, values.digested)
  const answers = (await answersBy(deps, target, values)).filter((each) => each !== null)
  if (score === undefined || answers.length === 0) return 'no logged rows to compare on'
  const counts = score.counts.map(() => 0)
  const binOf = binner(score)
  for (const outputs of answers) counts[binOf(scoreOfAnswer(output, outputs, place))]!++
  const share = Math.max(...counts) / answers.length
  const message = `one answer of ${target.version} goes to ${percentText(share)} of the same ${answers.length} rows`
  return { rows: answers.length, delta: null, logE: 0, isBetter: keepsApart({ share }), message }
}

/** The most frequent answer of the hours of a window, of each number; empty where answers are not counted. */
async function findTops(
  store: Deps['store'],
  { fromMs, ...served }: Span & { version: string },
): Promise<TopAnswer[]> {
  const { profile } = (await getVersion(store, served.version)).manifest
  const everyMs = profile?.everyMs ?? defaultCountMs
  const window = await findWindow(store, { ...served, fromMs: Math.floor(fromMs / everyMs) * everyMs })
  const counted = answerCounts(window, profile)
  return answerProfiles(profile).flatMap(({ name, counts: reference }) => {
    const counts = counted[name] ?? []
    const answers = sumOf(counts)
    if (answers === 0 || counts.length !== reference.length) return []
    const top = counts.indexOf(Math.max(...counts))
    return [
      {
        ...(profile?.scores && { number: name }),
        answers,
        share: counts[top]! / answers,
        reference: reference[top]! / Math.max(1, sumOf(reference)),
      },
    ]
  })
}

/** The answers of a version to logged rows; null for a row that the version refuses. */
export async function answersBy(
  { artifacts, config }: Pick<Deps, 'artifacts' | 'config'>,
  target: Version,
  rows: readonly { row: FeatureRow }[],
): Promise<(number[] | null)[]> {
  verifyArtifact(openPublicKeys(config.signing, 'artifacts'), target)
  const { manifest, artifactDigest, version } = target
  const columns = Object.fromEntries(
    Object.keys(manifest.features).map((name) => [name, rows.map(({ row }) => row[name] ?? null)]),
  )
  await bringCopies(artifacts, { artifacts: [artifactDigest] })
  const scored = await runServingChild<Scored>([config.artifactRoot, artifactDigest, version], {
    script: 'api/processes/batch-scorer.ts',
    timeoutMs: childMs,
    input: `${JSON.stringify({ rows: rows.length, columns })}\n`,
  })
  if (!scored.ok)
    throw new DomainError('artifact_invalid', `${version} cannot be replayed: ${scored.message}`)
  const { outputs, problems, width } = scored
  return rows.map((_, i) => {
    const own = outputs.slice(i * width, (i + 1) * width)
    return problems[i] !== undefined || own.includes(null) ? null : (own as number[])
  })
}

interface Scored {
  ok: true
  width: number
  outputs: (number | null)[]
  problems: Record<number, string>
}

/** The champion's losses minus those of the previous version, whose answers are `answers`. */
function differencesOf(
  rows: readonly MaturedRow[],
  answers: readonly (number[] | null)[],
  { by, judged }: Pick<LossQuestion, 'by' | 'judged'>,
): ValueCounts {
  return countDifferences(
    rows.flatMap(({ outputs, value }, i) => {
      const again = answers[i]
      if (again == null) return []
      const champion = lossOf(judged, by.control, { outputs, value })
      const before = lossOf(judged, by.canary, { outputs: again, value })
      return champion === null || before === null ? [] : [champion - before]
    }),
  )
}
