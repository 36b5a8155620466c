/** `tenure completion`: prints the shell completion script. */
import { usageError } from '../../client/client.ts'
import { type CommandGroup, type CommandSpec, typedWord, type CommandSpecs } from '../../program.ts'

export const completionCommand = (commands: () => readonly (CommandSpec | CommandGroup)[]): CommandSpec => ({
  name: 'completion <shell>',
  summary: 'Print the completion for bash, zsh or fish, to be sourced by the shell',
  examples: ['completion bash', 'completion zsh', 'completion fish'],
  run({ terminal }, { args }) {
    const [shell = ''] = args
    if (!isShell(shell)) throw usageError(`there is completion for ${shells.join(', ')}, not for ${shell}`)
    const script = completionScript(shell, commands())
    terminal.answer({ shell, script }, script)
    return Promise.resolve()
  },
})

const isShell = (name: string): name is Shell => (shells as readonly string[]).includes(name)

// Generates the shell completion of `tenure` from the commands: words, options and their descriptions.

const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

interface Word {
  word: string
  about: string
}

/** A path such as `''`, `releases` or `releases show`, and the words that can follow it. */
interface Place {
  path: string
  words: Word[]
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

export function completionPlaces(specs: CommandSpecs): Place[] {
  const leaf = (path: string, spec: CommandSpec): Place => ({ path, words: optionsOf(spec) })
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
        { path: group, words },
        ...spec.commands.map((each) => leaf(`${group} ${typedWord(each)}`, each)),
      ])
    }),
    {
      path: 'completion',
      words: [...shells.map((word) => ({ word, about: `For ${word}` })), ...optionsOf({})],
    },
  ]
}

/** Returns the script for a shell to evaluate. */
export function completionScript(shell: Shell, specs: CommandSpecs): string {
  // The last place of a path wins, because the place of `completion` knows its argument.
  const places = [...new Map(completionPlaces(specs).map((place) => [place.path, place])).values()]
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
  local at= word i words
  ${pathLoop(places, { from: '1', to: 'COMP_CWORD', word: '${COMP_WORDS[i]}' })}
  case "$at" in
${places.map(({ path, words }) => `    ${quoted(path)}) words=${quoted(words.map(({ word }) => word).join(' '))} ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _tenure tenure
`

const zsh = (places: readonly Place[]): string => `#compdef tenure
# completion of tenure for zsh: source <(tenure completion zsh)
_tenure() {
  local at= word i
  local -a choices
  ${pathLoop(places, { from: '2', to: 'CURRENT', word: '${words[i]}' })}
  case "$at" in
${places
  .map(
    ({ path, words }) =>
      `    ${quoted(path)}) choices=(${words.map(({ word, about }) => quoted(`${word}:${about}`)).join(' ')}) ;;`,
  )
  .join('\n')}
  esac
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
  .flatMap(({ path, words }) =>
    words.map(({ word, about }) => {
      const name = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${quoted(word)}`
      return `complete -c tenure -n ${quoted(`__tenure_at ${quoted(path)}`)} ${name} -d ${quoted(about)}`
    }),
  )
  .join('\n')}
`
