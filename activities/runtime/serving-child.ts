/** Runs serving code in a separate process, because activities may not import it and a bad artifact must not crash a worker. */
import { spawn, type SpawnOptions } from 'node:child_process'
import { limitText } from '../../domain/figures.ts'
import { requirePipes } from '../../store/child-pipes.ts'
import { checkout, endpointEnvironment, launcher, systemEnvironment } from '../../temporal.config.ts'

const servingHeapMb = 256

export interface NotServed {
  ok: false
  code: string
  message: string
}

/** Starts a source file of the checkout with pipes. `last` returns the last line of its error output. */
export function spawnServing(
  argv: readonly string[],
  heapMb: number,
  options: Omit<SpawnOptions, 'stdio'> = {},
) {
  const child = spawn(process.execPath, [`--max-old-space-size=${heapMb}`, launcher, ...argv], {
    ...options,
    cwd: checkout,
    env: { ...systemEnvironment(), ...endpointEnvironment() },
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  requirePipes(child, argv[0] ?? 'a process')
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2_000)))
  // A dead child no longer reads; its `close` event reports the exit.
  child.stdin.on('error', () => {})
  return { child, last: () => complaint.trim().split('\n').at(-1) ?? '' }
}

/**
 * Returns the last line of JSON that the child writes. A kill or a timeout, which the child cannot report, is reported here. `script`:
 * its source file, relative to the checkout. `input`: its standard input.
 */
export function runServingChild<T>(
  argv: string[],
  { script, timeoutMs, input = '' }: { script: string; timeoutMs: number; input?: string },
): Promise<T | NotServed> {
  return new Promise((resolve, reject) => {
    const { child, last } = spawnServing([script, ...argv], servingHeapMb, { timeout: timeoutMs })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.stdin.end(input)
    child.on('close', (code, signal) => {
      const line = output.trim().split('\n').at(-1) ?? ''
      try {
        resolve(JSON.parse(line) as T)
      } catch {
        const how = child.killed
          ? `did not end within ${limitText(timeoutMs)}`
          : signal
            ? `was ended by ${signal}, its heap may take ${servingHeapMb} MB`
            : `ended with ${code}`
        resolve({ ok: false, code: 'artifact_invalid', message: `its process ${how} ${last()}`.trim() })
      }
    })
  })
}
