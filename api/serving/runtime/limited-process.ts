/** Reads files of callers in a process with limited memory: a hostile file can only end the process that reads it. */
import { spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { withMemoryLimit } from '../../../store/memory-limit.ts'
import { checkout, launcher, trainerEnvironment } from '../../../temporal.config.ts'

export interface LimitedProcess {
  input: Writable
  output: Readable
  kill(): void
  /** Kills it and resolves when it has ended. */
  end(): Promise<void>
}

/** Starts a source file of the checkout. */
export function startLimited(argv: readonly string[], memoryMb: number): LimitedProcess {
  const { execPath = process.execPath, execArgv } = withMemoryLimit(memoryMb)
  const child = spawn(execPath, [...execArgv, launcher, ...argv], {
    cwd: checkout,
    env: trainerEnvironment(),
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  // A dead child reads no more; its output ends.
  child.stdin.on('error', () => {})
  const kill = (): void => void child.kill('SIGKILL')
  return {
    input: child.stdin,
    output: child.stdout,
    kill,
    async end() {
      kill()
      await exited
    },
  }
}
