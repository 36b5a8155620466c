/**
 * Keeps the last child process of each file for the next job of the same kind, because starting it and loading native libraries takes up
 * to a second.
 */
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'

export interface Child {
  process: ChildProcess
  /** The end of the child's error output. */
  lines: { last: string[]; starved: () => string | undefined; clear: () => void }
  /** Resolves when the process has exited and its output is read. */
  gone: Promise<{ how: string; signal: NodeJS.Signals | null }>
}

/** A child serves jobs with the same text in `serves`. */
interface Place {
  file: string
  serves: string
}

/** The memory limit of a kept child, in MiB. */
export const maxKeptMb = 512
const defaultIdleMs = 15_000

const kept = new Map<string, { child: Child; serves: string; timer: NodeJS.Timeout }>()

/** Undefined when no living child serves such jobs. */
export function takeChild({ file, serves }: Place): Child | undefined {
  const found = kept.get(file)
  if (found?.serves !== serves) return undefined
  release(file)
  const { process } = found.child
  if (!process.connected || process.exitCode !== null || process.signalCode !== null) return undefined
  for (const handle of handlesOf(process)) handle.ref()
  found.child.lines.clear()
  return found.child
}

/** Ends the child that was kept before, and this one after `idleMs` without a job. A kept child does not keep its parent alive. */
export function keepChild(child: Child, { file, serves }: Place, idleMs = defaultIdleMs): void {
  const { process, gone } = child
  release(file)?.process.kill('SIGKILL')
  const timer = setTimeout(() => {
    release(file)
    process.kill('SIGKILL')
  }, idleMs)
  timer.unref()
  kept.set(file, { child, serves, timer })
  void gone.then(() => kept.get(file)?.child === child && release(file))
  for (const handle of handlesOf(process)) handle.unref()
}

/** The handles that keep the parent process alive. */
const handlesOf = (child: ChildProcess): { ref(): unknown; unref(): unknown }[] =>
  [child, child.channel, child.stderr as Socket | null].filter((handle) => handle != null)

function release(file: string): Child | undefined {
  const found = kept.get(file)
  clearTimeout(found?.timer)
  kept.delete(file)
  return found?.child
}
