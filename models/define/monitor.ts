/** Compiles the `monitor` of a model file into a monitoring policy. Absent fields take the defaults. */
import {
  defaultMonitorPolicy,
  issuesOfMonitor,
  type BusinessPolicy,
  type CostPolicy,
  type MonitorPolicy,
  type QualityFloors,
} from '../../domain/monitoring/policy.ts'
import { lastYearMs, type DriftTuning } from '../../domain/monitoring/drift-history.ts'
import type { GateMetric } from '../../domain/evaluation/gate-metrics.ts'
import { durationAt, durationsIn, type Duration } from './duration.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'

/** The rows that drift compares with: the training rows, the rows served this long before, or a year before. */
export type DriftReference = 'training' | 'same season last year' | Duration

export interface MonitorSpec {
  /** The length of a window. Default: 1 h. */
  every?: Duration
  /** The period over which drift and quality are judged, a multiple of `count`. Default: 24 h. */
  span?: Duration
  /** The interval of the feature counters. Default: 1 h. A version keeps the value it was trained with. */
  count?: Duration
  /** The delay after the end of a window before it is judged. Default: 30 s. */
  settle?: Duration
  /** The age after which a prediction is no longer expected to get an outcome. Default: 7 d. */
  outcomesWithin?: Duration
  /** Time without requests before an alert. Default: 24 h. */
  silent?: Duration
  /** Time without outcomes, after earlier ones, before an alert. Default: 48 h. */
  outcomesStopped?: Duration
  /** The share of failed requests and invalid outputs, in percent. Default: 1 warns, 2 alarms. */
  errors?: {
    /** In percent. */
    warn: number
    /** In percent. */
    alarm: number
  }
  /** The limit of the 95th percentile of the latency. Default: 200 ms. */
  latencyP95?: Duration
  /** Limits of the primary metric on matured outcomes, and of others. Default: 0.85 and 0.8 where the primary one is the accuracy, else none. */
  quality?: {
    /** Warns when the value is certainly below this one; above it where lower is better, such as `rmse`. */
    warn?: number
    /** Alarms when it is certainly below this value; above it where lower is better. */
    alarm?: number
    /** Limits of other metrics of the label: `{ recall: { warn: 0.7, alarm: 0.6 }, f1: { alarm: 0.5 } }`. */
    metrics?: Partial<Record<GateMetric, QualityFloors>>
  }
  /**
   * The importance of features for drift, on any scale: `{ distance: 3, carrier: 1, note: 0 }`. A feature of importance 0 warns and never
   * alarms; the others alarm together by their share of the sum. Default: the measured importance of the version.
   */
  importance?: Record<string, number>
  /** The limits of drift. */
  drift?: {
    /** The PSI from which a significant difference warns. Default: 0.1. */
    warn?: number
    /** The PSI from which a significant difference alarms. Default: 0.2. */
    alarm?: number
    /** Features that are not judged, such as a counter that always grows. Default: none. */
    exclude?: readonly string[]
    /** The limits and the reference of single features: `{ distance: { warn: 0.3, alarm: 0.5, reference: 'training' } }`. */
    features?: Record<string, { warn?: number; alarm?: number; reference?: DriftReference }>
    /**
     * Compares with the rows that the model served this long before, such as `'7 d'`, in the same season last year, or with the training rows
     * alone. Default: the training rows; a difference counts beyond what their days show and the same hours of the last four weeks.
     */
    reference?: DriftReference
  }
  /** The limit of rows with a number outside the range of its feature, in percent. Default: 5. */
  outside?: number
  /** The resource limits of one replica. */
  resources?: {
    /** Memory in MB. Default: 512. */
    rssMb?: number
    /** CPU as a share of a core. Default: 0.9. */
    cpuShare?: number
    /** The 99th percentile of the event loop delay. Default: 250 ms. */
    loopDelay?: Duration
  }
  /**
   * The value of a prediction, as SQL over the features, `prediction`, `predicted` and `outcome`: `{ name: 'saved', unit: '$',
   * perPrediction: 'case when predicted = 1 then 40 * outcome - 10 else 0 end', warn: 1 }`. Several numbers are addressed by name:
   * `prediction.arrival_delay`.
   */
  business?: BusinessPolicy
  /**
   * The cost of a prediction, or the price of a processor and of memory at which it is measured, and the daily cost that raises an alert. No
   * price has a default.
   */
  cost?: CostPolicy
  /** Whether findings may start a retraining. Default: true. */
  retrain?: boolean
  /**
   * Whether to restore the last known good version automatically: when the champion's responses fail, or when its quality is lost or its
   * predictions collapse while that version is better on the same rows; and for a compressed champion its parent, when its answers are proven
   * to differ from the parent's. Default: true.
   */
  rollback?: boolean
  /** The limits of automatic retrainings. */
  cooldown?: {
    /**
     * The minimum time after an automatic training, by the reason of the next one. A quarter of it after a training of a user, a schedule or a
     * trigger of the file.
     */
    after?: {
      /** Default: 24 h. */
      drift?: Duration
      /** Default: 6 h. */
      quality?: Duration
      /** Default: 24 h. */
      labels?: Duration
    }
    /** The maximum after unsuccessful automatic trainings. Default: 7 d. */
    max?: Duration
    /** The maximum number of automatic trainings per week. Those of users and schedules do not count. Default: 4. */
    maxPerWeek?: number
    /** The period of `maxPerWeek`: 7 d. */
    week?: Duration
    /** The number of new matured rows that starts a retraining, as a share of the training rows. Default: 0.2. */
    newRows?: number
  }
}

const fields = fieldNames<MonitorSpec>({
  every: 0,
  span: 0,
  count: 0,
  settle: 0,
  outcomesWithin: 0,
  silent: 0,
  outcomesStopped: 0,
  errors: 0,
  latencyP95: 0,
  quality: 0,
  importance: 0,
  drift: 0,
  outside: 0,
  resources: 0,
  business: 0,
  cost: 0,
  retrain: 0,
  cooldown: 0,
  rollback: 0,
})

export function compileMonitor(
  report: IssueCollector,
  spec: MonitorSpec,
  features: readonly string[],
): MonitorPolicy {
  const defaults = defaultMonitorPolicy
  const at = durationsIn(report, 'monitor')
  const { errors, cooldown = {}, resources = {} } = spec
  const { after = {} } = cooldown
  reportUnknown(report, 'monitor', spec, fields)
  reportUnknown(report, 'monitor.errors', errors, ['warn', 'alarm'])
  reportUnknown(report, 'monitor.quality', spec.quality, ['warn', 'alarm', 'metrics'])
  for (const [metric, floors] of Object.entries(spec.quality?.metrics ?? {}))
    reportUnknown(report, `monitor.quality.metrics.${metric}`, floors ?? {}, ['warn', 'alarm'])
  reportUnknown(report, 'monitor.resources', resources, ['rssMb', 'cpuShare', 'loopDelay'])
  reportUnknown(report, 'monitor.cost', spec.cost, [
    'perPrediction',
    'processorHour',
    'gibHour',
    'unit',
    'perDay',
  ])
  reportUnknown(report, 'monitor.cooldown', cooldown, ['after', 'max', 'maxPerWeek', 'week', 'newRows'])
  reportUnknown(report, 'monitor.cooldown.after', after, ['drift', 'quality', 'labels'])
  const named = (place: string, names: readonly string[]) => {
    for (const name of names)
      if (!features.includes(name))
        report(place, `"${name}" is not a feature; they are ${features.join(', ')}`)
  }
  named('monitor.importance', Object.keys(spec.importance ?? {}))
  named('monitor.drift.exclude', spec.drift?.exclude ?? [])
  named('monitor.drift.features', Object.keys(spec.drift?.features ?? {}))
  const { service, cooldown: usual } = defaults
  const policy: MonitorPolicy = {
    everyMs: at('every', spec.every, defaults.everyMs),
    settleMs: at('settle', spec.settle, defaults.settleMs),
    spanMs: at('span', spec.span, defaults.spanMs),
    countMs: at('count', spec.count, undefined),
    observedMs: at('outcomesWithin', spec.outcomesWithin, defaults.observedMs),
    service: {
      ...service,
      ...(errors === undefined ? {} : { errorWarn: errors.warn / 100, errorAlarm: errors.alarm / 100 }),
      latencyP95Ms: at('latencyP95', spec.latencyP95, service.latencyP95Ms),
      silentMs: at('silent', spec.silent, service.silentMs),
      outcomesMs: at('outcomesStopped', spec.outcomesStopped, service.outcomesMs),
      outsideShare: spec.outside === undefined ? service.outsideShare : spec.outside / 100,
      rssMb: resources.rssMb ?? service.rssMb,
      cpuShare: resources.cpuShare ?? service.cpuShare,
      loopDelayMs: at('resources.loopDelay', resources.loopDelay, service.loopDelayMs),
    },
    importance: spec.importance,
    drift: compileDrift(report, spec.drift),
    business: spec.business,
    cost: spec.cost,
    quality: spec.quality,
    retrain: spec.retrain ?? defaults.retrain,
    rollback: spec.rollback ?? defaults.rollback,
    cooldown: {
      ...usual,
      afterMs: {
        drift: at('cooldown.after.drift', after.drift, usual.afterMs.drift),
        quality: at('cooldown.after.quality', after.quality, usual.afterMs.quality),
        labels: at('cooldown.after.labels', after.labels, usual.afterMs.labels),
      },
      maxMs: at('cooldown.max', cooldown.max, usual.maxMs),
      maxPerWeek: cooldown.maxPerWeek ?? usual.maxPerWeek,
      weekMs: at('cooldown.week', cooldown.week, usual.weekMs),
      newRowsShare: cooldown.newRows ?? usual.newRowsShare,
    },
  }
  for (const issue of issuesOfMonitor(policy)) report('monitor', issue)
  return policy
}

function compileDrift(report: IssueCollector, spec: MonitorSpec['drift']): DriftTuning | undefined {
  if (spec === undefined) return undefined
  const { reference, features = {}, ...limits } = spec
  const place = 'monitor.drift'
  reportUnknown(report, place, spec, ['warn', 'alarm', 'exclude', 'features', 'reference'])
  const tuned = Object.entries(features).map(([name, { reference: own, ...each }]) => {
    const part = `${place}.features.${name}`
    reportUnknown(report, part, features[name]!, ['warn', 'alarm', 'reference'])
    return [name, own === undefined ? each : { ...each, referenceMs: referenceOf(report, part, own) }]
  })
  return {
    ...limits,
    ...(spec.features && { features: Object.fromEntries(tuned) as DriftTuning['features'] }),
    referenceMs: reference === undefined ? undefined : referenceOf(report, place, reference),
  }
}

function referenceOf(
  report: IssueCollector,
  place: string,
  reference: DriftReference,
): NonNullable<DriftTuning['referenceMs']> {
  if (reference === 'training') return []
  if (reference === 'same season last year') return lastYearMs
  return durationAt(report, `${place}.reference`, reference)
}
