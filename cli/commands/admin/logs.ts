/** `tenure logs`: prints what the processes of `tenure up` have written on this machine. */
import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { failure, usageError } from '../../client/client.ts'
import { findStateDir } from '../../client/connection.ts'
import { numberOption } from '../../number-option.ts'
import type { CommandSpec } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import { readCommandConfig } from '../../../temporal.config.ts'

const maxLines = 100_000
const lookMs = 250
const lineStart = /^(\d{4}-\S+Z) (\S+)/

/** Writes the time of a line as that of the day, on the clock of the terminal. */
export const logLine = (line: string, { times }: Terminal): string =>
  line.replace(
    lineStart,
    (_, at: string, process: string) => `${times(at, 'milliseconds').slice(11)} ${process}`,
  )

const processOf = (line: string): string | undefined => lineStart.exec(line)?.[2]

export const logsCommand: CommandSpec = {
  name: 'logs [process]',
  summary: 'Print the log of `tenure up` on this machine, of all processes or of one',
  options: [
    ['--lines <n>', 'Number of latest lines (default: 100)'],
    ['--follow', 'Go on with new lines until Ctrl-C'],
  ],
  examples: ['logs', 'logs control --lines 1000', 'logs postgres --follow'],
  async run({ terminal }, { args, options }) {
    const [only] = args
    const count = numberOption(options, 'lines', { min: 1, max: maxLines, whole: true }) ?? 100
    const follows = options['follow'] === true
    if (follows && terminal.json) throw usageError('--follow prints lines, not one JSON document')
    const stateDir = findStateDir(readCommandConfig())
    const file = join(stateDir, 'tenure.log')
    const isWanted = (line: string) => only === undefined || processOf(line) === only
    // A file that has grown large goes on under its name, beside the last one.
    const before = await linesFrom(`${file}.1`)
    const now = await linesFrom(file)
    if (now === undefined)
      throw failure({
        code: 'not_found',
        status: 404,
        detail: `there is no log in ${stateDir}: \`tenure up\` has not run here`,
        remedy: 'With your own servers, read the logs of their processes.',
      })
    const all = [...(before?.lines ?? []), ...now.lines]
    const lines = all.filter(isWanted).slice(-count)
    if (lines.length === 0 && only !== undefined && !follows) {
      const names = [...new Set(all.flatMap((line) => processOf(line) ?? []))].sort()
      throw failure({
        code: 'not_found',
        status: 404,
        detail: `the log has no line of ${only}`,
        remedy: `It has lines of ${names.join(', ')}.`,
      })
    }
    terminal.answer({ file, lines }, lines.map((line) => logLine(line, terminal)).join('\n'))
    for (let at = now.end; follows; await pause(lookMs)) {
      const size = (await stat(file).catch(() => undefined))?.size ?? at
      // Smaller: a new file has begun.
      const added = size === at ? undefined : await linesFrom(file, size < at ? 0 : at)
      if (added === undefined) continue
      at = added.end
      const fresh = added.lines.filter(isWanted)
      if (fresh.length > 0) terminal.say(...fresh.map((line) => logLine(line, terminal)))
    }
  },
}

/** Returns the whole lines from a place on, and where they end; undefined without the file. */
async function linesFrom(file: string, start = 0): Promise<{ lines: string[]; end: number } | undefined> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (handle === undefined) return undefined
  try {
    const { size } = await handle.stat()
    const bytes = Buffer.alloc(Math.max(0, size - start))
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start)
    const whole = bytes.subarray(0, bytesRead).lastIndexOf(10) + 1
    const text = bytes.toString('utf8', 0, whole)
    return { lines: text.split('\n').filter((line) => line !== ''), end: start + whole }
  } finally {
    await handle.close()
  }
}
