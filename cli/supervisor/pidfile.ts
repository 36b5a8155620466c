/**
 * Who runs a state directory, and which processes it started. A second `tenure up` on the same data would corrupt
 * nothing, because the servers refuse, but it would say so badly and late; and what a killed one left behind must be
 * gone before the next one takes its ports.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { failure } from '../client/client.ts'
import { birthOf } from '../embedded/process.ts'

interface Entry {
  pid: number
  /** With the pid it names one process, and no later one that was given the same pid. */
  birth: string | undefined
}

interface Record {
  holder: Entry
  /** The processes it started; each leads a group. */
  groups: Entry[]
}

export interface StateDirLock {
  /** Notes the process groups that run now, so that the next claimant can end them if this one is killed. */
  note(pids: readonly number[]): void
  release(): void
}

const POLL_MS = 50
const GRACE_MS = 20_000

/**
 * Claims the file for this process, after ending what a dead claimant left. Throws `configuration_invalid` while
 * another claimant lives.
 */
export async function claim(path: string, { graceMs = GRACE_MS } = {}): Promise<StateDirLock> {
  const holder = entryOf(process.pid)
  const textOf = (groups: Entry[]) => JSON.stringify({ holder, groups } satisfies Record)
  while (!created(path, textOf([]))) {
    const text = read(path)
    if (text === undefined) continue
    expectDead(text)
    const { groups } = JSON.parse(text) as Record
    await Promise.all(groups.map((group) => end(group, graceMs)))
    setAside(path, text)
  }
  return {
    note(pids) {
      writeFileSync(`${path}.new`, textOf(pids.map(entryOf)), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
    release: () => rmSync(path, { force: true }),
  }
}

/** Throws `configuration_invalid` while a claimant lives; for those who ask before they do anything else. */
export function expectUnclaimed(path: string): void {
  const text = read(path)
  if (text !== undefined) expectDead(text)
}

/** Whether a claimant lives. */
export function isClaimed(path: string): boolean {
  const text = read(path)
  return text !== undefined && isAlive((JSON.parse(text) as Record).holder)
}

function expectDead(text: string): void {
  const { holder } = JSON.parse(text) as Record
  if (isAlive(holder))
    throw failure({
      code: 'configuration_invalid',
      detail: `Tenure already runs here as process ${holder.pid}`,
      remedy: 'Stop it with Ctrl-C where it runs; TENURE_STATE lets another one run beside it.',
    })
}

/** The clean way first: a database that is being shut down by its parent's death needs no second signal, only time. */
async function end(group: Entry, graceMs: number): Promise<void> {
  const deadline = performance.now() + graceMs
  if (isAlive(group)) signal(group.pid, 'SIGTERM')
  while (isAlive(group)) {
    if (performance.now() > deadline) signal(group.pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function signal(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name)
  } catch {
    // It ended in between.
  }
}

const entryOf = (pid: number): Entry => ({ pid, birth: birthOf(pid) })

const isAlive = ({ pid, birth }: Entry) => birth !== undefined && birthOf(pid) === birth

/** A link appears whole or not at all, so nobody ever reads half a file. */
function created(path: string, text: string): boolean {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, text, { mode: 0o600 })
  const made = linked(draft, path)
  rmSync(draft)
  return made
}

/** Takes a dead claimant's file away; a newer one that came in between is put back. */
function setAside(path: string, judged: string): void {
  const aside = `${path}.${process.pid}.dead`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (read(aside) !== judged) linked(aside, path)
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

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
