/**
 * How many rows of the prediction log a process has served, kept in a file: eight bytes written over at each of them, which
 * costs half a microsecond. They outlive a kill because the kernel has them, not the disk; where there is a file system in
 * memory they lie there, because one on a disk makes a writer wait for its journal now and then. What of a dead process
 * stands in Postgres is counted there, in the transaction of the rows; the difference is what was lost with its memory.
 * Without the file nobody could say how much that was. (The machine itself must go on: after a power cut the number is that
 * of the process's start.)
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { lstat, readFile, readdir, rename, rm } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'

export interface Account {
  /** A name that no other process ever has. */
  name: string
  /** Path of a file that belongs to the account while this process lives. */
  pathOf(what: string): string
  /** Keeps the number. False when the disk does not take it: from then on a kill loses count of what comes. */
  count(served: number): boolean
  /** Once everything of it is accounted for. */
  forget(): Promise<void>
}

/** What a process has left that no longer lives; it belongs to this one now. */
export interface LeftAccount {
  name: string
  served: number
  /** Its files but the one with the number, in the order of their names. */
  paths: string[]
  forget(): Promise<void>
}

const countFile = 'count'
/** A file system in memory that every process of the machine sees; only Linux has one of this name. */
const inMemory = '/dev/shm'
const inMemoryPath = (name: string): string => join(inMemory, `tenure-${name}`)

export function openAccount(directory: string): Account {
  const name = randomBytes(8).toString('hex')
  const pathOf = (what: string): string => join(directory, `${thisProcess()}-${name}-${what}`)
  const cell = new Float64Array(1)
  const bytes = new Uint8Array(cell.buffer)
  // The file beside the spool claims the account; where there is no memory to share it keeps the number too.
  let claim = openCell(pathOf(countFile), bytes)
  let file = claim === undefined ? undefined : (openCell(inMemoryPath(name), bytes) ?? claim)
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
      for (const each of new Set([file, claim])) if (each !== undefined) closeSync(each)
      file = claim = undefined
      await rm(inMemoryPath(name), { force: true })
      await rm(pathOf(countFile), { force: true })
    },
  }
}

/** A new file of eight bytes, which takes its room now: to write over them later needs none. */
function openCell(path: string, bytes: Uint8Array): number | undefined {
  try {
    const file = openSync(path, 'wx', 0o600)
    writeSync(file, bytes, 0, 8, 0)
    return file
  } catch {
    return undefined
  }
}

/**
 * Takes over the accounts of processes that no longer live. Renaming the file with the number claims an account, and only one
 * process can; the other files follow it.
 */
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
        async forget() {
          await rm(inMemoryPath(name), { force: true })
          await rm(own(countFile), { force: true })
        },
      })
    } catch {
      // Another process was faster.
    }
  }
  return adopted
}

/** Anybody may write there: what is not ours counts for nothing. */
async function readInMemory(name: string): Promise<Buffer | undefined> {
  try {
    const { uid } = await lstat(inMemoryPath(name))
    return uid === process.getuid?.() ? await readFile(inMemoryPath(name)) : undefined
  } catch {
    return undefined
  }
}

/** Ids of processes come back, in a container after every restart; with the moment of its start one is one process. */
const thisProcess = (): string => `${process.pid}.${startOf(process.pid) ?? 0}`

function isAlive(owner: string): boolean {
  const [pid = '', start = ''] = owner.split('.')
  const found = startOf(Number(pid))
  if (found !== undefined || startOf(process.pid) !== undefined) return String(found) === start
  // Without /proc, the number alone has to do.
  try {
    return process.kill(Number(pid), 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Clock ticks from the start of the machine to that of the process; nothing when it does not live. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return state === 'Z' || state === 'X' ? undefined : Number(fields[18])
  } catch {
    return undefined
  }
}
