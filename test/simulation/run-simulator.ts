/** Runs the fault simulator as `npm run test:sim` does. */
import { spawn } from 'node:child_process'
import { checkout } from '../../temporal.config.ts'

/** Runs in a child process, because the simulator replaces time and randomness of its process. */
export function simulate(...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/simulation/simulate.ts', ...args], {
    cwd: checkout,
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code: code ?? 1, output })))
}
