/**
 * Puts the commands together and holds their common manners: options, help with examples, one way to fail. A command
 * that printed its own errors would answer a pipeline differently from its neighbour.
 */
import { Command, CommanderError, Option } from 'commander'
import { errorTable, isError } from '../domain/errors.ts'
import { problemOf, type Client } from './client.ts'
import { connectToApi } from './connection.ts'
import { exitCodeHelp, exitCodeOf, exitCodes, type ExitCode, type Problem } from './exit.ts'
import { openTerminal, type Streams, type Terminal } from './terminal.ts'

export interface Session {
  terminal: Terminal
  /** The API, found at the first call. */
  api(): Client
}

export type Options = Readonly<Record<string, string | boolean | undefined>>

/** One command as data. */
export interface CommandSpec {
  /** With its arguments, e.g. `retrain <model>`. */
  name: string
  summary: string
  /** Flags and their descriptions. */
  options?: readonly (readonly [flags: string, description: string])[]
  examples: readonly string[]
  /** What its group does when nothing more is said. */
  isDefault?: true
  /** Does it; the exit code is `done` unless it answers another. */
  run(session: Session, input: { args: string[]; options: Options }): Promise<ExitCode | undefined | void>
}

export interface CommandGroup {
  name: string
  summary: string
  commands: readonly CommandSpec[]
}

/** Runs one command line (without `node` and the script) and answers its exit code. */
export async function runProgram(
  specs: readonly (CommandSpec | CommandGroup)[],
  words: readonly string[],
  streams: Streams,
): Promise<ExitCode> {
  const terminal = openTerminal(streams, { json: words.includes('--json') })
  let exitCode: ExitCode = exitCodes.done
  const program = programOf(
    'tenure',
    'Models earn it: retrains models, releases them in stages, takes them back.',
  )
  program.addHelpText('after', `\n${exitCodeHelp}`)
  const add = (parent: Command, spec: CommandSpec) => {
    const command = settle(parent.command(spec.name, { isDefault: spec.isDefault === true }), streams)
      .summary(spec.summary)
      .description(spec.summary)
    for (const [flags, description] of spec.options ?? []) command.addOption(new Option(flags, description))
    command
      .option('--json', 'answer with one JSON document')
      .option('--url <url>', 'the address of the API (TENURE_URL; else what runs here)')
      .addHelpText('after', `\nExamples:\n${spec.examples.map((each) => `  tenure ${each}`).join('\n')}`)
      .action(async (...given: unknown[]) => {
        const options = command.opts<Record<string, string | boolean | undefined>>()
        const args = given
          .slice(0, command.registeredArguments.length)
          .flatMap((each) => (each as string) ?? [])
        let client: Client | undefined
        const api = () =>
          (client ??= connectToApi(options['url'] === undefined ? {} : { url: String(options['url']) }))
        exitCode = (await spec.run({ terminal, api }, { args, options })) ?? exitCodes.done
      })
  }
  settle(program, streams)
  for (const spec of specs) {
    if (!('commands' in spec)) add(program, spec)
    else {
      const group = settle(
        program.command(spec.name).summary(spec.summary).description(spec.summary),
        streams,
      )
      for (const each of spec.commands) add(group, each)
    }
  }
  try {
    await program.parseAsync([...words], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done
    const problem = describe(error)
    complain(terminal, problem)
    return exitCodeOf(problem)
  }
}

function programOf(name: string, summary: string): Command {
  return new Command(name).description(summary).usage('<command> [options]')
}

/** Wrong usage is thrown, not exited on, and written where the rest is written. */
function settle(command: Command, { out }: Streams): Command {
  return command
    .exitOverride()
    .showHelpAfterError(false)
    .configureOutput({ writeOut: (text) => void out.write(text), writeErr: () => {}, outputError: () => {} })
    .helpCommand(false)
}

function describe(error: unknown): Problem {
  const known = problemOf(error)
  if (known !== undefined) return known
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help')
      return { code: 'usage', detail: 'a command is missing', remedy: 'See `tenure --help`.' }
    return { code: 'usage', detail: error.message.replace(/^error: /, ''), remedy: 'See `tenure --help`.' }
  }
  if (isError(error)) {
    const { status, remedy } = errorTable[error.code]
    return { code: error.code, detail: error.message, remedy, status }
  }
  return { code: 'internal', detail: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}

function complain(terminal: Terminal, problem: Problem): void {
  if (terminal.json) return terminal.complain(JSON.stringify(problem))
  terminal.complain(`${terminal.paint('red', 'error')} ${problem.detail} (${problem.code})`)
  if (problem.remedy !== undefined) terminal.complain(`      ${problem.remedy}`)
}
