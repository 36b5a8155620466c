/**
 * Counts the served rows of a process in the first eight bytes of a file, which survives a kill because it is in the kernel's memory. A
 * write takes half a microsecond; the file is in a memory file system when possible, because a disk sometimes blocks writers. Lost rows are
 * this number minus the rows in Postgres. After a power failure the number is that of the start of the process.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { lstat, readFile, readdir, rename, rm } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import { parseJson } from '../../../domain/parse-json.ts'
import { absentFile } from '../../../store/absent-file.ts'
import { isAlive, processIdentity, thisProcess } from '../../../store/process-identity.ts'

export interface Account {
  /** Unique to this process. */
  name: string
  /** The path of a file that belongs to the account while this process runs. */
  pathOf(what: string): string
  /** Stores the number. Returns false when the write fails; after a kill the count would then be wrong. */
  count(served: number): boolean
  /** Removes the account once it is settled. */
  forget(): Promise<void>
}

/** The account of a dead process, which this process has adopted. */
export interface LeftAccount {
  name: string
  served: number
  /** Its other files, ordered by name. */
  paths: string[]
  forget(): Promise<void>
}

const countFile = 'count'
/** A memory file system, on Linux only. */
const inMemory = '/dev/shm'
const inMemoryPath = (name: string): string => join(inMemory, `tenure-${name}`)

/** Follows the number of a file in memory, which outlives the directory of its claim. */
interface CountOwner {
  machine: string
  process: string
  directory: string
}

export function openAccount(directory: string): Account {
  const name = randomBytes(8).toString('hex')
  const pathOf = (what: string): string => join(directory, `${thisProcess()}-${name}-${what}`)
  const cell = new Float64Array(1)
  const bytes = new Uint8Array(cell.buffer)
  const { machine, process } = processIdentity() ?? {}
  const owner = JSON.stringify({ machine, process, directory: resolve(directory) })
  // The file beside the spool claims the account, also empty on a full disk. Without a file system in memory it holds the number too.
  let claim = openNew(pathOf(countFile))
  const inMemory = claim === undefined ? undefined : openNew(inMemoryPath(name))
  let file = isAllocated(inMemory, Buffer.concat([bytes, Buffer.from(owner)]))
    ? inMemory
    : isAllocated(claim, bytes)
      ? claim
      : undefined
  return {
    name,
    pathOf,
    count(served) {
      if (file === undefined) return false
      cell[0] = served
      try {
        return writeSync(file, bytes, 0, 8, 0) === 8
      } catch {
        return false
      }
    },
    async forget() {
      for (const each of new Set([inMemory, claim])) if (each !== undefined) closeSync(each)
      file = claim = undefined
      await removeCounts(name, pathOf(countFile))
    },
  }
}

async function removeCounts(name: string, path: string): Promise<void> {
  await rm(inMemoryPath(name), { force: true })
  await rm(path, { force: true })
}

function openNew(path: string): number | undefined {
  try {
    return openSync(path, 'wx', 0o600)
  } catch {
    return undefined
  }
}

/** Writes the number, so that later writes also succeed on a full disk. Returns whether the file holds it. */
function isAllocated(file: number | undefined, bytes: Uint8Array): boolean {
  try {
    return file !== undefined && writeSync(file, bytes) === bytes.byteLength
  } catch {
    return false
  }
}

/** Adopts the accounts of dead processes. A process claims an account by renaming its file, which only one process can do. */
export async function adoptAccounts(directory: string): Promise<LeftAccount[]> {
  const files = (await readdir(directory)).flatMap((file) => {
    const [, owner, name, what] = /^(\d+\.\d+)-([0-9a-f]{16})-([\w.]+)$/.exec(file) ?? []
    return owner === undefined || name === undefined || what === undefined
      ? []
      : [{ file, owner, name, what }]
  })
  const adopted: LeftAccount[] = []
  for (const { file, owner, name } of files.filter(({ what }) => what === countFile)) {
    if (isAlive(owner)) continue
    const own = (what: string): string => join(directory, `${thisProcess()}-${name}-${what}`)
    try {
      await rename(join(directory, file), own(countFile))
      const paths: string[] = []
      for (const each of files.filter((other) => other.name === name && other.what !== countFile)) {
        await rename(join(directory, each.file), own(each.what))
        paths.push(own(each.what))
      }
      const bytes = (await readInMemory(name)) ?? (await readFile(own(countFile)))
      adopted.push({
        name,
        served: bytes.byteLength < 8 ? 0 : bytes.readDoubleLE(),
        paths: paths.sort(),
        forget: () => removeCounts(name, own(countFile)),
      })
    } catch {
      // Another process was faster.
    }
  }
  return adopted
}

/**
 * Removes the numbers of dead processes whose directory no longer claims them: it was deleted, or made anew. The next process of a
 * directory adopts those that it claims.
 */
export async function removeUnclaimedCounts(): Promise<void> {
  const own = processIdentity()
  if (own === undefined) return
  for (const file of await readdir(inMemory).catch(() => [])) {
    const name = /^tenure-([0-9a-f]{16})$/.exec(file)?.[1]
    const bytes = name === undefined ? undefined : await readInMemory(name)
    const owner = parseJson<Partial<CountOwner>>(bytes?.subarray(8).toString() ?? '')
    if (name === undefined || owner?.directory === undefined || owner.machine !== own.machine) continue
    if (owner.process === undefined || isAlive(owner.process)) continue
    const claims = await readdir(owner.directory)
      .catch(absentFile)
      .catch(() => [`-${name}-`])
    if (!claims?.some((each) => each.includes(`-${name}-`))) await rm(inMemoryPath(name), { force: true })
  }
}

/** Reads a file of this user. Every user may write to the directory, so files of other users are ignored. */
async function readInMemory(name: string): Promise<Buffer | undefined> {
  try {
    const { uid } = await lstat(inMemoryPath(name))
    if (uid !== process.getuid?.()) return undefined
    const bytes = await readFile(inMemoryPath(name))
    // The memory had no room for the number.
    return bytes.byteLength < 8 ? undefined : bytes
  } catch {
    return undefined
  }
}
