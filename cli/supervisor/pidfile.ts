/**
 * Locks a state directory for one supervisor and records the process groups it started. The next holder ends the orphans of a killed
 * supervisor, because they hold its ports. It can spare replicas that still serve until it has their successors.
 */
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { failure } from '../client/client.ts'
import { birthOf } from '@tenure/embedded'
import { readText } from '../read-text.ts'

interface Entry {
  pid: number
  /** Start time; distinguishes the process from a later one with the same pid. */
  birth: string | undefined
  /** Whether the process keeps serving after the holder is killed. */
  outlives?: boolean
}

interface Record {
  holder: Entry
  /** Leaders of the process groups that the holder started. */
  groups: Entry[]
}

export interface StateDirLock {
  /** Records the running process groups, so that the next holder can end them if this one is killed. */
  note(groups: readonly Pick<Entry, 'pid' | 'outlives'>[]): void
  /** Ends the spared orphans. */
  endSpared(options?: { graceMs?: number }): Promise<void>
  /** Releases the lock. Spared orphans that still run stay recorded for the next holder. */
  release(): void
}

const pollMs = 50
const defaultGraceMs = 20_000

/**
 * Locks the file for this process after ending the orphans of a dead holder. Spares orphans marked `outlives` if `spare` is set. Throws
 * `configuration_invalid` while a holder lives.
 */
export async function claim(
  path: string,
  { graceMs = defaultGraceMs, spare = false } = {},
): Promise<StateDirLock> {
  const holder = entryOf(process.pid)
  let spared: Entry[] = []
  let noted: Entry[] = []
  const textOf = (by: Entry = holder) =>
    JSON.stringify({ holder: by, groups: [...noted, ...spared] } satisfies Record)
  const write = (text: string) => {
    writeFileSync(`${path}.new`, text, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
  while (!created(path, textOf())) {
    const text = readText(path)
    if (text === undefined) continue
    expectDead(text)
    const { groups } = JSON.parse(text) as Record
    spared = groups.filter((group) => spare && group.outlives === true && isAlive(group))
    await Promise.all(groups.filter((group) => !spared.includes(group)).map((group) => end(group, graceMs)))
    setAside(path, text)
  }
  return {
    note(groups) {
      noted = groups.map(({ pid, outlives }) => ({ ...entryOf(pid), outlives }))
      write(textOf())
    },
    async endSpared(given = {}) {
      if (spared.length === 0) return
      await Promise.all(spared.map((group) => end(group, given.graceMs ?? graceMs)))
      spared = []
      write(textOf())
    },
    release() {
      noted = []
      if (spared.some(isAlive)) write(textOf({ pid: 0, birth: undefined }))
      else rmSync(path, { force: true })
    },
  }
}

/** Returns the pids of processes that still serve after their supervisor was killed. */
export function findOutliving(path: string): number[] {
  const text = readText(path)
  if (text === undefined) return []
  const { holder, groups } = JSON.parse(text) as Record
  if (isAlive(holder)) return []
  return groups.filter((group) => group.outlives === true && isAlive(group)).map(({ pid }) => pid)
}

/** Throws `configuration_invalid` while a holder lives. */
export function expectUnclaimed(path: string): void {
  const text = readText(path)
  if (text !== undefined) expectDead(text)
}

/** Whether a holder lives. */
export function isClaimed(path: string): boolean {
  const text = readText(path)
  return text !== undefined && isAlive((JSON.parse(text) as Record).holder)
}

function expectDead(text: string): void {
  const { holder } = JSON.parse(text) as Record
  if (isAlive(holder))
    throw failure({
      code: 'configuration_invalid',
      detail: `Tenure already runs here as process ${holder.pid}`,
      remedy: `Stop it with Ctrl-C or \`kill ${holder.pid}\`, or set TENURE_STATE to run a second installation.`,
    })
}

/** Sends SIGTERM, then SIGKILL after the grace period. A database that is already shutting down only needs time. */
async function end(group: Entry, graceMs: number): Promise<void> {
  const deadline = performance.now() + graceMs
  if (isAlive(group)) signal(group.pid, 'SIGTERM')
  while (isAlive(group)) {
    if (performance.now() > deadline) signal(group.pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function signal(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name)
  } catch {
    // The group has ended meanwhile.
  }
}

const entryOf = (pid: number): Entry => ({ pid, birth: birthOf(pid) })

const isAlive = ({ pid, birth }: Entry) => birth !== undefined && birthOf(pid) === birth

/** Creates the file by a hard link, so that it appears complete or not at all. Returns false if the file exists. */
function created(path: string, text: string): boolean {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, text, { mode: 0o600 })
  const made = linked(draft, path)
  rmSync(draft)
  return made
}

/** Removes the file of a dead holder. Restores a newer file that replaced it meanwhile. */
function setAside(path: string, expected: string): void {
  const aside = `${path}.${process.pid}.dead`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (readText(aside) !== expected) linked(aside, path)
  rmSync(aside, { force: true })
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
