/**
 * Groups open alerts by model and kind, so that eight rollbacks of a model are one line, one note and one acknowledgement. What releases ask
 * and news of them are no alerts here: their releases show them.
 */
import { counted } from '../figures.ts'
import * as schema from '../schema.ts'
import { severities } from './alert-escalation.ts'
import { findKindOfAlert } from './alert-kinds.ts'

/** The open alerts of one kind of a model. */
export const alertGroup = schema.record(
  {
    kind: schema.text,
    /** The highest of its alerts. */
    severity: schema.oneOf(...severities),
    count: schema.count,
    /** How many of them are acknowledged. */
    acknowledged: schema.count,
    /** When the first of them was raised. */
    since: schema.time,
    /** When the last of them was raised, or became worse. */
    changedAt: schema.time,
    /** The newest alert: what is done to the group is done to the alerts up to this one. */
    id: schema.count,
    /** Of the newest alert, first of those that are not acknowledged; at most 400 characters. */
    message: schema.text,
  },
  {
    /** Absent for alerts of the installation. */
    model: schema.text,
    /** The version that all of its alerts are about; absent where they are about several, or none. */
    version: schema.text,
    acknowledgedBy: schema.text,
  },
)
export type AlertGroup = schema.TypeOf<typeof alertGroup>
type GroupKey = Pick<AlertGroup, 'model' | 'kind'>

/** The name of a group on the command line: `flight-delay/drift_alarm`, or `disk_full` for the installation. */
export const groupName = ({ model, kind }: GroupKey): string =>
  model === undefined ? kind : `${model}/${kind}`

/** The page of a group. */
export function groupPath({ model, kind }: GroupKey): string {
  const query = new URLSearchParams({ ...(model !== undefined && { model }), kind })
  return `/alerts?${query.toString()}`
}

/** In characters. */
export const maxGroupSentence = 90

/** Says what a group is: `flight-delay: release rolled back 3 times`. A name that is too long for the sentence ends with "…". */
export function groupSentence({ model, kind, count }: Pick<AlertGroup, 'model' | 'kind' | 'count'>): string {
  const known = findKindOfAlert(kind)
  const title = known?.title ?? kind.replaceAll('_', ' ')
  const isEvent = known !== undefined && ['served', 'promoted', 'closed'].includes(known.ends)
  const times = count === 1 ? '' : isEvent ? ` ${counted(count, 'time')}` : `, ${counted(count, 'alert')}`
  const said = `${title}${times}`
  if (model === undefined) return `${said.charAt(0).toUpperCase()}${said.slice(1)}`
  const room = maxGroupSentence - said.length - ': '.length
  return `${model.length > room ? `${model.slice(0, room - 1)}…` : model}: ${said}`
}

/** Whether an alert of the group is not acknowledged. */
export const isUnassigned = ({ count, acknowledged }: Pick<AlertGroup, 'count' | 'acknowledged'>): boolean =>
  acknowledged < count

/** Orders groups: those that are not acknowledged, then the worst, then the newest state first. */
export const worstGroupsFirst = (groups: readonly AlertGroup[]): AlertGroup[] =>
  groups.toSorted(
    (one, other) =>
      Number(isUnassigned(other)) - Number(isUnassigned(one)) ||
      severities.indexOf(other.severity) - severities.indexOf(one.severity) ||
      other.changedAt.localeCompare(one.changedAt),
  )
