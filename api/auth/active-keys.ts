/**
 * Reads the active keys on notification and every few seconds, because a prediction must not wait for Postgres; a revoked key therefore
 * works for a few seconds more at worst. A file holds them for a start without Postgres.
 */
import { readFile, rename, mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { findActiveKeys, type ActiveKey } from '../../store/access/api-keys.ts'
import type { Store } from '../../store/postgres.ts'
import { startLoop } from '../serving/poll-loop.ts'

export interface ActiveKeyOptions {
  store: Store
  /** The file that caches the key hashes for a start without Postgres. */
  cacheFile: string
  /** The interval between two reads of the keys without a notification, in milliseconds. */
  everyMs?: number
  onError: (what: string, error: unknown) => void
}

const refreshMs = 4_000

/** Passes the active keys to `hold`, first those of the file, and then each change. */
export async function followActiveKeys(
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
    text = now
    await replaceFile(cacheFile, now)
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

async function replaceFile(path: string, text: string): Promise<void> {
  const partial = `${path}.${process.pid}`
  await mkdir(dirname(path), { recursive: true })
  await writeFile(partial, text, { mode: 0o600 })
  await rename(partial, path)
}
