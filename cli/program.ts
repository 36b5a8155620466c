/**
 * Puts the commands together and holds their common manners: options, help with examples, one way to fail. A command
 * that printed its own errors would answer a pipeline differently from its neighbour.
 */
import { Command, CommanderError, Option } from 'commander'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorTable, isError } from '../domain/errors.ts'
import { checkout } from '../temporal.config.ts'
import { failure, commandProblemOf, type Client } from './client/client.ts'
import { connectToApi } from './client/connection.ts'
import { exitCodeHelp, exitCodeOf, exitCodes, type ExitCode, type CommandProblem } from './exit-codes.ts'
import { nearestOf } from './suggestion.ts'
import { openTerminal, type Streams, type Terminal } from './terminal.ts'

export interface CommandSession {
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
  /** Without `tenure`, unless something comes before it: `cat rows | tenure …`. */
  examples: readonly string[]
  /** What its group does when nothing more is said. */
  isDefault?: true
  /** Does it; the exit code is `done` unless it answers another. */
  run(
    session: CommandSession,
    input: { args: string[]; options: Options },
  ): Promise<ExitCode | undefined | void>
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
  program.addHelpText(
    'after',
    `\nExamples:\n  tenure up\n  tenure status --json\n  tenure retrain iris --watch\n\n${exitCodeHelp}`,
  )
  const add = (parent: Command, spec: CommandSpec) => {
    const command = settle(parent.command(spec.name, { isDefault: spec.isDefault === true }), streams)
      .summary(spec.summary)
      .description(spec.summary)
    for (const [flags, description] of spec.options ?? []) command.addOption(new Option(flags, description))
    command
      .option('--json', 'answer with one JSON document')
      .option('--url <url>', 'the address of the API (TENURE_URL; else what runs here)')
      .addHelpText('after', examplesOf(spec.examples))
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
  settle(program, streams).version(versionOfTenure(), '--version', 'which Tenure this is')
  for (const spec of specs) {
    if (!('commands' in spec)) add(program, spec)
    else {
      const group = settle(
        program.command(spec.name).summary(spec.summary).description(spec.summary),
        streams,
      )
      group.addHelpText('after', examplesOf(spec.commands.flatMap(({ examples }) => examples.slice(0, 1))))
      for (const each of spec.commands) add(group, each)
    }
  }
  try {
    assertKnown(specs, words)
    await program.parseAsync([...words], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done
    const problem = describe(error, pathOf(specs, words))
    complain(terminal, problem)
    return exitCodeOf(problem)
  }
}

function versionOfTenure(): string {
  const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string }
  return version
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

const examplesOf = (examples: readonly string[]): string =>
  `\nExamples:\n${examples.map((each) => `  ${/\btenure /.test(each) ? each : `tenure ${each}`}`).join('\n')}`

type Specs = readonly (CommandSpec | CommandGroup)[]

const wordOf = ({ name }: { name: string }): string => name.split(' ')[0] ?? name

/** The command that is meant, as far as it is known: `release show`. */
function pathOf(specs: Specs, [first = '', second = '']: readonly string[]): string[] {
  const spec = specs.find((each) => wordOf(each) === first)
  if (spec === undefined) return []
  if (!('commands' in spec)) return [first]
  return spec.commands.some((each) => wordOf(each) === second) ? [first, second] : [first]
}

/** Throws `usage` for a command that there is not, with the one that was probably meant. */
function assertKnown(specs: Specs, [first = '', second = '']: readonly string[]): void {
  if (first === '' || first.startsWith('-')) return
  const spec = specs.find((each) => wordOf(each) === first)
  if (spec === undefined) throw unknown(first, specs.map(wordOf), '')
  if (!('commands' in spec) || second === '' || second.startsWith('-')) return
  const names = spec.commands.map(wordOf)
  // What stands behind the group may be the first argument of what it does by default.
  const takesArguments = spec.commands.some(({ isDefault, name }) => isDefault === true && name.includes(' '))
  if (!names.includes(second) && !takesArguments) throw unknown(second, names, `${first} `)
}

function unknown(word: string, known: readonly string[], group: string) {
  const meant = nearestOf(word, known)
  return failure({
    code: 'usage',
    detail: `there is no command \`tenure ${group}${word}\``,
    remedy:
      meant === undefined
        ? `See \`tenure ${group}--help\`.`
        : `Did you mean \`tenure ${group}${meant}\`? See \`tenure ${group}--help\`.`,
  })
}

function describe(error: unknown, path: readonly string[]): CommandProblem {
  const known = commandProblemOf(error)
  const remedy = `See \`tenure ${[...path, '--help'].join(' ')}\`.`
  if (known !== undefined) return known.code === 'usage' ? { remedy, ...known } : known
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') return { code: 'usage', detail: 'a command is missing', remedy }
    return { code: 'usage', detail: error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '), remedy }
  }
  if (isError(error)) {
    const { status, remedy } = errorTable[error.code]
    return { code: error.code, detail: error.message, remedy, status }
  }
  return {
    code: 'internal',
    detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
    remedy: 'This is a defect in Tenure; `tenure doctor` may show what it stumbled over.',
  }
}

function complain(terminal: Terminal, problem: CommandProblem): void {
  if (terminal.json) return terminal.complain(JSON.stringify(problem))
  terminal.complain(`${terminal.paint('red', 'error')} ${problem.detail} (${problem.code})`)
  if (problem.remedy !== undefined) terminal.complain(`      ${problem.remedy}`)
}
