/** Authenticates keys, which are held in memory, and limits the rate of each. */
import { timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { DomainError } from '../../domain/errors.ts'
import type { Role } from '../../domain/roles.ts'
import {
  hashOfKey,
  idOfKey,
  type ActiveKey,
  findActiveKeys,
  listQuietAlerts,
  storeKeyUse,
  type RefusedKey,
} from '../../store/access/api-keys.ts'
import {
  createSignInCode,
  deleteSignInCode,
  redeemSignInCode,
  type CodeSession,
  type SignInCode,
} from '../../store/access/sign-in-codes.ts'
import { revokeSession } from '../../store/access/sso-keys.ts'
import { paceOnTimeMs, paceWaitMs, type Pace } from './pace.ts'
import type { SessionKey } from './session.ts'
import type { Store } from '../../store/postgres.ts'
import { replaceFile } from '../../store/replace-file.ts'
import { startLoop, type Loop } from '../serving/poll-loop.ts'
import { groupedDigits } from '../../domain/figures.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'

/** The authenticated caller. */
export interface Actor {
  /** Id of the key; stays the same when the secret is rotated. */
  id: string
  name: string
  role: Role
  /** The models that the key may access; all models when absent. */
  models?: ReadonlySet<string>
}

export interface Authentication {
  /**
   * Authenticates a request. Throws `unauthenticated`, `rate_limited`, or `not_ready` before the keys are loaded. `browsed` also accepts
   * the key as a browser's password; it is for reads only, because another site can make a browser send the password.
   */
  actorOf(authorization: string | undefined, browsed?: boolean): Actor
  /** The same as `actorOf` for predictions and outcomes, which may be open without a key on this machine. */
  callerOf(authorization: string | undefined): Actor
  /** Authenticates a key that a user typed, and returns the content of its session. Throws like `actorOf`. */
  identify(key: string): { actor: Actor; session: SessionKey; expiresAtMs: number }
  /** Returns the content of a session for this key, for a user of the identity provider. */
  sessionFor(id: string): { actor: Actor; session: SessionKey } | undefined
  /**
   * Returns the actor of a session; undefined once the key, or the secret that opened the session, is no longer valid. Throws like
   * `actorOf`.
   */
  sessionOf(session: SessionKey): Actor | undefined
  /** The codes for other devices, of keys of some models too. */
  codes: {
    create(session: CodeSession): Promise<SignInCode | undefined>
    redeem(code: string): Promise<CodeSession | undefined>
  }
  /** Ends a session and the code of its key, of keys of some models too. */
  endSession(session: { id: string; key: string; untilMs: number }): Promise<void>
  /** Reloads the keys now. */
  refresh(): Promise<unknown>
  /** Stores the use of the keys now. */
  storeUse(): Promise<unknown>
  isReady(): boolean
  stop(): Promise<void>
}

export interface AuthenticationOptions extends ActiveKeyOptions {
  /** Whether predictions and outcomes are accepted without a key. */
  publicPredictions: boolean
  /** Returns the database's time, so that a key expires on every replica at the same moment. */
  nowMs: () => number
}

/** A valid secret. A key has two during its rotation. */
interface HeldKey {
  actor: Actor
  hash: Buffer
  expiresAtMs: number
  /** Absent for a key without a rate limit. */
  pace?: HeldPace
}

/** The rate limiter of a key at this replica: the time from which the next request is within the rate. */
interface HeldPace extends Pace {
  onTimeMs: number
}

/** The maximum number of cached authorization headers. The cache saves hashing the key at each request. */
const maxCachedHeaders = 10_000
const anonymous: Actor = { id: 'public', name: 'public', role: 'predictor' }

export async function openAuthentication(options: AuthenticationOptions): Promise<Authentication> {
  const { nowMs } = options
  let keys = new Map<string, HeldKey[]>()
  const opened = new Map<string, HeldKey>()
  const uses = followKeyUse(options.store, options.onError)
  const following = await followActiveKeys(options, (active) => {
    const before = keys
    // A key keeps its rate limiter when another key changes.
    keys = new Map(active.map((key) => [key.id, heldOf(key, before.get(key.id)?.[0]?.pace)]))
    opened.clear()
  })

  const requireReady = (): void => {
    if (!following.isReady()) throw new DomainError('not_ready', 'this replica has not loaded the keys yet')
  }
  /** Throws unless every valid key is known, so that an unknown key is an invalid one. */
  const requireCurrent = (): void => {
    requireReady()
    if (following.isBehind())
      throw new DomainError(
        'postgres_unavailable',
        'this replica does not know the key, and cannot read the keys',
      )
  }
  const actorOf = (authorization: string | undefined, browsed = false): Actor => {
    if (authorization === undefined) throw refused('the request has no key')
    const known = opened.get(authorization)
    const text = known === undefined ? keyIn(authorization, browsed) : undefined
    const key = known ?? find(keys, text)
    if (key === undefined) {
      requireCurrent()
      if (text !== undefined && idOfKey(text) !== undefined) uses.refused(hashOfKey(text))
      throw refused('invalid API key')
    }
    if (key.expiresAtMs <= nowMs()) {
      uses.refused(key.hash)
      throw refused('the key has expired')
    }
    uses.used(key.actor.id)
    keepPace(key)
    if (known === undefined && !browsed) {
      if (opened.size >= maxCachedHeaders) opened.clear()
      opened.set(authorization, key)
    }
    return key.actor
  }
  const identify: Authentication['identify'] = (text) => {
    const key = find(keys, text)
    if (key === undefined) requireCurrent()
    if (key === undefined || key.expiresAtMs <= nowMs()) throw refused('invalid API key')
    uses.used(key.actor.id)
    keepPace(key)
    const { actor, hash, expiresAtMs } = key
    return { actor, session: { key: actor.id, mark: markOf(hash) }, expiresAtMs }
  }
  const sessionOf: Authentication['sessionOf'] = (session) => {
    requireReady()
    const key = keys.get(session.key)?.find(({ hash }) => markOf(hash) === session.mark)
    if (key === undefined || key.expiresAtMs <= nowMs()) return undefined
    uses.used(key.actor.id)
    keepPace(key)
    return key.actor
  }
  return {
    actorOf,
    identify,
    sessionFor(id) {
      const key = keys.get(id)?.[0]
      return key && { actor: key.actor, session: { key: id, mark: markOf(key.hash) } }
    },
    sessionOf,
    codes: {
      create: (session) => createSignInCode(options.store, session),
      redeem: (code) => redeemSignInCode(options.store, code),
    },
    async endSession(session) {
      await revokeSession(options.store, session)
      await deleteSignInCode(options.store, session.key)
    },
    callerOf: (authorization) =>
      authorization === undefined && options.publicPredictions ? anonymous : actorOf(authorization),
    refresh: following.refresh,
    isReady: () => following.isReady() || options.publicPredictions,
    storeUse: uses.wake,
    stop: async () => void (await Promise.all([following.stop(), uses.stop()])),
  }
}

const loopback: readonly string[] = ['127.0.0.1', '::1', 'localhost']

/** Whether predictions need no key: only where configured, and on loopback. */
export const predictionsAreOpen = (api: { host: string; publicPredictions: boolean }): boolean =>
  api.publicPredictions && loopback.includes(api.host)

/** Throws `forbidden` unless the key has one of the roles, and access to the model when one is given. */
export function requireRole(actor: Actor, allowed: readonly Role[], model?: string): void {
  if (!allowed.includes(actor.role))
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is ${article(actor.role)}; required: ${allowed.join(' or ')}`,
    )
  if (model !== undefined && !canAccessModel(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} has no access to the model ${model}`)
}

export const canAccessModel = (actor: Actor, model: string): boolean =>
  actor.models === undefined || actor.models.has(model)

function find(keys: ReadonlyMap<string, HeldKey[]>, key: string | undefined): HeldKey | undefined {
  const id = key === undefined ? undefined : idOfKey(key)
  const held = id === undefined ? undefined : keys.get(id)
  if (key === undefined || held === undefined) return undefined
  const hash = hashOfKey(key)
  return held.find((each) => timingSafeEqual(hash, each.hash))
}

/** Throws `rate_limited`. */
function keepPace({ pace, actor: { name } }: HeldKey): void {
  if (pace === undefined) return
  const nowMs = performance.now()
  const waitMs = paceWaitMs(pace, pace.onTimeMs, nowMs)
  if (waitMs > 0) {
    const limit = `${Math.round(1_000 / pace.stepMs)} requests a second at this replica`
    const context = { retry_after_s: Math.ceil(waitMs / 1_000) }
    throw new DomainError('rate_limited', `the key ${name} is limited to ${limit}`, context)
  }
  pace.onTimeMs = paceOnTimeMs(pace, pace.onTimeMs, nowMs)
}

/** Returns the key in a header: `Bearer <key>`, or `Basic` with the key as the password, as browsers send it. */
function keyIn(authorization: string, browsed: boolean): string | undefined {
  if (/^bearer /i.test(authorization)) return authorization.slice(7).trim()
  if (!browsed || !/^basic /i.test(authorization)) return undefined
  const pair = Buffer.from(authorization.slice(6), 'base64').toString('utf8')
  return pair.slice(pair.indexOf(':') + 1)
}

export const actorOfKey = ({
  id,
  name,
  role,
  models,
}: Pick<ActiveKey, 'id' | 'name' | 'role' | 'models'>): Actor => ({
  id,
  name,
  role,
  models: models && new Set(models),
})

function heldOf(key: ActiveKey, before: HeldPace | undefined): HeldKey[] {
  const { hash, expiresAtMs = Infinity, previous, rate } = key
  const actor = actorOfKey(key)
  const pace = rate && {
    stepMs: 1_000 / rate.requestsPerSecond,
    burst: rate.burst,
    onTimeMs: before?.onTimeMs ?? 0,
  }
  const held = (hexadecimal: string, untilMs: number): HeldKey => ({
    actor,
    hash: Buffer.from(hexadecimal, 'hex'),
    expiresAtMs: Math.min(expiresAtMs, untilMs),
    pace,
  })
  return [held(hash, Infinity), ...(previous === undefined ? [] : [held(previous.hash, previous.untilMs)])]
}

/** Returns a prefix of the hash, which distinguishes the secrets of a key and reveals nothing about them. */
const markOf = (hash: Buffer): string => hash.toString('hex', 0, 8)

const article = (role: Role): string => (/^[aeiou]/.test(role) ? `an ${role}` : `a ${role}`)

const refused = (why: string): DomainError => new DomainError('unauthenticated', why)

// Reads the active keys on notification and every few seconds, because a prediction must not wait for Postgres; a revoked key therefore
// works for a few seconds more at worst. A file holds them for a start without Postgres.

interface ActiveKeyOptions {
  store: Store
  /** The file that caches the key hashes for a start without Postgres. */
  cacheFile: string
  /** The interval between two reads of the keys without a notification, in milliseconds. */
  everyMs?: number
  onError: (what: string, error: unknown) => void
}

const refreshMs = 4_000

/** Passes the active keys to `hold`, first those of the file, and then each change. */
async function followActiveKeys(
  { store, cacheFile, everyMs = refreshMs, onError }: ActiveKeyOptions,
  hold: (active: readonly ActiveKey[]) => void,
) {
  let text = await readFile(cacheFile, 'utf8').catch(() => undefined)
  let isReady = false
  let isBehind = false
  const take = (active: readonly ActiveKey[]): void => {
    hold(active)
    isReady = true
  }
  try {
    if (text !== undefined) take(JSON.parse(text) as ActiveKey[])
  } catch (error) {
    onError('the cached keys could not be read', error)
  }
  const read = async (): Promise<void> => {
    const active = await findActiveKeys(store)
    isBehind = false
    const now = JSON.stringify(active)
    if (now === text && isReady) return
    take(active)
    await replaceFile(cacheFile, now).then(
      () => (text = now),
      (error: unknown) => onError('the keys could not be stored', error),
    )
  }
  const loop = startLoop(read, {
    everyMs,
    onError(error) {
      isBehind = true
      onError('the keys could not be read', error)
    },
  })
  const unlisten = store.listen('tenure_keys', () => void loop.wake())

  return {
    isReady: () => isReady,
    /** Whether the last read failed. An unknown key may then be a new one. */
    isBehind: () => isBehind,
    /** Reads the keys now. */
    refresh: () => loop.wake(),
    async stop(): Promise<void> {
      await unlisten()
      await loop.stop()
    },
  }
}

// Stores when keys were used, and raises an alert while a service goes on with a secret that was revoked, has expired or was replaced: its
// callers get 401, which no model counts.

const everyMs = 5_000
/** A service sends this many within seconds or minutes; a person with an old key does not. */
const criticalRequests = 100
/** Unknown secrets that are remembered between two writes; anyone can send others. */
const maxRefused = 1_000
const kind = 'ended_key_used'
const prefix = `${kind}/`

export interface KeyUses extends Pick<Loop, 'stop' | 'wake'> {
  used(id: string): void
  /** Counts a request whose secret opens nothing. */
  refused(hash: Buffer): void
}

function followKeyUse(store: Store, onError: (what: string, error: unknown) => void): KeyUses {
  let used = new Set<string>()
  let refused = new Map<string, number>()
  const loop = startLoop(
    async () => {
      const sent = { used: [...used], refused }
      used = new Set()
      refused = new Map()
      for (const key of await storeKeyUse(store, sent)) await alertRefusedKey(store, key)
      for (const quiet of await listQuietAlerts(store, prefix))
        await resolveAlert(store, quiet, 'no request with it for ten minutes')
    },
    { everyMs, onError: (error) => onError('the use of keys was not stored', error) },
  )
  return {
    used: (id) => void used.add(id),
    refused(hash) {
      const secret = hash.toString('hex')
      if (refused.has(secret) || refused.size < maxRefused)
        refused.set(secret, (refused.get(secret) ?? 0) + 1)
    },
    wake: loop.wake,
    stop: loop.stop,
  }
}

const reasons = {
  revoked: 'was revoked',
  expired: 'expired',
  replaced: 'has another secret, and the former one was valid',
} as const

async function alertRefusedKey(
  store: Store,
  { id, name, reason, endedAt, refused, refusedSince }: RefusedKey,
): Promise<void> {
  const when = reason === 'replaced' ? `until ${endedAt}` : `at ${endedAt}`
  await upsertAlert(store, {
    dedupeKey: `${prefix}${id}`,
    severity: refused >= criticalRequests ? 'critical' : 'warning',
    kind,
    cause: reason,
    message: `The key ${name} ${reasons[reason]} ${when}, and is still used: ${groupedDigits(refused)} requests refused since ${refusedSince}`,
    evidence: { key: id, name, reason, refused },
  })
}
