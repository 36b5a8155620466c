/** Runs the `tenure` command as a process, with its output. */
import { spawn, type ChildProcess } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkout, environmentWith } from '../../../temporal.config.ts'

export interface Ended {
  code: number | null
  out: string
  err: string
}

export interface Running {
  child: ChildProcess
  ended: Promise<Ended>
  says(pattern: RegExp): Promise<RegExpMatchArray>
}

/** Starts the command in a directory without a project, with free ports and without servers of the environment. */
export function startTenure(
  variables: Record<string, string>,
  words: readonly string[],
  { input }: { input?: string } = {},
): Running {
  const ports = Object.fromEntries(
    ['TENURE_PORT', 'TENURE_POSTGRES_PORT', 'TENURE_TEMPORAL_PORT'].map((name) => [name, '0']),
  )
  const none = Object.fromEntries(
    ['DATABASE_URL', 'TEMPORAL_ADDRESS', 'TENURE_URL', 'TENURE_KEY'].map((name) => [name, '']),
  )
  const child = spawn(process.execPath, [join(checkout, 'cli/tenure.mjs'), ...words], {
    cwd: tmpdir(),
    env: environmentWith({ ...ports, ...none, ...variables }),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // The command may end before it has read.
  child.stdin.on('error', () => {}).end(input)
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  const ended = new Promise<Ended>((resolve) => child.on('close', (code) => resolve({ code, out, err })))
  return {
    child,
    ended,
    async says(pattern) {
      let over = false
      void ended.then(() => (over = true))
      for (;;) {
        const found = pattern.exec(out)
        if (found) return found
        if (over) throw new Error(`ended before the output matched ${pattern}: ${out}${err}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
  }
}
