/**
 * A new champion that the monitor finds beyond its alarms is taken back while it is on probation, as if the judge of the release
 * had said so: the monitor sees what became true of its answers, and the release is what can take them back.
 */
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Reason } from '../../domain/verdict.ts'
import { findAlarmAgainst } from '../../store/monitoring/alerts.ts'
import type { Judgement } from './decide.ts'
import type { Deps } from '../deps.ts'

/** What alarms about the very version that is on probation. Warnings do not, nor what is told of an earlier one. */
export async function findAlarm(
  { store }: Pick<Deps, 'store'>,
  { stage, model, version, promoted }: ReleaseState,
): Promise<Reason | undefined> {
  if (stage !== 'probation' || !promoted) return undefined
  const alarm = await findAlarmAgainst(store, { model, version })
  if (alarm === undefined) return undefined
  return { code: 'monitor_alarm', message: alarm.message, values: { alert: alarm.id, kind: alarm.kind } }
}

/** The judge's own verdict against the candidate stands as it is. */
export function withMonitorAlarm(judgement: Judgement, alarm: Reason | undefined): Judgement {
  const { verdict } = judgement
  if (alarm === undefined || verdict.kind === 'fail') return judgement
  return {
    ...judgement,
    verdict: { ...verdict, kind: 'fail', reasons: [alarm, ...verdict.reasons] },
    reason: alarm.message,
  }
}
