/**
 * Applies the changes of a plan. Each change has its audit row and its own transaction, so an apply that fails in the middle continues
 * when repeated. A resource that has changed since the plan is refused.
 */
import { DomainError } from '../../../domain/errors.ts'
import {
  addressOf,
  findResourceValue,
  identityOf,
  isEqualValue,
  kindNames,
  type Resource,
  type ResourceChange,
  type ResourceKind,
  type ResourceValue,
} from '../../../domain/installation/resource.ts'
import type { KillSwitchMode } from '../../../domain/serving/kill-switch.ts'
import { changeKey, insertKey, listKeys, revokeKey, type NewKey } from '../../../store/access/api-keys.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { keepApplied, writeApplied } from '../../../store/installation/applied-state.ts'
import { lockInstallation, readLiveState } from '../../../store/installation/live-state.ts'
import { deleteChannel, upsertChannel, type StoredChannel } from '../../../store/monitoring/alert-channels.ts'
import type { Database } from '../../../store/postgres.ts'
import { findKillSwitch } from '../../../store/serving/kill-switches.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireModelAccess, requireUnscoped } from '../../auth/authorization.ts'
import type { ApiDeps } from '../../deps.ts'
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

type Deps = Pick<ApiDeps, 'store' | 'log' | 'authentication'>

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
  const live = await readLiveState(store)
  for (const change of changes) requireFresh(change, live)
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
  }: { changes: readonly ResourceChange[]; reason: string; named?: readonly Resource[] },
): Promise<AppliedChange[]> {
  // All changes are checked before the first one is applied.
  await checkChanges(deps, actor, changes)
  const applied: AppliedChange[] = []
  for (const change of changes) applied.push(await applyChange(deps, actor, change, reason))
  if (changes.some(({ kind }) => kind === 'key')) await deps.authentication.refresh()
  if (named !== undefined) {
    const kinds = kindsOf(actor)
    const permitted = named.filter(({ kind }) => kinds.includes(kind))
    await deps.store.transaction(async (database) => {
      await keepApplied(database, kinds, permitted)
      await writeApplied(database, permitted, actor.name)
    })
  }
  return applied
}

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

/** Temporal stores schedules, so the command line compares them. */
function requireFresh(change: ResourceChange, live: readonly Resource[]): void {
  const { kind, before } = change
  if (kind === 'schedule') return
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
    requireFresh(change, await readLiveState(store))
    const { problems } = await setKillSwitch(deps, actor, { model: name, serve, reason, revision })
    await note(store)
    return { ...done, problems }
  }
  return store.transaction(async (database) => {
    // The resource may have changed since it was compared. Two applies of one plan make the change once.
    await lockInstallation(database)
    requireFresh(change, await readLiveState(database))
    const audit = (subject: string, detail: Record<string, unknown>, verb: string = action) =>
      appendAudit(database, {
        actor: actor.name,
        action: `${kind}.${verb}`,
        subject,
        model: kind === 'model' ? name : undefined,
        detail: { ...detail, reason },
      })
    await note(database)
    if (kind === 'key') return { ...done, key: await applyKey(database, change, audit) }
    if (kind === 'channel') {
      if (after === undefined) await deleteChannel(database, name)
      else await upsertChannel(database, { ...(after as unknown as StoredChannel), name })
    }
    // The command line, which has access to the servers, changes models and schedules. This row records who ordered it.
    await audit(name, { before: identityOf(kind, before), after: identityOf(kind, after) })
    return done
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
