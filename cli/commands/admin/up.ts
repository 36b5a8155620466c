/** `tenure up`: the whole system on this machine, until Ctrl-C. */
import { failure } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec, Session } from '../../program.ts'

export const upCommand: CommandSpec = {
  name: 'up',
  summary: 'starts Postgres, Temporal, the workers and the API on this machine',
  options: [
    ['--demo', 'tell the story of three versions on 3,000,000 recorded flights'],
    ['--exit', 'end after the story, with 0 only if every step ended as told'],
    [
      '--replicas <n>',
      'how many API processes on one port (default: 1, with --demo 2); SIGUSR2 restarts them in turn',
    ],
  ],
  examples: ['up', 'up --replicas 3', 'up --demo', 'up --demo --exit'],
  async run(session, { options }) {
    const demo = options['demo'] === true
    const exit = options['exit'] === true
    if (exit && !demo)
      throw failure({
        code: 'usage',
        detail: '--exit ends the story of --demo and has no meaning without it',
      })
    const replicas = Number(options['replicas'] ?? (demo ? 2 : 1))
    if (!Number.isInteger(replicas) || replicas < 1 || replicas > 16)
      throw failure({
        code: 'usage',
        detail: `--replicas is a whole number from 1 to 16, not ${options['replicas']}`,
      })
    return demo ? await tell(session, { exit, replicas }) : await stay(session, replicas)
  },
}

async function stay({ terminal }: Session, replicas: number) {
  const { startSystem } = await import('../../supervisor/system.ts')
  const { addresses, welcome } = await import('../../supervisor/welcome.ts')
  const say = (line: string) => terminal.say(line)
  const system = await startSystem({ replicas, say, echo: say })
  terminal.answer(addresses(system), welcome(system).join('\n'))
  await system.supervision.stopped
  await system.stop()
  terminal.say('Everything is stopped; `tenure up` goes on from here.')
  return exitCodes.done
}

async function tell({ terminal }: Session, { exit, replicas }: { exit: boolean; replicas: number }) {
  const { runDemo } = await import('../../demo/demo.ts')
  return runDemo({ terminal, exit, replicas })
}
