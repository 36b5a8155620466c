/**
 * Who asks, and whether they may. Keys are held in memory and renewed by notice and every few seconds, because a prediction
 * must not wait for Postgres to know its caller; a revoked key therefore opens for a few seconds more at the worst.
 */
import { timingSafeEqual } from 'node:crypto'
import { readFile, rename, mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import type { Role } from '../../domain/roles.ts'
import {
  findActiveKeys,
  hashOfKey,
  idOfKey,
  type ActiveKey,
  type KeyRate,
} from '../../store/access/api-keys.ts'
import type { Store } from '../../store/postgres.ts'
import { startLoop } from '../serving/poll-loop.ts'
import type { SessionKey } from './session.ts'

/** Who a request comes from. */
export interface Actor {
  /** Of the key; it stays when the secret is renewed. */
  id: string
  name: string
  role: Role
  /** All models when absent. */
  models?: ReadonlySet<string>
}

export interface Authentication {
  /**
   * Whose key the header carries. Throws `unauthenticated`, `rate_limited` for a key that has asked for too much here, or
   * `not_ready` while no keys are known yet. Only a request that
   * changes nothing may be `browsed`, with the key as a browser's password: browsers send that one by themselves, and another
   * site could make them do it.
   */
  actorOf(authorization: string | undefined, browsed?: boolean): Actor
  /** The same for predictions and outcomes, which may be open to everybody on this machine. */
  callerOf(authorization: string | undefined): Actor
  /** Whose key this text is, as a person types it, and what a session of it is to name. Throws like `actorOf`. */
  identify(key: string): { actor: Actor; session: SessionKey; expiresAtMs: number }
  /** What a session of the key with this id is to name, for a person who was identified elsewhere. */
  sessionFor(id: string): { actor: Actor; session: SessionKey } | undefined
  /** Who has a session; nothing once the key, or the secret that opened it, opens no more. Throws like `actorOf`. */
  sessionOf(session: SessionKey): Actor | undefined
  /** Reads the keys once more, now. */
  refresh(): Promise<void>
  isReady(): boolean
  stop(): Promise<void>
}

export interface AuthenticationOptions {
  store: Store
  /** Where the hashes are kept for a start without Postgres. */
  cacheFile: string
  /** Lets predictions and outcomes in without a key. */
  publicPredictions: boolean
  /** The database's time, by which keys expire: everywhere at the same moment, whatever the clock of a replica says. */
  nowMs: () => number
  onError: (what: string, error: unknown) => void
}

/** A secret that opens. While a key is changed over it has two of them. */
interface HeldKey {
  actor: Actor
  hash: Buffer
  expiresAtMs: number
  /** Absent for a key that may ask for as much as it likes. */
  pace?: Pace
}

/** What a key has asked for at this replica, as the moment from which its next request would be on time. */
interface Pace {
  onTimeMs: number
  /** Between two requests at the rate of the key. */
  stepMs: number
  /** How far ahead of its time a burst may run. */
  aheadMs: number
}

const refreshMs = 4_000
/** Headers that have opened before, so that a caller's key is hashed once and not at each request. */
const mostOpened = 10_000
const everybody: Actor = { id: 'public', name: 'public', role: 'predictor' }

export async function openAuthentication(options: AuthenticationOptions): Promise<Authentication> {
  const { store, cacheFile, nowMs } = options
  let keys = new Map<string, HeldKey[]>()
  const opened = new Map<string, HeldKey>()
  let text = await readFile(cacheFile, 'utf8').catch(() => undefined)
  let ready = false
  const hold = (active: readonly ActiveKey[]): void => {
    const before = keys
    // What a key has used up stays used up when another key changes.
    keys = new Map(active.map((key) => [key.id, heldOf(key, before.get(key.id)?.[0]?.pace)]))
    opened.clear()
    ready = true
  }
  try {
    if (text !== undefined) hold(JSON.parse(text) as ActiveKey[])
  } catch (error) {
    options.onError('the remembered keys cannot be read', error)
  }
  const refresh = async (): Promise<void> => {
    const active = await findActiveKeys(store)
    const now = JSON.stringify(active)
    if (now === text && ready) return
    hold(active)
    text = now
    await mkdir(dirname(cacheFile), { recursive: true })
    await writeFile(`${cacheFile}.${process.pid}`, now, { mode: 0o600 })
    await rename(`${cacheFile}.${process.pid}`, cacheFile)
  }
  const loop = startLoop(refresh, {
    everyMs: refreshMs,
    onError: (error) => options.onError('the keys were not read', error),
  })
  const unlisten = store.listen('tenure_keys', () => void loop.wake())

  const actorOf = (authorization: string | undefined, browsed = false): Actor => {
    if (authorization === undefined) throw refused('the request carries no key')
    const known = opened.get(authorization)
    const key = known ?? find(keys, keyIn(authorization, browsed))
    if (key === undefined) {
      if (!ready) throw new DomainError('not_ready', 'this replica has not read the keys yet')
      throw refused('the key is not one that opens')
    }
    if (key.expiresAtMs <= nowMs()) throw refused('the key has expired')
    if (key.pace !== undefined) keepPace(key.pace, key.actor)
    if (known === undefined && !browsed) {
      if (opened.size >= mostOpened) opened.clear()
      opened.set(authorization, key)
    }
    return key.actor
  }
  const identify: Authentication['identify'] = (text) => {
    const key = find(keys, text)
    if (key === undefined && !ready)
      throw new DomainError('not_ready', 'this replica has not read the keys yet')
    if (key === undefined || key.expiresAtMs <= nowMs()) throw refused('the key is not one that opens')
    const { actor, hash, expiresAtMs, pace } = key
    if (pace !== undefined) keepPace(pace, actor)
    return { actor, session: { key: actor.id, mark: markOf(hash) }, expiresAtMs }
  }
  const sessionOf: Authentication['sessionOf'] = (session) => {
    if (!ready) throw new DomainError('not_ready', 'this replica has not read the keys yet')
    const key = keys.get(session.key)?.find(({ hash }) => markOf(hash) === session.mark)
    if (key === undefined || key.expiresAtMs <= nowMs()) return undefined
    if (key.pace !== undefined) keepPace(key.pace, key.actor)
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
    callerOf: (authorization) =>
      authorization === undefined && options.publicPredictions ? everybody : actorOf(authorization),
    refresh: () => loop.wake(),
    isReady: () => ready || options.publicPredictions,
    async stop() {
      await unlisten()
      await loop.stop()
    },
  }
}

const loopback: readonly string[] = ['127.0.0.1', '::1', 'localhost']

/** Whether predictions need no key: only where it was asked for and nobody but this machine can ask. */
export function predictionsAreOpen({
  host,
  publicPredictions,
}: {
  host: string
  publicPredictions: boolean
}): boolean {
  return publicPredictions && loopback.includes(host)
}

/** Throws `forbidden` unless the role is one of these and the model, when there is one, is the key's. */
export function requireRole(actor: Actor, allowed: readonly Role[], model?: string): void {
  if (!allowed.includes(actor.role))
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is ${article(actor.role)}; this needs one of ${allowed.join(', ')}`,
    )
  if (model !== undefined && !canAccessModel(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} may not touch the model ${model}`)
}

export const canAccessModel = (actor: Actor, model: string): boolean =>
  actor.models === undefined || actor.models.has(model)

/** The held key of this text; nothing when it is of none. */
function find(keys: ReadonlyMap<string, HeldKey[]>, key: string | undefined): HeldKey | undefined {
  const id = key === undefined ? undefined : idOfKey(key)
  const held = id === undefined ? undefined : keys.get(id)
  if (key === undefined || held === undefined) return undefined
  const hash = hashOfKey(key)
  return held.find((each) => timingSafeEqual(hash, each.hash))
}

/** A bucket of `burst` requests, told as a time (the generic cell rate algorithm of ITU-T I.371): one number to compare. */
function keepPace(pace: Pace, { name }: Actor): void {
  const now = performance.now()
  const onTimeMs = Math.max(pace.onTimeMs, now)
  const waitMs = onTimeMs - now - pace.aheadMs
  if (waitMs > 0) {
    const rate = Math.round(1_000 / pace.stepMs)
    throw new DomainError('rate_limited', `the key ${name} may ask ${rate} times a second at this replica`, {
      retry_after_s: Math.ceil(waitMs / 1_000),
    })
  }
  pace.onTimeMs = onTimeMs + pace.stepMs
}

/** `Bearer <key>`; or, as browsers ask, `Basic` with the key as the password. */
function keyIn(authorization: string, browsed: boolean): string | undefined {
  if (/^bearer /i.test(authorization)) return authorization.slice(7).trim()
  if (!browsed || !/^basic /i.test(authorization)) return undefined
  const pair = Buffer.from(authorization.slice(6), 'base64').toString('utf8')
  return pair.slice(pair.indexOf(':') + 1)
}

function heldOf(key: ActiveKey, before: Pace | undefined): HeldKey[] {
  const { id, name, role, models, hash, expiresAtMs = Infinity, previous, rate } = key
  const actor: Actor = { id, name, role, models: models === undefined ? undefined : new Set(models) }
  const pace = rate && paceOf(rate, before)
  const held = (hexadecimal: string, untilMs: number): HeldKey => ({
    actor,
    hash: Buffer.from(hexadecimal, 'hex'),
    expiresAtMs: Math.min(expiresAtMs, untilMs),
    pace,
  })
  return [held(hash, Infinity), ...(previous === undefined ? [] : [held(previous.hash, previous.untilMs)])]
}

function paceOf({ requestsPerSecond, burst }: KeyRate, before: Pace | undefined): Pace {
  const stepMs = 1_000 / requestsPerSecond
  return { stepMs, aheadMs: (burst - 1) * stepMs, onTimeMs: before?.onTimeMs ?? 0 }
}

/** A part of the hash of a secret with many random bits: enough to tell two of them apart, and of no other use. */
const markOf = (hash: Buffer): string => hash.toString('hex', 0, 8)

const article = (role: Role): string => (/^[aeiou]/.test(role) ? `an ${role}` : `a ${role}`)

const refused = (why: string): DomainError => new DomainError('unauthenticated', why)
