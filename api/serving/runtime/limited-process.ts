/** Reads files of callers in a child process with limited memory, so that a hostile file can only end that process. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { requirePipes } from '../../../store/child-pipes.ts'
import { withMemoryLimit } from '@tenure/predictors/memory-limit'
import { checkout, launcher, trainerEnvironment } from '../../../temporal.config.ts'

export interface LimitedProcess {
  input: Writable
  output: Readable
  kill(): void
  /** Kills the process and resolves when it has ended. */
  end(): Promise<void>
}

/**
 * Asks the artifact reader one question and returns its reply; `isLate` when it took longer than `timeMs` after the process was ready. The
 * reply is absent for a process that ended before it, for lack of memory or of time.
 */
export async function askReader<Reply>(
  artifactRoot: string,
  question: object,
  { memoryMb, timeMs }: { memoryMb: number; timeMs: number },
): Promise<{ reply?: Reply; isLate: boolean }> {
  const reader = startLimited(['api/processes/artifact-reader.ts', artifactRoot], memoryMb)
  let late: NodeJS.Timeout | undefined
  let isLate = false
  let reply: Reply | undefined
  try {
    for await (const line of createInterface(reader.output)) {
      if (late === undefined) {
        // The first line reports that the process is ready.
        late = setTimeout(() => {
          isLate = true
          reader.kill()
        }, timeMs)
        reader.input.end(`${JSON.stringify(question)}\n`)
      } else reply = JSON.parse(line) as Reply
    }
  } finally {
    clearTimeout(late)
    await reader.end()
  }
  return { reply, isLate }
}

/** Starts a source file of the checkout with a memory limit. */
export function startLimited(argv: readonly string[], memoryMb: number): LimitedProcess {
  const { execPath = process.execPath, execArgv } = withMemoryLimit(memoryMb)
  const child = spawn(execPath, [...execArgv, launcher, ...argv], {
    cwd: checkout,
    env: trainerEnvironment(),
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  requirePipes(child, argv[0] ?? 'a process')
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  // Writing to a dead child fails; the end of its output reports its death.
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
