/** Runs serving code in a separate process, because activities may not import it and a bad artifact must not crash a worker. */
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
  /** Standard input of the child. */
  input?: string
}

/** Returns the child's last line of JSON. A kill or a timeout, which the child cannot report, is reported here. */
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
    // A dead child reads no more; its exit is reported below.
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
