/** Tests that every `tenure` command that alerts, remedies, runbooks and docs name exists, with its options. */
import { describe, expect, it } from 'vitest'
import { commands } from '../../cli/commands/all-commands.ts'
import { packageJson } from '../../cli/init/write-project.ts'
import { kindsOfAlerts } from '../../domain/monitoring/alert-kinds.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { readTexts } from '../tidy/source.ts'

const specs = commands.flatMap((each) =>
  'commands' in each
    ? each.commands.flatMap((command) =>
        [each.name, each.alias].flatMap((group) =>
          group === undefined
            ? []
            : [
                { ...command, words: [group, command.name.split(' ')[0]!] },
                ...(command.isDefault === true ? [{ ...command, words: [group] }] : []),
              ],
        ),
      )
    : [{ ...each, words: [each.name.split(' ')[0]!] }],
)
/** Groups without a default command are named as a whole; two texts only begin with the name of the system. */
const groups = new Set(commands.flatMap((each) => ('commands' in each ? [each.name] : [])))
const notCommands = new Set(['form\\n${cookie}'])
const common = ['--json', '--url', '--help', '--version']

/** Why a command line does not exist; undefined when it does. */
function issueOf(line: string): string | undefined {
  const words = line.trim().split(/\s+/).slice(1)
  const first = words[0]
  if (first === undefined || /^[-<…[$]/.test(first) || first === 'help' || notCommands.has(first))
    return undefined
  const found = specs
    .filter((spec) => spec.words.every((word, at) => words[at] === word))
    .toSorted((a, b) => b.words.length - a.words.length)[0]
  if (words.length === 1 && groups.has(first)) return undefined
  if (found === undefined) return `${line}: no such command`
  const flags = [...common, ...(found.options ?? []).flatMap(([each]) => each.match(/--[\w-]+/g) ?? [])]
  const unknown = words
    .flatMap((word) => /^--[\w-]+/.exec(word) ?? [])
    .filter((flag) => !flags.includes(flag))
  return unknown.length === 0 ? undefined : `${line}: no option ${unknown.join(', ')}`
}

const linesIn = (text: string): string[] =>
  [...text.matchAll(/\\?`(?:npx )?(tenure [^`\n|]+?)\\?`/g)].map(([, line]) => line!)

/** The commands of the shell blocks of a page, each up to its comment, pipe or end. */
const linesOfBlocks = (page: string): string[] =>
  blocksOf(page)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.replaceAll('\\\n', ' ').split('\n'))
    .flatMap((line) => [
      ...line.replace(/(^|\s)#.*$/, '').matchAll(/(?:^|[;&|(])\s*(?:\w+=\S+ )*(?:npx )?(tenure [^|;&)>]+)/g),
    ])
    .map(([, line]) => line!)

describe('commands that are named', () => {
  it.each(Object.entries(kindsOfAlerts))('by the alert %s exist', (_, { next }) => {
    expect(linesIn(next).flatMap((line) => issueOf(line) ?? [])).toEqual([])
  })

  it('by messages, remedies, runbooks and docs exist', () => {
    const texts = readTexts().filter(
      ({ path }) =>
        (/\.(tsx?|md)$/.test(path) &&
          !/^(test|packages\/(lab|python)|docs\/generate|node_modules)\//.test(path)) ||
        path.startsWith('docs/'),
    )
    const lines = texts.flatMap(({ path, text }) =>
      [...linesIn(text), ...(path.endsWith('.md') ? linesOfBlocks(text) : [])].map((line) => ({
        path,
        line,
      })),
    )
    expect(lines.length).toBeGreaterThan(400)
    expect(
      lines.flatMap(({ path, line }) => (issueOf(line) === undefined ? [] : [`${path}: ${issueOf(line)}`])),
    ).toEqual([])
  })

  it('and a command or an option that does not exist is found', () => {
    expect(issueOf('tenure evaluate iris')).toMatch(/no such command/)
    expect(issueOf('tenure retrain iris --hard')).toMatch(/no option --hard/)
  })
})

describe('blocks of the pages', () => {
  const plan = { language: 'typescript', name: 'shop', model: 'm', tenure: '1', example: '{}' } as const
  const scripts = Object.keys(packageJson(plan).scripts)
  /** Pages on what only a checkout of Tenure has; each says so. */
  const ofCheckout = [
    'docs/tutorial.md',
    'docs/how-to/machines/container-image.md',
    'docs/how-to/machines/temporal-cluster.md',
  ]
  const issuesIn = (page: string): string[] =>
    blocksOf(page).flatMap(({ language, text }) =>
      language === 'ts'
        ? (/from '\..*define\.ts'/.exec(text) ?? []).slice(0, 1)
        : language === 'sh'
          ? [
              ...[...text.matchAll(/npm run (?:-s )?([\w:-]+)/g)].flatMap(([line, script]) =>
                scripts.includes(script!) ? [] : [line],
              ),
              ...(/^.*\btsx .*$/m.exec(text) ?? []),
            ]
          : [],
    )
  const pages = readTexts().filter(({ path }) => /^docs\/.*\.md$/.test(path))

  it("run in a project of one's own", () => {
    const ofProjects = pages.filter(({ path }) => !ofCheckout.includes(path))
    expect(ofProjects.length).toBeGreaterThan(80)
    expect(
      ofProjects.flatMap(({ path, text }) => issuesIn(text).map((issue) => `${path}: ${issue}`)),
    ).toEqual([])
  })

  it.each(ofCheckout)('of %s need a checkout, which it says', (path) => {
    const { text } = pages.find((page) => page.path === path)!
    expect(issuesIn(text)).not.toEqual([])
    expect(text).toMatch(/checkout/)
  })
})
