/** How a model is watched while it serves, in words; what is not said is as usual. */
import { defaultMonitorPolicy, issuesOfMonitor, type MonitorPolicy } from '../../domain/monitoring.ts'
import { durationAt, type Duration } from './duration.ts'
import type { Report } from './report.ts'

export interface MonitorSpec {
  /** The length of a window: 1 h. */
  every?: Duration
  /** Over how much drift and quality are judged, in whole hours: 24 h. */
  span?: Duration
  /** The age from which a prediction without an outcome will hardly get one any more: 7 d. */
  outcomesWithin?: Duration
  /** An alert when nobody has asked for so long: 24 h. */
  silent?: Duration
  /** An alert when no outcome has come for so long, after some had: 48 h. */
  outcomesStopped?: Duration
  /** Share of failed or invalid answers, in percent: 1 warns, 2 alarms. */
  errors?: { warn: number; alarm: number }
  /** An alert when 95 % of the answers take longer: 200 ms. */
  latencyP95?: Duration
  /** Floors of the primary metric on matured outcomes; for accuracy 0.85 and 0.8 unless said otherwise. */
  quality?: { warn: number; alarm: number }
  /** False: what is found is told, and asks for no retraining. */
  retrain?: boolean
  /** How often such a request may lead to a training. */
  brakes?: {
    /** After a training, by what asks: drift 24 h, quality 6 h, labels 24 h. */
    coolDown?: { drift?: Duration; quality?: Duration; labels?: Duration }
    /** What trainings in a row that brought nothing may stretch it to: 7 d. */
    longest?: Duration
    /** At most so many trainings, 4, in so long, 7 d. */
    perWeek?: number
    week?: Duration
  }
}

export function lowerMonitor(report: Report, spec: MonitorSpec): MonitorPolicy {
  const usual = defaultMonitorPolicy
  const at = (place: string, text: Duration | undefined, otherwise: number) =>
    text === undefined ? otherwise : durationAt(report, `monitor.${place}`, text)
  const { errors, quality, retrain = usual.retrain, brakes = {} } = spec
  const { coolDown = {} } = brakes
  const policy: MonitorPolicy = {
    everyMs: at('every', spec.every, usual.everyMs),
    settleMs: usual.settleMs,
    spanMs: at('span', spec.span, usual.spanMs),
    observedMs: at('outcomesWithin', spec.outcomesWithin, usual.observedMs),
    service: {
      ...usual.service,
      ...(errors === undefined ? {} : { errorWarn: errors.warn / 100, errorAlarm: errors.alarm / 100 }),
      latencyP95Ms: at('latencyP95', spec.latencyP95, usual.service.latencyP95Ms),
      silentMs: at('silent', spec.silent, usual.service.silentMs),
      outcomesMs: at('outcomesStopped', spec.outcomesStopped, usual.service.outcomesMs),
    },
    ...(quality === undefined ? {} : { quality }),
    retrain,
    brakes: {
      ...usual.brakes,
      coolDownMs: {
        drift: at('brakes.coolDown.drift', coolDown.drift, usual.brakes.coolDownMs.drift),
        quality: at('brakes.coolDown.quality', coolDown.quality, usual.brakes.coolDownMs.quality),
        labels: at('brakes.coolDown.labels', coolDown.labels, usual.brakes.coolDownMs.labels),
      },
      longestCoolDownMs: at('brakes.longest', brakes.longest, usual.brakes.longestCoolDownMs),
      perWeek: brakes.perWeek ?? usual.brakes.perWeek,
      weekMs: at('brakes.week', brakes.week, usual.brakes.weekMs),
    },
  }
  for (const issue of issuesOfMonitor(policy)) report('monitor', issue)
  return policy
}
