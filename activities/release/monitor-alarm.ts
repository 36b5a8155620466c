/** Fails the probation of a new champion on an alarm of its monitor. The monitor sees outcomes; the release itself does not. */
import { isHoldbackNoBetter, type HoldbackEvidence } from '../../domain/canary/holdback.ts'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { observedStage, type ReleaseState } from '../../domain/release/state.ts'
import type { Reason } from '../../domain/verdict.ts'
import { listAlarmsAgainst } from '../../store/monitoring/alerts.ts'
import { overruled, type Judgement } from './decide.ts'
import type { Deps } from '../deps.ts'

/** Alarms that a holdback excuses. */
const ofQuality: ReadonlySet<AlertKind> = new Set(['quality_lost', 'quality_floor'])

/** Finds an open alarm about the version in probation, also while a person decides; warnings and alarms of earlier versions do not count. */
export async function findAlarm(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
  holdback?: HoldbackEvidence,
): Promise<Reason | undefined> {
  const { model, version } = state
  if (observedStage(state) !== 'probation' || !state.promoted) return undefined
  // When the previous champion is equally wrong, the world has changed: a retraining helps, a rollback does not.
  const isExcused = holdback !== undefined && isHoldbackNoBetter(holdback)
  const alarms = await listAlarmsAgainst(store, { model, version })
  const alarm = alarms.find(({ kind }) => !(isExcused && ofQuality.has(kind)))
  return (
    alarm && { code: 'monitor_alarm', message: alarm.message, values: { alert: alarm.id, kind: alarm.kind } }
  )
}

/** Turns the verdict of a look into one against the candidate. */
export const withMonitorAlarm = (judgement: Judgement, alarm: Reason | undefined): Judgement =>
  overruled(judgement, 'fail', alarm)
