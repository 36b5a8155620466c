/**
 * Who asks, and whether they may. Keys are held in memory and renewed by notice and every few seconds, because a prediction
 * must not wait for Postgres to know its caller; a revoked key therefore opens for a few seconds more at the worst.
 */
import { timingSafeEqual } from 'node:crypto'
import { readFile, rename, mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DomainError } from '../domain/errors.ts'
import type { Role } from '../domain/roles.ts'
import { findActiveKeys, hashOfKey, idOfKey, type ActiveKey } from '../store/keys.ts'
import type { Store } from '../store/postgres.ts'
import { startLoop } from './serving/loop.ts'

/** Who a request comes from. */
export interface Actor {
  name: string
  role: Role
  /** All models when absent. */
  models?: ReadonlySet<string>
}

export interface Authentication {
  /**
   * Whose key the header carries. Throws `unauthenticated`, or `not_ready` while no keys are known yet. Only a request that
   * changes nothing may be `browsed`, with the key as a browser's password: browsers send that one by themselves, and another
   * site could make them do it.
   */
  actorOf(authorization: string | undefined, browsed?: boolean): Actor
  /** The same for predictions and outcomes, which may be open to everybody on this machine. */
  callerOf(authorization: string | undefined): Actor
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
  onTrouble: (what: string, error: unknown) => void
}

interface HeldKey {
  actor: Actor
  hash: Buffer
  expiresAtMs: number
}

const refreshMs = 4_000
/** Headers that have opened before, so that a caller's key is hashed once and not at each request. */
const mostOpened = 10_000
const everybody: Actor = { name: 'public', role: 'predictor' }

export async function openAuthentication(options: AuthenticationOptions): Promise<Authentication> {
  const { store, cacheFile } = options
  let keys = new Map<string, HeldKey>()
  const opened = new Map<string, HeldKey>()
  let text = await readFile(cacheFile, 'utf8').catch(() => undefined)
  let ready = false
  const hold = (active: readonly ActiveKey[]): void => {
    keys = new Map(active.map((key) => [key.id, heldOf(key)]))
    opened.clear()
    ready = true
  }
  try {
    if (text !== undefined) hold(JSON.parse(text) as ActiveKey[])
  } catch (error) {
    options.onTrouble('the remembered keys cannot be read', error)
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
    onError: (error) => options.onTrouble('the keys were not read', error),
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
    if (key.expiresAtMs <= Date.now()) throw refused('the key has expired')
    if (known === undefined && !browsed) {
      if (opened.size >= mostOpened) opened.clear()
      opened.set(authorization, key)
    }
    return key.actor
  }
  return {
    actorOf,
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
export function expectAllowed(actor: Actor, allowed: readonly Role[], model?: string): void {
  if (!allowed.includes(actor.role))
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is ${article(actor.role)}; this needs one of ${allowed.join(', ')}`,
    )
  if (model !== undefined && !mayTouch(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} may not touch the model ${model}`)
}

export const mayTouch = (actor: Actor, model: string): boolean =>
  actor.models === undefined || actor.models.has(model)

/** The held key of this text; nothing when it is of none. */
function find(keys: ReadonlyMap<string, HeldKey>, key: string | undefined): HeldKey | undefined {
  const id = key === undefined ? undefined : idOfKey(key)
  const held = id === undefined ? undefined : keys.get(id)
  if (key === undefined || held === undefined) return undefined
  return timingSafeEqual(hashOfKey(key), held.hash) ? held : undefined
}

/** `Bearer <key>`; or, as browsers ask, `Basic` with the key as the password. */
function keyIn(authorization: string, browsed: boolean): string | undefined {
  if (/^bearer /i.test(authorization)) return authorization.slice(7).trim()
  if (!browsed || !/^basic /i.test(authorization)) return undefined
  const pair = Buffer.from(authorization.slice(6), 'base64').toString('utf8')
  return pair.slice(pair.indexOf(':') + 1)
}

const heldOf = ({ name, role, models, hash, expiresAtMs }: ActiveKey): HeldKey => ({
  actor: { name, role, ...(models === undefined ? {} : { models: new Set(models) }) },
  hash: Buffer.from(hash, 'hex'),
  expiresAtMs: expiresAtMs ?? Infinity,
})

const article = (role: Role): string => (/^[aeiou]/.test(role) ? `an ${role}` : `a ${role}`)

const refused = (why: string): DomainError => new DomainError('unauthenticated', why)
