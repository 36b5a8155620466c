/** How a model is watched while it serves, in words; what is not said is as usual. */
import {
  defaultMonitorPolicy,
  issuesOfMonitor,
  type BusinessPolicy,
  type CostPolicy,
  type MonitorPolicy,
} from '../../domain/monitoring/policy.ts'
import { durationAt, type Duration } from './duration.ts'
import type { IssueCollector } from './issues.ts'

export interface MonitorSpec {
  /** The length of a window: 1 h. */
  every?: Duration
  /** Over how much drift and quality are judged, in whole counts: 24 h. */
  span?: Duration
  /** How long serving counts before it begins anew: 1 h. A version keeps what it was trained with. */
  count?: Duration
  /** A window is looked at so long after its end: 30 s. */
  settle?: Duration
  /** The age from which a prediction without an outcome will hardly get one any more: 7 d. */
  outcomesWithin?: Duration
  /** An alert when nobody has asked for so long: 24 h. */
  silent?: Duration
  /** An alert when no outcome has come for so long, after some had: 48 h. */
  outcomesStopped?: Duration
  /** Share of failed or invalid answers, in percent: 1 warns, 2 alarms. */
  errors?: {
    /** In percent. */
    warn: number
    /** In percent. */
    alarm: number
  }
  /** An alert when 95 % of the answers take longer: 200 ms. */
  latencyP95?: Duration
  /** Floors of the primary metric on matured outcomes; for accuracy 0.85 and 0.8 unless said otherwise. */
  quality?: {
    /** Below it people are warned. */
    warn: number
    /** Below it it is an alarm. */
    alarm: number
  }
  /** A number of the model file's features lies outside its limits in this share of the requests, in percent: 5. */
  outside?: number
  /** What one replica may need before people are told: 512 MB, 0.9 of a core, 250 ms until a request has its turn. */
  resources?: {
    /** MB of memory: 512. */
    rssMb?: number
    /** Seconds of a core in a second: 0.9. */
    cpuShare?: number
    /** How long a request may wait for its turn, 99th percentile: 250 ms. */
    loopDelay?: Duration
  }
  /**
   * What an answer was worth, as SQL over the features, `prediction`, `predicted` and `outcome`:
   * `{ name: 'saved', unit: '$', perPrediction: 'case when predicted = 1 then 40 * outcome - 10 else 0 end', warn: 1 }`.
   */
  business?: BusinessPolicy
  /** What a prediction costs, and from how much a day people are told. */
  cost?: CostPolicy
  /** False: what is found is told, and asks for no retraining. */
  retrain?: boolean
  /** How often such a request may lead to a training. */
  cooldown?: {
    /** After a training, by what asks: drift 24 h, quality 6 h, labels 24 h. */
    after?: {
      /** 24 h. */
      drift?: Duration
      /** 6 h. */
      quality?: Duration
      /** 24 h. */
      labels?: Duration
    }
    /** What trainings in a row that brought nothing may stretch it to: 7 d. */
    max?: Duration
    /** At most so many trainings, 4, in so long, 7 d. */
    maxPerWeek?: number
    /** The period of `maxPerWeek`: 7 d. */
    week?: Duration
    /** New matured rows that are a reason by themselves, as a share of those trained on: 0.2. */
    newRows?: number
  }
}

export function compileMonitor(report: IssueCollector, spec: MonitorSpec): MonitorPolicy {
  const defaults = defaultMonitorPolicy
  const at = (place: string, text: Duration | undefined, otherwise: number) =>
    text === undefined ? otherwise : durationAt(report, `monitor.${place}`, text)
  const { errors, quality, retrain = defaults.retrain, cooldown = {}, resources = {} } = spec
  const { after = {} } = cooldown
  const policy: MonitorPolicy = {
    everyMs: at('every', spec.every, defaults.everyMs),
    settleMs: at('settle', spec.settle, defaults.settleMs),
    spanMs: at('span', spec.span, defaults.spanMs),
    countMs: spec.count === undefined ? undefined : at('count', spec.count, defaults.everyMs),
    observedMs: at('outcomesWithin', spec.outcomesWithin, defaults.observedMs),
    service: {
      ...defaults.service,
      ...(errors === undefined ? {} : { errorWarn: errors.warn / 100, errorAlarm: errors.alarm / 100 }),
      latencyP95Ms: at('latencyP95', spec.latencyP95, defaults.service.latencyP95Ms),
      silentMs: at('silent', spec.silent, defaults.service.silentMs),
      outcomesMs: at('outcomesStopped', spec.outcomesStopped, defaults.service.outcomesMs),
      outsideShare: spec.outside === undefined ? defaults.service.outsideShare : spec.outside / 100,
      rssMb: resources.rssMb ?? defaults.service.rssMb,
      cpuShare: resources.cpuShare ?? defaults.service.cpuShare,
      loopDelayMs: at('resources.loopDelay', resources.loopDelay, defaults.service.loopDelayMs),
    },
    business: spec.business,
    cost: spec.cost,
    quality,
    retrain,
    cooldown: {
      ...defaults.cooldown,
      afterMs: {
        drift: at('cooldown.after.drift', after.drift, defaults.cooldown.afterMs.drift),
        quality: at('cooldown.after.quality', after.quality, defaults.cooldown.afterMs.quality),
        labels: at('cooldown.after.labels', after.labels, defaults.cooldown.afterMs.labels),
      },
      maxMs: at('cooldown.max', cooldown.max, defaults.cooldown.maxMs),
      maxPerWeek: cooldown.maxPerWeek ?? defaults.cooldown.maxPerWeek,
      weekMs: at('cooldown.week', cooldown.week, defaults.cooldown.weekMs),
      newRowsShare: cooldown.newRows ?? defaults.cooldown.newRowsShare,
    },
  }
  for (const issue of issuesOfMonitor(policy)) report('monitor', issue)
  return policy
}
