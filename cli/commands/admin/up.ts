/** `tenure up`: runs the whole system on this machine until Ctrl-C. */
import { usageError } from '../../client/client.ts'
import { join } from 'node:path'
import { goOnWithNewerNode } from '../../build/old-node.mjs'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { logLine } from './logs.ts'
import { checkout } from '../../../temporal.config.ts'
import { isPackage } from '../../../project.mjs'
import { numberOption } from '../../number-option.ts'

export const upCommand: CommandSpec = {
  name: 'up',
  summary: 'Start Postgres, Temporal, the workers and the API on this machine',
  options: [
    ['--demo', 'Run the demo: three versions on 3,000,000 recorded flights'],
    ['--exit', 'Exit after the demo; exit code 0 only if every step passes'],
    ['--open', 'Open the dashboard in the browser (default: with --demo, on a desktop)'],
    ['--no-open', 'Open no browser'],
    [
      '--replicas <n>',
      'API processes on one port (default: 1, with --demo 2); SIGUSR2 restarts them one by one',
    ],
  ],
  examples: ['up', 'up --replicas 3', 'up --demo', 'up --demo --exit'],
  async run({ terminal }, { options }) {
    const demo = options['demo'] === true
    const exit = options['exit'] === true
    if (exit && !demo) throw usageError('--exit requires --demo')
    const open = options['open'] as boolean | undefined
    const replicas = numberOption(options, 'replicas', { min: 1, max: 16, whole: true }) ?? (demo ? 2 : 1)
    if (isPackage) {
      if (demo)
        throw usageError(
          '--demo runs in a checkout of Tenure only; `tenure init` makes an example to start with',
        )
      const { runSetUp } = await import('../../supervisor/set-up.ts')
      if (!(await runSetUp())) return exitCodes.otherwise
      // The first set-up may have installed a newer Node.
      process.argv[1] = join(checkout, 'cli', 'tenure.mjs')
      if (await goOnWithNewerNode(checkout)) return process.exitCode as ExitCode
    }
    if (demo) {
      const { runDemo } = await import('../../demo/demo.ts')
      return runDemo({ terminal, exit, replicas, open: exit ? (open ?? false) : open })
    }
    const { startSystem } = await import('../../supervisor/system.ts')
    const { addresses, welcome } = await import('../../supervisor/welcome.ts')
    const { openBrowser } = await import('../../supervisor/browser.ts')
    const say = (line: string) => terminal.say(line)
    keepRunningWithoutReader()
    const system = await startSystem({
      replicas,
      say,
      echo: (line) => say(logLine(line, terminal)),
    })
    terminal.answer(addresses(system), welcome(system).join('\n'))
    openBrowser(system.url, { wanted: open ?? false, interactive: terminal.interactive })
    await system.supervision.stopped
    await system.stop()
    terminal.say('Everything is stopped. Data is kept; start again with `tenure up`.')
  },
}

/** Keeps the processes running when the pipe behind the output closes or its disk is full; `tenure.log` has the same lines. */
function keepRunningWithoutReader(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.removeAllListeners('error').on('error', () => {})
}
