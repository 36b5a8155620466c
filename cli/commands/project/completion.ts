/** `tenure completion`: prints the shell completion script, or the names that it completes. */
import { usageError, type Client } from '../../client/client.ts'
import { type CommandGroup, type CommandSpec, typedWord, type CommandSpecs } from '../../program.ts'

const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

export const completionCommand = (commands: () => readonly (CommandSpec | CommandGroup)[]): CommandSpec => ({
  name: 'completion <shell>',
  summary: 'Print the completion for bash, zsh or fish, to be sourced by the shell',
  values: { shell: shells },
  examples: ['completion bash', 'completion zsh', 'completion fish'],
  async run({ terminal, api }, { args }) {
    const [shell = ''] = args
    // The scripts ask for these.
    const namesOf = names[shell]
    if (namesOf !== undefined) {
      const found = await namesOf(api())
      return terminal.answer({ names: found }, found.join('\n'))
    }
    if (!isShell(shell)) throw usageError(`there is completion for ${shells.join(', ')}, not for ${shell}`)
    const script = completionScript(shell, commands())
    terminal.answer({ shell, script }, script)
  },
})

const isShell = (name: string): name is Shell => (shells as readonly string[]).includes(name)

const maxNames = 1_000

/** Reads the names of a kind that an argument may have. */
const names: Readonly<Record<string, (api: Client) => Promise<string[]>>> = {
  async models(api) {
    const { models } = await api.get<{ models: { name: string }[] }>('/v1/models')
    return models.map(({ name }) => name)
  },
  async versions(api) {
    const { versions } = await api.get<{ versions: { version: string }[] }>('/v1/versions', {
      limit: maxNames,
    })
    return versions.map(({ version }) => version)
  },
  async releases(api) {
    const { releases } = await api.get<{ releases: { id: string; version: string }[] }>('/v1/releases', {
      open: true,
      limit: maxNames,
    })
    return releases.flatMap(({ id, version }) => [version, id])
  },
}

// Generates the shell completion of `tenure` from the commands: words, options and their descriptions.

interface Word {
  word: string
  about: string
}

/** A path such as `''`, `releases` or `releases show`, and the words that can follow it. */
interface Place {
  path: string
  words: Word[]
  /** Kinds of names that the API is asked for. */
  asks?: string[]
}

const everywhere: readonly (readonly [string, string])[] = [
  ['--json', 'Print one JSON document'],
  ['--url <url>', 'Address of the API'],
  ['--help', 'Show help'],
]

/** Returns the options of a command by their long names, of which some have two. */
const optionsOf = ({ options = [] }: Pick<CommandSpec, 'options'>): Word[] =>
  [...options, ...everywhere].flatMap(([flags, about]) =>
    (flags.match(/--[\w-]+/g) ?? []).map((word) => ({ word, about })),
  )

/** The kinds of names in the arguments of a command: `models` and `releases` of `<release-or-model>`. */
const asksOf = ({ name }: Pick<CommandSpec, 'name'>): string[] =>
  [...name.matchAll(/[<[]([\w-]+)[>\]]/g)]
    .flatMap(([, argument]) => argument!.split('-or-'))
    .map((each) => `${each}s`)
    .filter((each) => Object.hasOwn(names, each))

export function completionPlaces(specs: CommandSpecs): Place[] {
  const leaf = (path: string, spec: CommandSpec): Place => ({
    path,
    words: [
      ...Object.entries(spec.values ?? {}).flatMap(([argument, values]) =>
        values.map((word) => ({ word, about: `<${argument}>` })),
      ),
      ...optionsOf(spec),
    ],
    asks: asksOf(spec),
  })
  const named = (each: { name: string; summary: string }): Word => ({
    word: typedWord(each),
    about: each.summary,
  })
  return [
    {
      path: '',
      words: [
        ...specs.map(named),
        { word: '--help', about: 'Show help' },
        { word: '--version', about: 'Show version' },
      ],
    },
    ...specs.flatMap((spec) => {
      const name = typedWord(spec)
      if (!('commands' in spec)) return [leaf(name, spec)]
      const byDefault = spec.commands.find(({ isDefault }) => isDefault === true)
      const words = [...spec.commands.map(named), ...(byDefault === undefined ? [] : optionsOf(byDefault))]
      return [spec.name, ...(spec.alias === undefined ? [] : [spec.alias])].flatMap((group) => [
        { path: group, words, asks: byDefault && asksOf(byDefault) },
        ...spec.commands.map((each) => leaf(`${group} ${typedWord(each)}`, each)),
      ])
    }),
  ]
}

/** Returns the script for a shell to evaluate. */
export function completionScript(shell: Shell, specs: CommandSpecs): string {
  const places = completionPlaces(specs)
  switch (shell) {
    case 'bash':
      return bash(places)
    case 'zsh':
      return zsh(places)
    case 'fish':
      return fish(places)
    default:
      return shell satisfies never
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`
const pathsOf = (places: readonly Place[]): string[] =>
  places.flatMap(({ path }) => (path === '' ? [] : [quoted(path)]))

/** Builds the path from the words before the cursor, for bash and zsh. Skips words that extend no known path, such as options. */
const pathLoop = (
  places: readonly Place[],
  { from, to, word }: Record<'from' | 'to' | 'word', string>,
): string =>
  `for ((i = ${from}; i < ${to}; i++)); do
    word="\${at:+$at }${word}"
    case "$word" in
      ${pathsOf(places).join('|')}) at="$word" ;;
    esac
  done`

const bash = (
  places: readonly Place[],
): string => `# completion of tenure for bash: source <(tenure completion bash)
_tenure() {
  local at= word i words asks each
  ${pathLoop(places, { from: '1', to: 'COMP_CWORD', word: '${COMP_WORDS[i]}' })}
  case "$at" in
${places.map(({ path, words, asks = [] }) => `    ${quoted(path)}) words=${quoted(words.map(({ word }) => word).join(' '))}; asks=${quoted(asks.join(' '))} ;;`).join('\n')}
  esac
  if [[ "\${COMP_WORDS[COMP_CWORD]}" != -* ]]; then
    for each in $asks; do words="$words $(tenure completion "$each" 2>/dev/null)"; done
  fi
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _tenure tenure
`

const zsh = (places: readonly Place[]): string => `#compdef tenure
# completion of tenure for zsh: source <(tenure completion zsh)
_tenure() {
  local at= word i each
  local -a choices asks
  ${pathLoop(places, { from: '2', to: 'CURRENT', word: '${words[i]}' })}
  case "$at" in
${places
  .map(
    ({ path, words, asks = [] }) =>
      `    ${quoted(path)}) choices=(${words.map(({ word, about }) => quoted(`${word}:${about}`)).join(' ')}); asks=(${asks.join(' ')}) ;;`,
  )
  .join('\n')}
  esac
  if [[ "\${words[CURRENT]}" != -* ]]; then
    for each in $asks; do choices+=(\${(f)"$(tenure completion $each 2>/dev/null)"}); done
  fi
  _describe 'tenure' choices || _files
}
compdef _tenure tenure
`

const fish = (
  places: readonly Place[],
): string => `# completion of tenure for fish: tenure completion fish | source
function __tenure_at
  set -l at ''
  for word in (commandline -opc)[2..]
    set -l next (string trim "$at $word")
    contains -- "$next" ${pathsOf(places).join(' ')}; and set at "$next"
  end
  test "$at" = "$argv[1]"
end
${places
  .flatMap(({ path, words, asks = [] }) => {
    const at = `complete -c tenure -n ${quoted(`__tenure_at ${quoted(path)}`)}`
    return [
      ...words.map(({ word, about }) => {
        const name = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${quoted(word)}`
        return `${at} ${name} -d ${quoted(about)}`
      }),
      ...asks.map((each) => `${at} -f -a ${quoted(`(tenure completion ${each} 2>/dev/null)`)}`),
    ]
  })
  .join('\n')}
`
