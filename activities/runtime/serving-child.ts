/** Runs what serves in a process of its own: activities may not import it, and a bad artifact must not meet a worker. */
import { spawn } from 'node:child_process'
import { checkout, launcher } from '../../temporal.config.ts'

export interface NotServed {
  ok: false
  code: string
  message: string
}

export interface ServingChildOptions {
  /** The child's source file, relative to the checkout. */
  script: string
  timeoutMs: number
  /** What it reads from its standard input. */
  input?: string
}

/** Answers the line of JSON with which the child ended. What it cannot say itself, that it was killed or never came back, is said here. */
export function runServingChild<T>(
  argv: string[],
  { script, timeoutMs, input = '' }: ServingChildOptions,
): Promise<T | NotServed> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--max-old-space-size=256', launcher, script, ...argv], {
      cwd: checkout,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    })
    let said = ''
    let complaint = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2_000)))
    child.on('error', reject)
    // A child that has died reads no more; how it ended is told below.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.on('close', (code, signal) => {
      const line = said.trim().split('\n').at(-1) ?? ''
      try {
        resolve(JSON.parse(line) as T)
      } catch {
        const how = signal
          ? `was ended by ${signal} (${timeoutMs} ms and 256 MB are its limits)`
          : `ended with ${code}`
        const last = complaint.trim().split('\n').at(-1) ?? ''
        resolve({ ok: false, code: 'artifact_invalid', message: `its process ${how} ${last}`.trim() })
      }
    })
  })
}
