/**
 * Judges what needs someone, worst first, from what was measured of every model. What was not measured is named, so that the overview never
 * calls healthy what it does not know.
 */
import { counted } from '../../../../domain/figures.ts'
import {
  groupPath,
  groupSentence,
  isUnassigned,
  type AlertGroup,
} from '../../../../domain/monitoring/alert-groups.ts'
import {
  failingText,
  judgeMinute,
  requestsOf,
  rollbackText,
  uncertainText,
  type LastMinute,
} from '../../../../domain/monitoring/last-minute.ts'
import { commandRoles } from '../../../../domain/release/state.ts'
import type { Role } from '../../../../domain/roles.ts'
import { whyWaiting } from '../../../../domain/release/explain.ts'
import type { ModelState } from '../../../../store/dashboard/overview.ts'
import { truncated } from '../../../charts/figures.ts'
import type { Tone } from '../../components/elements.tsx'
import { modelHref } from '../../components/links.tsx'
import type { StageNow } from '../../stage-badge.tsx'
import { modelActions, type ModelActionName } from '../model/action-roles.ts'
import { alertHandlers } from '../operations/alert-roles.ts'

/** In characters, of an alert's message. */
const maxMessage = 140

/** The kinds, worst first, with the state that a row shows. */
const kinds = {
  failing: { tone: 'bad', state: 'fails' },
  critical: { tone: 'bad', state: 'critical alert' },
  pinned: { tone: 'bad', state: 'pinned' },
  quality_lost: { tone: 'bad', state: 'quality lost' },
  drift_alarm: { tone: 'bad', state: 'drift alarm' },
  uncertain: { tone: 'warn', state: 'may fail' },
  rolled_back: { tone: 'warn', state: 'rolled back' },
  decision: { tone: 'warn', state: 'decision needed' },
  paused: { tone: 'warn', state: 'release paused' },
  approval: { tone: 'warn', state: 'approval needed' },
  unwatched: { tone: 'warn', state: 'release not as planned' },
  warning: { tone: 'warn', state: 'alert' },
  drift_warn: { tone: 'warn', state: 'drift warning' },
  acknowledged: { tone: 'warn', state: 'alert acknowledged' },
} as const satisfies Record<string, { tone: Tone; state: string }>
export type ConcernKind = keyof typeof kinds
export const concernKinds = Object.keys(kinds) as ConcernKind[]
export const stateOf = (kind: ConcernKind): string => kinds[kind].state
export const toneOf = (kind: ConcernKind): 'bad' | 'warn' => kinds[kind].tone

export interface Concern {
  kind: ConcernKind
  /** Absent for the installation. */
  model?: string | undefined
  /** What is wrong, in one sentence without its end. */
  text: string
  version?: string | undefined
  since?: string | undefined
  /** What was seen. */
  detail?: string | undefined
  action: { href: string; word: string }
}

/** What was measured of all models. */
export interface Measured {
  states: readonly ModelState[]
  minutes: ReadonlyMap<string, LastMinute>
  alerts: readonly AlertGroup[]
  /** The open releases. */
  stages: readonly StageNow[]
}

const ofFailures = ['champion_failing', 'service_errors']
/** Which alerts of the same version say the same as a measurement. */
const sameAs: Partial<Record<ConcernKind, readonly string[]>> = {
  failing: ofFailures,
  uncertain: ofFailures,
  rolled_back: ['champion_rolled_back', ...ofFailures],
  quality_lost: ['quality_lost', 'quality_floor'],
  drift_alarm: ['drift_alarm', 'drift_warn'],
  drift_warn: ['drift_warn'],
}

/** Returns all concerns, worst first, then by model. Their actions are those that the role may take. */
export function concernsOf(measured: Measured, role: Role): Concern[] {
  const { states, minutes, alerts, stages } = measured
  const act = (model: string, name: ModelActionName) =>
    modelActions[name].allow.includes(role)
      ? { href: `${modelHref(model)}/${name}`, word: `${modelActions[name].word}…` }
      : { href: modelHref(model), word: 'Open' }
  const handled = (group: AlertGroup | undefined, model: string) =>
    group === undefined ? { href: modelHref(model), word: 'Open' } : alertAction(group, role)
  const said = new Set<AlertGroup>()
  const groupsOf = new Map<string | undefined, AlertGroup[]>()
  for (const group of alerts) groupsOf.set(group.model, [...(groupsOf.get(group.model) ?? []), group])
  const concerns = states.flatMap(({ model, version, quality, drift, pin }): Concern[] => {
    const { champion } = minutes.get(model) ?? {}
    const groups = groupsOf.get(model) ?? []
    /** A concern with the alerts that say the same. It stays one of its kind until each of them is acknowledged; a failing champion always. */
    const measuredAs = (
      kind: ConcernKind,
      text: string,
      action: ModelActionName | undefined,
      of = version,
    ): Concern => {
      const same = (sameAs[kind] ?? []).flatMap((alert) =>
        groups.filter((group) => group.kind === alert && (group.version ?? of) === of),
      )
      for (const group of same) said.add(group)
      const isHandled = kind !== 'failing' && same.length > 0 && same.every((group) => !isUnassigned(group))
      return {
        kind: isHandled ? 'acknowledged' : kind,
        model,
        text,
        // The text of failures names the version.
        version: sameAs[kind]?.includes('champion_failing') === true ? undefined : version,
        since: same.map(({ since }) => since).toSorted()[0],
        detail: same[0] && truncated(same[0].message, maxMessage),
        action: action === undefined ? handled(same[0], model) : act(model, action),
      }
    }
    return [
      champion !== undefined &&
        judgeMinute(champion) === 'failing' &&
        measuredAs('failing', failingText(champion), 'rollback'),
      champion !== undefined &&
        judgeMinute(champion) === 'uncertain' &&
        measuredAs('uncertain', uncertainText(champion), undefined),
      champion?.rolledBack !== undefined &&
        measuredAs('rolled_back', rollbackText(champion)!, undefined, champion.rolledBack),
      pin !== undefined && {
        ...measuredAs('pinned', `${model} is pinned to ${pin.serve} by ${pin.actor}`, 'kill-switch'),
        since: pin.at,
        detail: truncated(pin.reason, maxMessage),
      },
      quality === 'lost' && measuredAs('quality_lost', `${model}: quality lost`, 'retrain'),
      drift === 'alarm' && measuredAs('drift_alarm', `${model}: strong input drift`, 'retrain'),
      drift === 'warn' && measuredAs('drift_warn', `${model}: input drift`, 'retrain'),
    ].filter((concern) => concern !== false)
  })
  concerns.push(...stages.flatMap((stage) => askedBy(stage, role)))
  const championOf = new Map(states.map(({ model, version }) => [model, version]))
  concerns.push(
    ...alerts
      .filter((group) => !said.has(group))
      .map((group) => alertConcern(group, group.model && championOf.get(group.model), role)),
  )
  const rank = ({ kind }: Concern) => concernKinds.indexOf(kind)
  return concerns.toSorted(
    (one, other) => rank(one) - rank(other) || (one.model ?? '').localeCompare(other.model ?? ''),
  )
}

function askedBy({ state, warning }: StageNow, role: Role): Concern[] {
  const { id, model, version, stage, paused } = state
  const [kind, text, word, may]: [ConcernKind, string, string, readonly Role[]] | [] = paused
    ? ['paused', `${version} is paused`, 'Decide…', commandRoles.resume]
    : stage === 'awaiting_decision'
      ? ['decision', `${version} needs a decision`, 'Decide…', commandRoles.approve]
      : stage === 'awaiting_approval'
        ? ['approval', `${version} needs approval`, 'Approve…', commandRoles.approve]
        : ['unwatched', `${version}: ${warning}`, 'Decide…', commandRoles.rollback]
  if (kind === 'unwatched' && warning === undefined) return []
  return [
    {
      kind,
      model,
      text,
      // What the stage plans is not what happens while there is a warning.
      detail: kind === 'unwatched' ? undefined : (warning ?? whyWaiting(state)),
      action: { href: `/releases/${id}`, word: may.includes(role) ? word : 'Open' },
    },
  ]
}

const alertAction = (group: AlertGroup, role: Role): Concern['action'] => ({
  href: groupPath(group),
  word: alertHandlers.includes(role) ? 'Acknowledge…' : 'Open',
})

/** `serves`: the champion of its model. Failures of another version are over for callers, and what is left is news. */
function alertConcern(group: AlertGroup, serves: string | undefined, role: Role): Concern {
  const { model, since, message, severity, acknowledgedBy, version } = group
  const isHandled = !isUnassigned(group)
  const isFormer = ofFailures.includes(group.kind) && version !== undefined && version !== serves
  const said = isFormer
    ? `${version} failed${serves === undefined ? '' : `; ${serves} serves`}`
    : groupSentence(group)
  return {
    kind: isHandled ? 'acknowledged' : severity === 'critical' && !isFormer ? 'critical' : 'warning',
    model,
    text: `${said}${isHandled ? `, acknowledged by ${acknowledgedBy}` : ''}`,
    since,
    detail: truncated(message, maxMessage),
    action: alertAction(group, role),
  }
}

/** What needs someone now. */
export const needingSomeone = (concerns: readonly Concern[]): Concern[] =>
  concerns.filter(({ kind }) => kind !== 'acknowledged')

/** The worst kind of each model that has one. */
export function worstOf(concerns: readonly Concern[]): ReadonlyMap<string, ConcernKind> {
  const worst = new Map<string, ConcernKind>()
  for (const { model, kind } of concerns) if (model !== undefined && !worst.has(model)) worst.set(model, kind)
  return worst
}

/** Orders models by trouble, then by name. */
export function inOrderOfTrouble<Model extends { model: string }>(
  models: readonly Model[],
  worst: ReadonlyMap<string, ConcernKind>,
): Model[] {
  const rank = ({ model }: Model) => {
    const kind = worst.get(model)
    return kind === undefined ? concernKinds.length : concernKinds.indexOf(kind)
  }
  return models.toSorted((one, other) => rank(one) - rank(other) || one.model.localeCompare(other.model))
}

/** The sentence of an installation without concerns: healthy only where errors, drift and quality are measured of every model. */
export function calmText({ states, minutes }: Pick<Measured, 'states' | 'minutes'>): {
  text: string
  tone: Extract<Tone, 'good' | 'quiet'>
} {
  const champions = states.filter(({ version }) => version !== undefined)
  if (states.length === 0) return { text: 'No models yet', tone: 'quiet' }
  if (champions.length === 0) return { text: 'No version serves yet', tone: 'quiet' }
  const lacking = (is: (state: ModelState) => boolean) => champions.filter(is).length
  const among = (count: number) =>
    count === champions.length ? (count === 1 ? '' : ' for every model') : ` for ${counted(count, 'model')}`
  const silent = lacking(({ model }) => requestsOf(minutes.get(model) ?? { others: [] }) === 0)
  const undrifted = lacking(({ drift }) => drift !== 'stable')
  const unjudged = lacking(({ quality }) => quality !== 'held')
  const unserved = states.length - champions.length
  const unknown = [
    ...(silent > 0 ? [`no requests in the last minute${among(silent)}`] : []),
    ...(undrifted > 0 ? [`drift not measured${among(undrifted)}`] : []),
    ...(unjudged > 0 ? [`quality not measured${among(unjudged)}`] : []),
    ...(unserved > 0 ? [`no version of ${counted(unserved, 'model')}`] : []),
  ]
  if (unknown.length === 0)
    return {
      text: states.length === 1 ? `${states[0]!.model} is healthy` : `All ${states.length} models healthy`,
      tone: 'good',
    }
  return { text: `Nothing known to be wrong; ${unknown.join('; ')}`, tone: 'quiet' }
}
