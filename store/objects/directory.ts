/** Stores objects as files of a directory, shared by all machines or local on a single machine. */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { isError, reasonOf } from '../../domain/errors.ts'
import { absentFile } from '../absent-file.ts'
import { walkFiles } from '../files-below.ts'
import { isFull } from '../outage.ts'
import {
  requireKey,
  storeUnavailable,
  objectTooLarge,
  type ObjectFacts,
  type ObjectStore,
} from './object-store.ts'

/** Objects contain training rows, so other users of the machine must not read them. */
const ownFileMode = 0o600
const ownDirectory = { recursive: true, mode: 0o700 }
/** Incomplete objects; never listed. */
const partials = '.partial'

export function openDirectoryStore(root: string): ObjectStore {
  const placeOf = (key: string): string => join(root, requireKey(key))
  /** A directory that is not mounted or not writable counts as an unreachable store. */
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      if (isError(error) || isFull(error)) throw error
      throw storeUnavailable(root, `cannot be used: ${reasonOf(error)}`)
    }
  }
  const factsOf = async (key: string): Promise<ObjectFacts | undefined> => {
    const found = await stat(placeOf(key)).catch(absentPath)
    return found?.isFile() === true ? { key, bytes: found.size, writtenMs: found.mtimeMs } : undefined
  }
  return {
    address: root,
    put: (key, body, { ifAbsent = false } = {}) =>
      guarded(async () => {
        const target = placeOf(key)
        if (ifAbsent && (await factsOf(key)) !== undefined) return false
        const partial = join(root, partials, randomUUID())
        await mkdir(dirname(partial), ownDirectory)
        await mkdir(dirname(target), ownDirectory)
        try {
          await writePartial(partial, body)
          if (!ifAbsent) await rename(partial, target)
          else if (!(await linked(partial, target))) return false
          return true
        } finally {
          await rm(partial, { force: true })
        }
      }),
    get: (key, maxBytes = Infinity) =>
      guarded(async () => {
        const found = await factsOf(key)
        if (found === undefined) return undefined
        if (found.bytes > maxBytes) objectTooLarge(placeOf(key), found.bytes, maxBytes)
        return readFile(placeOf(key))
      }),
    download: (key, path) =>
      guarded(async () => {
        if ((await factsOf(key)) === undefined) return undefined
        await copyFile(placeOf(key), path)
        const hash = createHash('sha256')
        let bytes = 0
        for await (const chunk of createReadStream(path)) {
          hash.update(chunk as Buffer)
          bytes += (chunk as Buffer).length
        }
        return { bytes, digest: `sha256:${hash.digest('hex')}` }
      }),
    find: (key) => guarded(() => factsOf(key)),
    async *list(prefix) {
      const keys = await guarded(() => keysBelow(root))
      for (const key of keys.filter((each) => each.startsWith(prefix)).sort()) {
        const facts = await guarded(() => factsOf(key))
        if (facts !== undefined) yield facts
      }
    },
    remove: (key) => guarded(() => rm(placeOf(key), { force: true })),
  }
}

async function writePartial(path: string, body: Uint8Array | { path: string }): Promise<void> {
  if ('path' in body) await copyFile(body.path, path)
  const file = await open(path, 'path' in body ? 'r+' : 'wx', ownFileMode)
  try {
    if (!('path' in body)) await file.writeFile(body)
    await file.chmod(ownFileMode)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Of several concurrent writers, one creates the link. */
async function linked(partial: string, target: string): Promise<boolean> {
  try {
    await link(partial, target)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** A parent of the path may be a file: an object with another key. */
function absentPath(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOTDIR') absentFile(error)
}

async function keysBelow(root: string): Promise<string[]> {
  const keys: string[] = []
  for await (const path of walkFiles(root)) keys.push(relative(root, path))
  return keys.filter((key) => !key.startsWith(`${partials}/`))
}
