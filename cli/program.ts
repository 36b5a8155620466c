/** Runs the command line: builds the commands with their options and help, and prints every error in one format. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { errorTable, isError, remedyOf, type ErrorCode } from '../domain/errors.ts'
import { redacted } from '../domain/redact.ts'
import { readVersion } from '../temporal.config.ts'
import { commandProblemOf, type Client } from './client/client.ts'
import { connectToApi } from './client/connection.ts'
import { didYouMean, withoutFarSuggestion } from './client/did-you-mean.ts'
import { suggestModel } from './client/suggest-model.ts'
import { exitCodeHelp, exitCodeOf, exitCodes, type ExitCode, type CommandProblem } from './exit-codes.ts'
import { readTime } from './time-option.ts'
import { openTerminal, type Streams, type Terminal } from './terminal.ts'

export interface CommandSession {
  terminal: Terminal
  /** Connects to the API on first use. */
  api(): Client
}

export type Options = Readonly<Record<string, string | boolean | undefined>>

export interface CommandInput {
  args: string[]
  options: Options
  /** The values of repeatable flags. */
  lists: Readonly<Record<string, readonly string[]>>
}

/** One command as data. */
export interface CommandSpec {
  /** Name with arguments, such as `retrain <model>`. */
  name: string
  summary: string
  /** Flags and their descriptions. A flag that ends with `…>`, such as `--set <name=value…>`, is repeatable. */
  options?: readonly (readonly [flags: string, description: string])[]
  /** Written without `tenure`, except in a pipe: `cat rows | tenure …`. */
  examples: readonly string[]
  /** Its heading in `tenure --help`. */
  section?: string
  /** The default command of its group. */
  isDefault?: true
  /** The values of an argument, by its name; of `<model>`, `<version>` and `<release>` the completion asks the API. */
  values?: Readonly<Record<string, readonly string[]>>
  /** The command without its group that does the same, such as `approve` for `releases approve`. */
  sameAs?: string
  /** Runs the command and returns the exit code; undefined means `done`. */
  run(session: CommandSession, input: CommandInput): Promise<ExitCode | undefined | void>
}

export interface CommandGroup {
  name: string
  /** Its heading in `tenure --help`. */
  section?: string
  /** Another name for the group. */
  alias?: string
  summary: string
  commands: readonly CommandSpec[]
}

/** Runs a command line (without `node` and the script) and returns its exit code. */
export async function runProgram(
  specs: readonly (CommandSpec | CommandGroup)[],
  words: readonly string[],
  streams: Streams,
): Promise<ExitCode> {
  const terminal = openTerminal(streams, {
    json: words.includes('--json'),
    wide: words.includes('--wide'),
  })
  let exitCode: ExitCode = exitCodes.done
  let client: Client | undefined
  const program = configure(new Command('tenure'), streams)
    .description('Retrain models, release them in stages, roll back automatically.')
    .usage('<command> [options]')
    .version(readVersion(), '--version', 'Show version')
    .addHelpText('after', `${examplesOf(['up', 'status --json', 'retrain iris --watch'])}\n\n${exitCodeHelp}`)
  const add = (parent: Command, spec: CommandSpec) => {
    const command = configure(parent.command(spec.name), streams)
      .summary(spec.summary)
      .description(spec.summary)
    if (spec.section !== undefined) command.helpGroup(`${spec.section}:`)
    for (const [flags, description] of spec.options ?? [])
      command.addOption(optionOf(flags, description, terminal))
    command
      .option('--json', 'Print one JSON document')
      .option('--wide', 'Print tables in full width')
      .addOption(
        optionOf('--url <url>', 'Address of the API (default: TENURE_URL, or the local system)', terminal),
      )
      .addHelpText('after', `${timesOf(spec, terminal)}${examplesOf(spec.examples)}`)
      .action(async () => {
        const {
          url,
          json: _,
          wide: _wide,
          ...options
        } = command.opts<{ url?: string; json?: true; wide?: true }>()
        const { options: single, lists } = splitLists(options)
        const api = () => (client ??= withWaiting(connectToApi({ url }), terminal))
        exitCode =
          (await spec.run({ terminal, api }, { args: command.args, options: single, lists })) ??
          exitCodes.done
      })
  }
  for (const spec of specs) {
    if (!('commands' in spec)) add(program, spec)
    else {
      const group = configure(program.command(spec.name), streams)
        .summary(spec.summary)
        .description(spec.summary)
        .addHelpText('after', examplesOf(spec.commands.flatMap(({ examples }) => examples.slice(0, 1))))
      if (spec.alias !== undefined) group.alias(spec.alias)
      if (spec.section !== undefined) group.helpGroup(`${spec.section}:`)
      for (const each of spec.commands) add(group, each)
    }
  }
  try {
    await program.parseAsync(
      words.length === 0 ? ['--help'] : [...withDefault(specs, withKnownHelp(specs, words))],
      {
        from: 'user',
      },
    )
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done
    const problem = withoutSecrets(describe(error, pathOf(specs, words)))
    if (problem.code === 'model_not_found' && client !== undefined) {
      const meant = await suggestModel(client, problem.detail)
      if (meant !== undefined) problem.remedy = meant
    }
    printProblem(terminal, problem)
    return exitCodeOf(problem)
  }
}

/** Wraps the client to show on the terminal what a call waits for. */
function withWaiting(client: Client, terminal: Terminal): Client {
  const during = async <T>(what: string, asked: () => Promise<T>): Promise<T> => {
    const stop = terminal.waiting(`Waiting for ${client.url}: ${what}`)
    return asked().finally(stop)
  }
  return {
    url: client.url,
    get: (path, query) => during(`GET ${path}`, () => client.get(path, query)),
    post: (path, body, headers) => during(`POST ${path}`, () => client.post(path, body, headers)),
    postForm: (path, form) => during(`POST ${path}`, () => client.postForm(path, form)),
    postBytes: (path, bytes) => during(`POST ${path}`, () => client.postBytes(path, bytes)),
    put: (path, body) => during(`PUT ${path}`, () => client.put(path, body)),
    delete: (path) => during(`DELETE ${path}`, () => client.delete(path)),
  }
}

function optionOf(flags: string, description: string, terminal: Terminal): Option {
  const option = new Option(flags.replace('…>', '>'), description)
  if (!option.required) return option
  if (flags.endsWith('…>')) {
    option.description += '; may be repeated'
    return option.argParser<readonly string[] | undefined>((value, before) => [...(before ?? []), value])
  }
  const name = flags.split(' ')[0]!
  return option.argParser<string | undefined>((text, before) => {
    if (before !== undefined) throw new InvalidArgumentError(`${name} was given before: give one value.`)
    return flags.endsWith('<time>') ? readTime(name, text, terminal) : text
  })
}

function splitLists(given: Record<string, unknown>): Pick<CommandInput, 'options' | 'lists'> {
  const lists: Record<string, readonly string[]> = {}
  const options: Record<string, string | boolean | undefined> = {}
  for (const [name, value] of Object.entries(given))
    if (Array.isArray(value)) lists[name] = value as string[]
    else options[name] = value as string | boolean | undefined
  return { options, lists }
}

/** Makes commander throw errors and write its help to the given stream. */
function configure(command: Command, { out }: Streams): Command {
  const width = Math.min(out.columns ?? 80, 100)
  return command
    .configureHelp({ helpWidth: width, minWidthToWrap: 24, subcommandTerm: (each) => each.name() })
    .exitOverride()
    .showHelpAfterError(false)
    .configureOutput({ writeOut: (text) => void out.write(text), writeErr: () => {}, outputError: () => {} })
    .helpCommand(false)
    .helpOption('-h, --help', 'Show help')
}

/** How times are read, for a command that has an option for one. */
const timesOf = ({ options = [] }: CommandSpec, { zone }: Terminal): string =>
  options.some(([flags]) => flags.includes('<time'))
    ? `\nA <time> is read as it is printed, such as "2026-03-01 12:00" in ${zone}, or with\nits zone, such as 2026-03-01T12:00:00Z.\n`
    : ''

const examplesOf = (examples: readonly string[]): string =>
  `\nExamples:\n${examples.map((each) => `  ${/\btenure /.test(each) ? each : `tenure ${each}`}`).join('\n')}`

export type CommandSpecs = readonly (CommandSpec | CommandGroup)[]

/** Returns the word that names a command, without its arguments. */
export const typedWord = ({ name }: { name: string }): string => name.split(' ')[0] ?? name

const findSpec = (specs: CommandSpecs, word: string | undefined) =>
  specs.find((each) => typedWord(each) === word || ('alias' in each && each.alias === word))

/** Returns the words that name the command, such as `releases show`. */
function pathOf(specs: CommandSpecs, [first = '', second = '']: readonly string[]): string[] {
  const spec = findSpec(specs, first)
  if (spec === undefined) return []
  if (!('commands' in spec)) return [first]
  return spec.commands.some((each) => typedWord(each) === second) ? [first, second] : [first]
}

/** Drops `--help` behind an unknown command, so that commander reports the command instead of the help of all. */
function withKnownHelp(specs: CommandSpecs, words: readonly string[]): readonly string[] {
  const [first = '-'] = words
  if (first.startsWith('-') || findSpec(specs, first) !== undefined) return words
  return words.filter((word) => word !== '--help' && word !== '-h')
}

/** Inserts the default command of a group if none is named, so that commander reports an unknown one with a suggestion. */
function withDefault(specs: CommandSpecs, words: readonly string[]): readonly string[] {
  const [first, second = ''] = words
  const spec = findSpec(specs, first)
  if (first === undefined || spec === undefined || !('commands' in spec)) return words
  const byDefault = spec.commands.find(({ isDefault }) => isDefault === true)
  const isNamed = ['-h', '--help', ...spec.commands.map(typedWord)].includes(second)
  if (byDefault === undefined || isNamed) return words
  return second === '' || second.startsWith('-') || isArgumentOf(byDefault, spec, words.slice(1))
    ? [first, typedWord(byDefault), ...words.slice(1)]
    : words
}

/** Whether the only word is an argument, such as a model, and not a mistyped command. */
const isArgumentOf = (
  command: CommandSpec,
  { commands }: CommandGroup,
  [word = '', next = '-']: readonly string[],
) =>
  command.name.includes(' ') &&
  next.startsWith('-') &&
  didYouMean(commands.map(typedWord), word) === undefined

function describe(error: unknown, path: readonly string[]): CommandProblem {
  const known = commandProblemOf(error)
  const remedy = `See \`tenure ${[...path, '--help'].join(' ')}\`.`
  if (known !== undefined) {
    // The remedy of the API names the fields of a request, and a command has options.
    const isOfRequest = known.code === 'invalid_request' && known.remedy === errorTable.invalid_request.remedy
    if (isOfRequest) return { ...known, remedy }
    return known.code === 'usage' ? { remedy, ...known } : known
  }
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') return { code: 'usage', detail: 'no command given', remedy }
    const detail = withoutFarSuggestion(error.message)
      .replace(/^error: /, '')
      .replace(/\s*\n\s*/g, ' ')
    return { code: 'usage', detail, remedy }
  }
  if (isError(error)) {
    const { status } = errorTable[error.code]
    const own = remedyOf(error)
    // What Postgres has said about itself is worth more than how to start it.
    const remedy = (own === errorTable[error.code].remedy && startRemedy(error.code, path)) || own
    return { code: error.code, detail: error.message, remedy, status }
  }
  const reason = error instanceof Error ? error.message : ''
  if (/\b(ENOSPC|EDQUOT)\b|no space left on device/i.test(reason))
    return {
      code: 'usage',
      detail: `a disk is full: ${reason.split('\n')[0]}`,
      remedy: 'Free space, or name a place with more (for temporary files: TMPDIR), then repeat the command.',
    }
  return {
    code: 'internal',
    detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
    remedy: 'Report this defect with the lines above; check the installation with `tenure doctor`.',
  }
}

/** The remedy of a command that asks a server itself. That of the API tells callers whose predictions continue to retry later. */
function startRemedy(code: ErrorCode, [command]: readonly string[]): string | undefined {
  const variable = { postgres_unavailable: 'DATABASE_URL', temporal_unavailable: 'TEMPORAL_ADDRESS' }[
    code as string
  ]
  if (variable === undefined || command === 'up') return undefined
  return `Start the installation with \`tenure up\`, or set ${variable} to a server that runs; \`tenure doctor\` finds the cause.`
}

/** Redacts what was typed: it may hold a password or a key, and CI keeps the output. */
const withoutSecrets = (problem: CommandProblem): CommandProblem =>
  JSON.parse(redacted(JSON.stringify(problem))) as CommandProblem

function printProblem(terminal: Terminal, problem: CommandProblem): void {
  if (terminal.json) return terminal.complain(JSON.stringify(problem))
  terminal.complain(`${terminal.paint('red', 'error')} ${problem.detail} (${problem.code})`)
  if (problem.remedy !== undefined) terminal.complain(`      ${problem.remedy}`)
}
