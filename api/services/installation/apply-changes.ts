/**
 * Applies the changes of a plan, and records what was applied. Each change has its audit row and its own transaction, so an apply that fails
 * in the middle continues when repeated. A resource that has changed since the plan is refused. What is recorded is read here: a caller
 * names resources, and never says what they are.
 */
import { DomainError } from '../../../domain/errors.ts'
import {
  addressOf,
  findResourceValue,
  identityOf,
  isEqualValue,
  kindNames,
  modelOfResource,
  type Resource,
  type ResourceChange,
  type ResourceKind,
  type ResourceValue,
} from '../../../domain/installation/resource.ts'
import type { KillSwitchMode } from '../../../domain/serving/kill-switch.ts'
import { changeKey, insertKey, listKeys, revokeKey, type NewKey } from '../../../store/access/api-keys.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { keepApplied, listApplied, writeApplied } from '../../../store/installation/applied-state.ts'
import { lockInstallation, readLiveState } from '../../../store/installation/live-state.ts'
import { deleteChannel, upsertChannel, type StoredChannel } from '../../../store/monitoring/alert-channels.ts'
import type { Database } from '../../../store/postgres.ts'
import { findKillSwitch } from '../../../store/serving/kill-switches.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireModelAccess, requireUnscoped } from '../../auth/authorization.ts'
import type { ApiDeps } from '../../deps.ts'
import type { TemporalClient } from '../../temporal/client.ts'
import { requireKillSwitch, setKillSwitch } from '../kill-switch.ts'

export interface AppliedChange {
  kind: ResourceKind
  name: string
  action: 'added' | 'changed' | 'deleted'
  /** The secret of a new key, shown once. */
  key?: string
  /** The replicas that do not follow the kill switch yet, each with its reason. */
  problems?: string[]
}

type Deps = Pick<ApiDeps, 'store' | 'log' | 'authentication' | 'temporal'>
type ResourceName = Pick<Resource, 'kind' | 'name'>

/** The kinds that a key may read and change. Keys and channels require an admin, as in their own routes. */
export const kindsOf = (actor: Actor): ResourceKind[] =>
  actor.role === 'admin' && actor.models === undefined
    ? ['model', 'key', 'channel', 'killSwitch', 'schedule']
    : ['model', 'killSwitch', 'schedule']

/**
 * Throws if the plan cannot be applied: for a change that the key may not make, for a resource that has changed since the plan, and for a
 * kill switch that its model cannot have.
 */
export async function checkChanges(
  { store }: Pick<Deps, 'store'>,
  actor: Actor,
  changes: readonly ResourceChange[],
): Promise<void> {
  for (const change of changes) requirePermitted(actor, change)
  const live = await readLiveState(store, kindsOf(actor))
  // Temporal stores schedules. They are compared when they are changed.
  for (const change of changes) if (change.kind !== 'schedule') requireFresh(change, live)
  const isChanged = (model: string) => changes.some(({ kind, name }) => kind === 'model' && name === model)
  for (const { kind, name: model, after } of changes)
    // A model that the same plan adds or changes is checked when it is there.
    if (kind === 'killSwitch' && !isChanged(model))
      await requireKillSwitch(store, { model, serve: killSwitchOf(after) })
}

export async function applyChanges(
  deps: Deps,
  actor: Actor,
  {
    changes,
    reason,
    named,
  }: { changes: readonly ResourceChange[]; reason: string; named?: readonly ResourceName[] },
): Promise<AppliedChange[]> {
  // All changes are checked before the first one is applied.
  await checkChanges(deps, actor, changes)
  const model = changes.find(({ kind }) => kind === 'model')
  if (model !== undefined)
    throw new DomainError(
      'command_refused',
      `the model ${model.name} is changed by a sync of its file, which leaves its own audit row; send the change with dry_run alone`,
    )
  const applied: AppliedChange[] = []
  for (const change of changes) applied.push(await applyChange(deps, actor, change, reason))
  if (changes.some(({ kind }) => kind === 'key')) await deps.authentication.refresh()
  if (named !== undefined) await recordApplied(deps, actor, { named, reason })
  return applied
}

/** Records the live values of these resources as applied, and no other resource of the kinds that the key may change. */
async function recordApplied(
  { store, temporal }: Deps,
  actor: Actor,
  { named, reason }: { named: readonly ResourceName[]; reason: string },
): Promise<void> {
  const kinds = kindsOf(actor)
  const isNamed = ({ kind, name }: ResourceName) =>
    kinds.includes(kind) && named.some((each) => each.kind === kind && each.name === name)
  const schedules = await readSchedules(temporal, named.filter(isNamed))
  await store.transaction(async (database) => {
    await lockInstallation(database)
    const live = [...(await readLiveState(database, kinds)), ...schedules]
    // A kill switch without a row has a value too.
    const values = named.filter(isNamed).flatMap(({ kind, name }): Resource[] => {
      const value = findResourceValue(live, { kind, name })
      return value === undefined ? [] : [{ kind, name, value }]
    })
    const before = await listApplied(database)
    await keepApplied(database, kinds, values)
    await writeApplied(database, values, actor.name)
    const after = await listApplied(database)
    for (const each of new Map([...before, ...after].map((row) => [addressOf(row), row])).values()) {
      const [was, is] = [before, after].map(
        (rows) => rows.find((row) => addressOf(row) === addressOf(each))?.value,
      )
      if (isEqualValue(was, is)) continue
      const model = modelOfResource(each)
      const detail = { kind: each.kind, before: was, after: is, reason }
      await appendAudit(database, {
        actor: actor.name,
        action: 'state.recorded',
        subject: each.name,
        model,
        detail,
      })
    }
  })
}

/** Reads which of these schedules are paused. */
async function readSchedules(temporal: TemporalClient, named: readonly ResourceName[]): Promise<Resource[]> {
  const ids = named.filter(({ kind }) => kind === 'schedule').map(({ name }) => name)
  if (ids.length === 0) return []
  // Loads the SDK, which a replica avoids until it needs Temporal.
  const { ignoreAbsent } = await import('../../../workflows/client/schedules.ts')
  return temporal.call(scheduleMs, async (client) => {
    const described = ids.map(async (name): Promise<Resource[]> => {
      const known = await client.schedule.getHandle(name).describe().catch(ignoreAbsent)
      return known === undefined ? [] : [{ kind: 'schedule', name, value: { paused: known.state.paused } }]
    })
    return (await Promise.all(described)).flat()
  })
}

/** The deadline of calls for some schedules. */
const scheduleMs = 10_000

function requirePermitted(actor: Actor, { kind, name, before, after }: ResourceChange): void {
  if (!kindsOf(actor).includes(kind))
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} may not change ${kindNames[kind]}s; an admin key of all models may`,
    )
  if (kind === 'killSwitch') requireModelAccess(actor, name)
  if (kind === 'model' || kind === 'schedule') requireUnscoped(actor, `changing a ${kindNames[kind]}`)
  // An installation may hold keys that have expired.
  const isExpired =
    kind === 'key' && before === undefined && Date.parse(String(after?.['expiresAt'])) <= Date.now()
  if (isExpired)
    throw new DomainError(
      'command_refused',
      `the new key ${name} has expired already, at ${String(after?.['expiresAt'])}; give it a later expiresAt, or take it out of the state file`,
    )
  const losesItself = kind === 'key' && name === actor.name && before?.['role'] !== after?.['role']
  if (losesItself)
    throw new DomainError(
      'command_refused',
      `the plan would ${after === undefined ? 'revoke' : 'change the role of'} the key ${name}, which applies it; name it in the state file with its role, or apply with another key`,
    )
}

function requireFresh(change: ResourceChange, live: readonly Resource[]): void {
  const { kind, before } = change
  const now = findResourceValue(live, change)
  if (isEqualValue(identityOf(kind, now), identityOf(kind, before))) return
  throw new DomainError(
    'plan_stale',
    `the ${addressOf(change)} has changed since the plan was made: it is ${shown(kind, now)} now, and was ${shown(kind, before)}`,
  )
}

const shown = (kind: ResourceKind, value?: ResourceValue): string =>
  value === undefined ? 'absent' : JSON.stringify(identityOf(kind, value))

const killSwitchOf = (value?: ResourceValue): KillSwitchMode =>
  (value?.['serve'] ?? 'normal') as KillSwitchMode

async function applyChange(
  deps: Deps,
  actor: Actor,
  change: ResourceChange,
  reason: string,
): Promise<AppliedChange> {
  const { store } = deps
  const { kind, name, before, after } = change
  const action = before === undefined ? 'added' : after === undefined ? 'deleted' : 'changed'
  const done: AppliedChange = { kind, name, action }
  const note = async (database: Database) => {
    if (after !== undefined) await writeApplied(database, [{ kind, name, value: after }], actor.name)
  }
  if (kind === 'killSwitch') {
    const serve = killSwitchOf(after)
    const { revision = 0 } = (await findKillSwitch(store, name)) ?? {}
    requireFresh(change, await readLiveState(store, kindsOf(actor)))
    const { problems } = await setKillSwitch(deps, actor, { model: name, serve, reason, revision })
    await note(store)
    return { ...done, problems }
  }
  if (kind === 'schedule')
    return { ...done, action: await changeSchedule(deps, actor, { change, reason, note }) }
  return store.transaction(async (database) => {
    // The resource may have changed since it was compared. Two applies of one plan make the change once.
    await lockInstallation(database)
    requireFresh(change, await readLiveState(database, kindsOf(actor)))
    const audit = (subject: string, detail: Record<string, unknown>, verb: string = action) =>
      appendAudit(database, {
        actor: actor.name,
        action: `${kind}.${verb}`,
        subject,
        detail: { ...detail, reason },
      })
    await note(database)
    if (kind === 'key') return { ...done, key: await applyKey(database, change, audit) }
    if (kind === 'channel') {
      if (after === undefined) await deleteChannel(database, name)
      else await upsertChannel(database, { ...(after as unknown as StoredChannel), name })
    }
    await audit(name, { before: identityOf(kind, before), after: identityOf(kind, after) })
    return done
  })
}

/** Pauses or resumes a schedule. Its audit row is not committed unless Temporal has made the change. */
function changeSchedule(
  { store, temporal }: Deps,
  actor: Actor,
  {
    change,
    reason,
    note,
  }: { change: ResourceChange; reason: string; note: (database: Database) => Promise<void> },
): Promise<AppliedChange['action']> {
  const { name, after } = change
  return store.transaction(async (database) => {
    await lockInstallation(database)
    const live = await readSchedules(temporal, [change])
    const before = findResourceValue(live, change)
    if (before === undefined)
      throw new DomainError('not_found', `there is no schedule ${name}: no model file declares it`)
    // A schedule that the plan adds is there, since its model was synced.
    if (change.before !== undefined) requireFresh(change, live)
    await note(database)
    await appendAudit(database, {
      actor: actor.name,
      action: 'schedule.changed',
      subject: name,
      model: modelOfResource(change),
      detail: { before, after, reason },
    })
    await temporal.call(scheduleMs, async (client) => {
      const handle = client.schedule.getHandle(name)
      await (after?.['paused'] === true ? handle.pause(reason) : handle.unpause(reason))
    })
    return 'changed' as const
  })
}

/** Applies the change of a key. Returns the secret of a new key. */
async function applyKey(
  database: Database,
  { name, before, after }: ResourceChange,
  audit: (subject: string, detail: Record<string, unknown>, verb: string) => Promise<unknown>,
): Promise<string | undefined> {
  if (before === undefined) {
    const { key, facts } = await insertKey(database, newKeyOf(name, after!))
    await audit(facts.id, { name, ...after }, 'created')
    return key
  }
  const held = (await listKeys(database)).find((each) => each.name === name && each.revokedAt === undefined)
  if (held === undefined) throw new DomainError('plan_stale', `the key ${name} was revoked meanwhile`)
  const { id, role } = held
  if (after === undefined) {
    await revokeKey(database, id)
    await audit(id, { name, role }, 'revoked')
  } else {
    await changeKey(database, id, newKeyOf(name, after))
    await audit(id, { name, before, after }, 'changed')
  }
  return undefined
}

function newKeyOf(name: string, value: ResourceValue): NewKey {
  const { role, models, expiresAt, requestsPerSecond, burst } = value as unknown as NewKey & {
    requestsPerSecond?: number
    burst?: number
  }
  const rate =
    requestsPerSecond === undefined ? undefined : { requestsPerSecond, burst: burst ?? requestsPerSecond }
  return { name, role, models, expiresAt, rate }
}
