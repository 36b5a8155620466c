/**
 * Judges one monitoring window of a model: service level, drift, skew and matured quality. A failing check is reported as an error and
 * does not stop the others.
 */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { errorTable, isError, reasonOf } from '../../domain/errors.ts'
import {
  accuracyFloors,
  firstWindowStart,
  completeMonitorPolicy,
  type MonitorPolicy,
} from '../../domain/monitoring/policy.ts'
import { builtInPrimary } from '../../domain/evaluation/policy.ts'
import { isWithinMargin, judgeFloor, judgeFloors, type FloorReport } from '../../domain/monitoring/quality.ts'
import { serviceJudge } from '../../domain/monitoring/service-level.ts'
import { isSkewDue } from '../../domain/monitoring/training-serving-skew.ts'
import {
  findTriggers,
  judgeTrigger,
  type Trigger,
  type TriggerDecision,
  type TriggerPolicy,
} from '../../domain/monitoring/retraining-triggers.ts'
import { slowPoolSizes } from '../../store/database/connection-budget.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion, type Champion } from '../../store/registry/champions.ts'
import { listRemovedModels } from '../../store/maintenance/expected-work.ts'
import { findModel } from '../../store/registry/models.ts'
import {
  findLastWindow,
  findMonitorWindow,
  insertMonitorWindow,
  type MonitorWindow,
} from '../../store/monitoring/monitor-windows.ts'
import { findReleaseToAwait } from '../../store/release/release-queue.ts'
import { countNewRows, listPastTrainings } from '../../store/training/retrainings.ts'
import type { Deps } from '../deps.ts'
import { judgeBreakdownOf } from './slice-metrics.ts'
import { returnIfDecayed } from './decay.ts'
import { checkDrift, checkLabelDrift } from './drift.ts'
import { checkParentDrift } from './parent-drift.ts'
import { estimateQuality } from './performance-estimate.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { withSlowStore } from '../runtime/slow-store.ts'
import { activateFallback } from './fallback.ts'
import { unknownDelayText } from './matured-window.ts'
import { checkQuality, type QualityResult } from './quality.ts'
import { checkServiceLevel } from './service-level.ts'
import { checkGoldenAnswers } from './golden-answers.ts'
import { checkServingSkew } from './skew.ts'

export type MonitorResult =
  /** The model no longer exists. */
  | { gone: true }
  | {
      gone: false
      /** How long until the next window is complete. */
      waitMs: number
      /** The retraining trigger that no cooldown suppresses. */
      ask?: Trigger
      summary: string
    }

/** A repeated call judges the window once and returns the same trigger. */
export const monitorModel =
  (deps: Deps) =>
  ({ model }: { model: string }): Promise<MonitorResult> =>
    withHeartbeat(async () => {
      const { store, log } = deps
      const found = await findModel(store, model)
      if (found === undefined) return { gone: true }
      const policy = policyOf(found.definition)
      const { lastMs, nowMs } = await findLastWindow(store, model)
      const fromMs = lastMs ?? firstWindowStart(nowMs, policy)
      const toMs = fromMs + policy.everyMs
      const waitFor = (endMs: number) => Math.max(0, endMs + policy.settleMs - nowMs)
      if (waitFor(toMs) > 0)
        return {
          gone: false,
          waitMs: waitFor(toMs),
          summary: `the next window ends at ${iso(toMs)}`,
        }
      const window =
        (await findMonitorWindow(store, { model, toMs })) ??
        (await look(deps, { model, fromMs, toMs }, { policy, definition: found.definition }))
      const trigger = window.trigger as StoredTrigger | undefined
      const summary = summaryOf(window, trigger)
      log.info({ model, to: iso(toMs) }, summary)
      const ask = trigger?.action === 'start' ? trigger.trigger : undefined
      return { gone: false, waitMs: waitFor(toMs + policy.everyMs), ask, summary }
    })

/** A model file may set its own policy; otherwise the default floors apply to accuracy. */
function policyOf({ monitor: stored, evaluation: judge }: ModelDefinition): MonitorPolicy {
  const monitor = completeMonitorPolicy(stored)
  const { warn, alarm } = monitor.quality ?? {}
  if (warn !== undefined || alarm !== undefined || builtInPrimary(judge.policy) !== 'accuracy') return monitor
  return { ...monitor, quality: { ...monitor.quality, ...accuracyFloors } }
}

interface StoredTrigger {
  trigger: Trigger
  action: TriggerDecision['action']
  said: string
}

interface Watched {
  policy: MonitorPolicy
  definition: ModelDefinition
}

type Span = Pick<MonitorWindow, 'model' | 'fromMs' | 'toMs'>
type Checked<T> = T | { error: string }

/** A sample of a week is drawn from all its requests: about a second for each million. */
const statementMs = 120_000

async function look(deps: Deps, span: Span, watched: Watched): Promise<MonitorWindow> {
  const champion = await findChampion(deps.store, span.model)
  const nothing = { facts: {}, findings: { service: { error: 'the model has no champion' } } }
  const found =
    champion === undefined
      ? nothing
      : await withSlowStore(
          deps,
          { name: 'tenure-monitor', max: slowPoolSizes.monitor, queryMs: statementMs },
          (slow) => lookAt({ ...deps, store: slow }, { ...span, champion }, watched),
        )
  const window = { ...span, ...found, judge: serviceJudge }
  await insertMonitorWindow(deps.store, window)
  return window
}

async function lookAt(
  deps: Deps,
  { champion, ...span }: Span & { champion: Champion },
  { policy, definition }: Watched,
): Promise<Omit<MonitorWindow, keyof Span | 'judge'>> {
  const { model, toMs } = span
  const { version } = champion
  const { spanMs: windowMs, observedMs, everyMs, settleMs } = policy
  const nextMs = toMs + everyMs + settleMs
  const failed: string[] = []
  const checked = async <T>(what: string, judged: Promise<T>): Promise<Checked<T>> => {
    try {
      return await judged
    } catch (error) {
      // Retryable errors repeat the whole window.
      if (isError(error) && errorTable[error.code].retryable) throw error
      const message = reasonOf(error)
      failed.push(`${what}: ${message}`)
      return { error: message }
    }
  }
  const asked = { model, version, at: iso(toMs), windowMs, observedMs }
  const served = { model, version, to: iso(toMs), windowMs }
  const service = await checked('service', checkServiceLevel(deps, { ...span, champion }, policy))
  const drift = await checked(
    'drift',
    checkDrift(deps)({ ...served, importance: policy.importance, tuning: policy.drift }),
  )
  const labelDrift = await checked('label drift', checkLabelDrift(deps)(asked))
  const quality = await checked('quality', checkQuality(deps)(asked))
  const breakdown = await checked('breakdown', judgeBreakdownOf(deps, { ...asked, nowMs: toMs }, policy))
  const estimate = await checked('estimate', estimateQuality(deps)(asked))
  // Not every window, because it replays a thousand rows in a process.
  const skew = isSkewDue(span, Date.parse(champion.since))
    ? await checked('skew', checkServingSkew(deps)(served))
    : undefined
  const parent = await checked('parent', checkParentDrift(deps, { ...span, version }, policy))
  await checked('golden rows', checkGoldenAnswers(deps, { model, version }))
  await alertFailures(deps, model, failed)
  const measured = quality === undefined || 'error' in quality ? undefined : quality
  const floors = measured === undefined ? {} : await checkFloors(deps, model, measured, policy)
  const { facts, report } = 'error' in service ? { facts: {}, report: undefined } : service
  const judgedFloors = Object.values(floors)
  const broken = judgedFloors.find(({ level }) => level === 'critical')?.reasons[0]
  if (broken !== undefined) await activateFallback(deps, { definition, champion: version, reason: broken })
  const decay = policy.rollback
    ? await checked(
        'decay',
        returnIfDecayed(
          deps,
          {
            ...span,
            champion,
            qualityAlarm: alarmOf(measured, judgedFloors),
            ...(parent && 'to' in parent && { parentAlarm: parent.reasons[0], parent: parent.to }),
          },
          policy,
        ),
      )
    : undefined
  const driftAlarms = [drift, labelDrift].flatMap((each) => ('error' in each ? [] : each.drifted))
  const trigger = policy.retrain
    ? await findTrigger(deps, { model, version, toMs, driftAlarms, measured }, policy.cooldown)
    : undefined
  return {
    version,
    facts: { ...facts },
    findings: {
      service: report ?? service,
      drift,
      labelDrift,
      quality: quality ?? {
        level: 'insufficient',
        reasons: [
          await unknownDelayText(deps.store, { model, version, nowMs: toMs, windowMs, observedMs, nextMs }),
        ],
      },
      ...Object.fromEntries(
        Object.entries(floors).map(([metric, floor]) => [
          metric === measured?.metric ? 'floor' : `floor of ${metric}`,
          floor,
        ]),
      ),
      breakdown,
      estimate,
      ...(decay === undefined ? {} : { decay }),
      ...(skew === undefined ? {} : { skew }),
      ...(parent === undefined ? {} : { parent }),
    },
    trigger: trigger && { ...trigger },
  }
}

/** Why the matured quality is in alarm; null when it is not, undefined when it is not measured, or an alarm may be chance. */
function alarmOf(
  measured: QualityResult | undefined,
  floors: readonly FloorReport[],
): string | null | undefined {
  if (measured === undefined || measured.level === 'insufficient') return undefined
  const broken = floors.filter(({ level }) => level === 'critical')
  if (broken.length > 0) return broken.flatMap(({ reasons }) => reasons).join('; ')
  if (measured.level === 'lost') return measured.reasons.join('; ')
  const isDoubtful = floors.some(({ alarm }) => alarm === 'doubtful')
  return isWithinMargin(measured) && !isDoubtful ? null : undefined
}

async function alertFailures({ store }: Deps, model: string, failed: string[]): Promise<void> {
  const dedupeKey = `monitor/${model}`
  if (failed.length === 0) return resolveAlert(store, dedupeKey, 'the last window was checked completely')
  const message = `Monitoring incomplete: ${failed.join('; ')}`
  await upsertAlert(store, { dedupeKey, model, severity: 'warning', kind: 'monitor_error', message })
}

/** The verdicts on the floors of a window, by metric. */
type Floors = Readonly<Record<string, FloorReport>>

/** Checks absolute limits, independent of training. A window in doubt neither raises an alert nor ends one. */
async function checkFloors(
  { store }: Deps,
  model: string,
  measured: QualityResult,
  { quality: declared }: MonitorPolicy,
): Promise<Floors> {
  const { metric: primary, version, judgementId } = measured
  const keyOf = (metric: string) => `quality_floor/${model}${metric === primary ? '' : `/${metric}`}`
  const open = await listOpenAlertKeys(store, ['quality_floor'], { model })
  // The model file may have had floors before.
  const { warn, alarm, metrics = {} } = declared ?? {}
  const isOfPrimary = warn !== undefined || alarm !== undefined
  const kept = [...(isOfPrimary ? [primary] : []), ...Object.keys(metrics)].map(keyOf)
  for (const key of open.filter((each) => !kept.includes(each)))
    await resolveAlert(store, key, 'the model file declares no floor')
  if (declared === undefined) return {}
  const own = isOfPrimary ? judgeFloor(measured, declared) : undefined
  const judged = [
    ...(own === undefined ? [] : [[measured, own] as const]),
    ...judgeFloors(measured, declared),
  ]
  for (const [{ metric, value }, { level, alarm: beyond, limit, reasons }] of judged) {
    const dedupeKey = keyOf(metric)
    if (level === 'held')
      await resolveAlert(store, dedupeKey, `${version}: ${metric} ${value}, above the floor`)
    if (level === 'held' || level === 'doubtful') continue
    // An open alarm stays one until it is certainly over.
    if (beyond === 'doubtful' && open.includes(dedupeKey)) continue
    await upsertAlert(store, {
      dedupeKey,
      model,
      severity: level,
      kind: 'quality_floor',
      message: `${version}: ${reasons.join('; ')}`,
      evidence: { judgementId, version, metric, value, limit },
    })
  }
  return Object.fromEntries(judged.map(([{ metric }, floor]) => [metric, floor]))
}

/** Picks the strongest trigger and applies the cooldowns. A suppressed trigger recurs with the next window. */
async function findTrigger(
  { store }: Deps,
  found: { model: string; version: string; toMs: number; driftAlarms: string[]; measured?: QualityResult },
  cooldown: TriggerPolicy,
): Promise<StoredTrigger | undefined> {
  const { model, version: champion, toMs: windowEndMs, driftAlarms, measured } = found
  const { newRows, trainingRows, lastTrainingMs } = await countNewRows(store, model)
  const rows =
    newRows === null || trainingRows === null ? {} : { newMaturedRows: newRows, trainingRows, lastTrainingMs }
  const [trigger] = findTriggers(
    { model, champion, windowEndMs, driftAlarms, quality: measured, ...rows },
    cooldown,
  )
  // Without its file, a retraining would fail.
  if (trigger === undefined || (await listRemovedModels(store)).includes(model)) return undefined
  const { nowMs, trainings } = await listPastTrainings(store, { model, except: '' })
  const releasing = await findReleaseToAwait(store, model)
  const history = { trainings, newRows, trainingRows, releasing }
  const { action, message } = judgeTrigger(trigger, history, nowMs, cooldown)
  return { trigger, action, said: message }
}

function summaryOf({ toMs, facts, findings, version }: MonitorWindow, found?: StoredTrigger): string {
  const levels = Object.entries(findings).map(([judge, finding]) => `${judge} ${levelOf(finding)}`)
  const requests = (facts['requests'] as number | undefined) ?? 0
  const isHeldBack = found !== undefined && found.action !== 'start'
  const heldBack = isHeldBack ? `; no retraining by ${found.trigger.reason}: ${found.said}` : ''
  return `${iso(toMs)}: ${requests} requests to ${version ?? 'no champion'}; ${levels.join(', ')}${heldBack}`
}

function levelOf(finding: unknown): string {
  const { error, level, status, findings } = finding as Record<string, unknown>
  if (error !== undefined) return 'unknown'
  if (Array.isArray(findings)) {
    return (findings as { code: string }[]).map(({ code }) => code).join('+') || String(level ?? 'ok')
  }
  return String(level ?? status)
}

const iso = (ms: number): string => new Date(ms).toISOString()
