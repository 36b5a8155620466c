/** Fails the probation of a new champion on an alarm of its monitor. The monitor sees outcomes; the release itself does not. */
import { isHoldbackNoBetter, type HoldbackEvidence } from '../../domain/canary/holdback.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Reason } from '../../domain/verdict.ts'
import { findAlarmAgainst } from '../../store/monitoring/alerts.ts'
import { overruled, type Judgement } from './decide.ts'
import type { Deps } from '../deps.ts'

/** Finds an open alarm about the version in probation; warnings and alarms of earlier versions do not count. */
export async function findAlarm(
  { store }: Pick<Deps, 'store'>,
  { stage, model, version, promoted }: ReleaseState,
  holdback?: HoldbackEvidence,
): Promise<Reason | undefined> {
  if (stage !== 'probation' || !promoted) return undefined
  const alarm = await findAlarmAgainst(store, { model, version })
  if (alarm === undefined) return undefined
  // When the previous champion is equally wrong, the world has changed: a retraining helps, a rollback does not.
  if (alarm.kind === 'quality_lost' && holdback !== undefined && isHoldbackNoBetter(holdback))
    return undefined
  return { code: 'monitor_alarm', message: alarm.message, values: { alert: alarm.id, kind: alarm.kind } }
}

/** Turns the verdict of a look into one against the candidate. */
export const withMonitorAlarm = (judgement: Judgement, alarm: Reason | undefined): Judgement =>
  overruled(judgement, 'fail', alarm)
