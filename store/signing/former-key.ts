/**
 * Migrates an installation that signed everything with one key, `signing.pem`. That key becomes the key of versions, so that they load
 * unchanged; for commands and audit heads it is retired, and new keys sign. The secret of erased subjects was derived from it and stays
 * the same.
 */
import { sign } from 'node:crypto'
import { link, mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  keyPurposes,
  parseKey,
  privateFile,
  publicPemOf,
  readKeyFile,
  trustKey,
  writeOnce,
  type KeyPlaces,
} from './key-files.ts'
import { defaultOverlapMs, headGraceMs } from './rotate-signing-key.ts'
import { derivedSecret } from './subject-hash.ts'

/**
 * Idempotent and safe in several processes at once. A process that signs no versions leaves `signing.pem` to one that does. Returns
 * whether the file existed.
 */
export async function splitFormerKey(
  places: KeyPlaces & { subjectKey: string },
  nowMs = Date.now(),
): Promise<boolean> {
  const file = join(places.keys, 'signing.pem')
  const text = readKeyFile(file)
  if (text === undefined) return false
  const key = parseKey(file, text)
  const secret = derivedSecret((bytes) => sign(null, bytes, key))
  await writeOnce(places.subjectKey, `${secret}\n`)
  const publicPem = publicPemOf(key)
  const ends = {
    artifacts: undefined,
    commands: new Date(nowMs + defaultOverlapMs).toISOString(),
    heads: new Date(nowMs + headGraceMs).toISOString(),
  }
  for (const purpose of keyPurposes) await trustKey(places, purpose, { publicPem, until: ends[purpose] })
  if (places.purposes?.includes('artifacts') === false) return true
  const kept = privateFile(places, 'artifacts')
  await mkdir(dirname(kept), { recursive: true, mode: 0o700 })
  await link(file, kept).catch((error: NodeJS.ErrnoException) => {
    // Another process was first.
    if (error.code !== 'EEXIST' && error.code !== 'ENOENT') throw error
  })
  await rm(file, { force: true })
  return true
}
