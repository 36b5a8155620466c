/** Checks that every relative link and anchor of every page resolves, and that every file that a page names exists. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { metricTable } from '../../api/metrics/metric-catalogue.ts'
import { commands } from '../../cli/commands/all-commands.ts'
import { checkout } from '../../temporal.config.ts'
import { anchorsOf, blocksOf, codeOf, linksOf } from '../support/docs/markdown.ts'

const pages = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.md'], {
  cwd: checkout,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(checkout, path)))

const textOf = (path: string) => readFileSync(join(checkout, path), 'utf8')

/** Returns the broken links of a page. */
function issuesOfLinks(page: string, text: string): string[] {
  return linksOf(text).flatMap((link) => {
    if (/^[a-z][a-z+.-]*:/i.test(link)) return []
    const [path = '', anchor] = decodeURI(link).split('#')
    const target = path === '' ? page : normalize(join(dirname(page), path))
    if (target.startsWith('..')) return [`${link} leads out of the project`]
    if (!existsSync(join(checkout, target))) return [`${link} leads nowhere`]
    if (anchor === undefined || !target.endsWith('.md')) return []
    const there = target === page ? text : textOf(target)
    return anchorsOf(there).has(anchor) ? [] : [`${link} leads to no heading`]
  })
}

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
  cwd: checkout,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => existsSync(join(checkout, path)))

/** Whether a page may name this file without its folder: it is below the page's own folder or at the root; for a page of docs, anywhere. */
function isNear(page: string, name: string): boolean {
  const folder = page.startsWith('docs/') ? '.' : dirname(page)
  const isHere = (path: string) => folder === '.' || path === name || path.startsWith(`${folder}/`)
  return files.some((path) => basename(path) === name && isHere(path))
}
const folders = readdirSync(checkout).filter((name) => statSync(join(checkout, name)).isDirectory())

/**
 * Returns the project paths that a page names as code and that are not there. `name.ts` alone is a file near the page; `…`, `*` and `<…>` are
 * placeholders. Ignores text with `$` or a space, which is to be typed, and files that a reader is told to make.
 */
function issuesOfPaths(page: string, text: string): string[] {
  const written = new Set(blocksOf(text).map(({ notes }) => notes['file']))
  return codeOf(text).flatMap((code) => {
    const path = code.replace(/^\.\//, '').replace(/:\d+$/, '')
    if (/[\s$*<>…{}()'"@:,|]|^\/|^~/.test(path)) return []
    const [first = ''] = path.split('/')
    if (!path.includes('/')) {
      const isGone = /\.(?:tsx?|mjs|sql)$/.test(path) && !isNear(page, path) && !written.has(path)
      return isGone ? [`${code} is not there`] : []
    }
    const isOurs = folders.includes(first) && first !== 'node_modules'
    if (!isOurs) return []
    const isThere = existsSync(join(checkout, path)) || existsSync(join(checkout, dirname(page), path))
    return isThere || written.has(path) || path.endsWith('/') ? [] : [`${code} is not there`]
  })
}

/** Words of the sources: identifiers, tables, fields and codes. Names in this file do not count. */
const sourceWords = new Set(
  execFileSync(
    'git',
    [
      'ls-files',
      '-co',
      '--exclude-standard',
      '--',
      '*.ts',
      '*.tsx',
      '*.mjs',
      '*.sql',
      '*.py',
      '*.json',
      '*.proto',
      '*.yaml',
      '*.yml',
    ],
    {
      cwd: checkout,
      encoding: 'utf8',
    },
  )
    .split('\n')
    .filter((path) => path !== '' && !path.endsWith('docs/links.test.ts') && existsSync(join(checkout, path)))
    .flatMap((path) => textOf(path).match(/\w+/g) ?? []),
)
/** Names of other projects, and a code that is put together. */
const foreignWords = new Set([
  'error_message',
  'raw_output_contents',
  'pred_contrib',
  'ab_worse',
  'train_test_split',
  'cross_val_score',
  // Models of scikit-learn that ONNX Runtime answers otherwise, so that no test has one.
  'KNeighborsClassifier',
  'KNeighborsRegressor',
  'PowerTransformer',
])

/** Returns the identifiers, tables and codes that a page names and no source has. */
const issuesOfNames = (text: string): string[] =>
  codeOf(text).flatMap((code) => {
    const name = /^([A-Za-z]\w*)(?:\(\))?$/.exec(code)?.[1]
    const isOurs = name !== undefined && /[a-z][A-Z]|_/.test(name) && !foreignWords.has(name)
    return isOurs && !sourceWords.has(name) ? [`${name} is in no source`] : []
  })

interface Typed {
  words: string[]
  flags: string[]
}

/** Returns what can follow `tenure`: the words of each command, and its flags. A group alone runs its default command. */
const known: Typed[] = commands.flatMap((each) => {
  if (!('commands' in each)) return [{ words: [wordOf(each.name)], flags: flagsOf(each) }]
  const [first] = each.commands.filter(({ isDefault }) => isDefault === true)
  return [
    { words: [each.name], flags: first === undefined ? [] : flagsOf(first) },
    ...each.commands.map((command) => ({
      words: [each.name, wordOf(command.name)],
      flags: flagsOf(command),
    })),
  ]
})

function wordOf(name: string): string {
  return name.split(' ')[0] ?? name
}
function flagsOf({ options = [] }: { options?: readonly (readonly [string, string])[] }): string[] {
  return [...options.flatMap(([flags]) => flags.match(/--[a-z-]+/g) ?? []), '--json', '--url', '--help']
}

/** Returns the `tenure` commands on a page that do not exist or lack a flag. */
function issuesOfCommands(text: string): string[] {
  const typed = blocksOf(text)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text: block }) => [
      ...block.matchAll(/(?:^|npx |[|(;&=] *)tenure ([a-z](?:"[^"]*"|[^\n|>#;&)])*)/gm),
    ])
  const said = codeOf(text).flatMap((code) => [...code.matchAll(/^(?:npx )?tenure ([a-z].*)/g)])
  return [...typed, ...said].flatMap(([, rest = '']) => {
    const words = rest.replaceAll(/"[^"]*"/g, '').split(/\s+/)
    const command = known
      .filter((each) => each.words.every((word, index) => words[index] === word))
      .sort((a, b) => b.words.length - a.words.length)[0]
    if (command === undefined) return [`there is no command tenure ${words[0]}`]
    return words
      .filter((word) => /^--[a-z]/.test(word) && !command.flags.includes(word))
      .map((flag) => `tenure ${command.words.join(' ')} has no ${flag}`)
  })
}

/** Returns the lines of a page that type `tenure`, which is on the PATH only after `npm link`, without `npx`. */
const bareCommands = (text: string): string[] =>
  blocksOf(text)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text: block }) => block.match(/(?:^|\| )\s*tenure [a-z].*/gm) ?? [])

/** The reports of benches also name what peers have, and the changelog what is gone. */
const guides = pages.filter(
  (page) => page.startsWith('docs/') || (!page.includes('/') && page !== 'CHANGELOG.md'),
)

const scriptsOf = (path: string): Record<string, string> =>
  (JSON.parse(textOf(path)) as { scripts?: Record<string, string> }).scripts ?? {}
const scripts = scriptsOf('package.json')
const benches = new Set(
  [...textOf('packages/lab/bench.ts').matchAll(/^ {2}'?([a-z-]+)'?: \[/gm)].map(([, name]) => name!),
)

/** Returns the scripts and benches that a text tells to run and that are not there. A page for projects may name theirs. */
const issuesOfScripts = (text: string): string[] =>
  [
    ...text.matchAll(/npm run (?:-s )?([a-z][\w:-]*)(?: -w (\S+?)(?=[`\s]))?(?: -- ([a-z][a-z-]*))?/g),
  ].flatMap(([line, script = '', workspace, bench]) => {
    const own = workspace === undefined ? scripts : scriptsOf(`packages/${basename(workspace)}/package.json`)
    const isThere =
      script in own &&
      (script !== 'bench' || bench === undefined || workspace !== undefined || benches.has(bench))
    return isThere ? [] : [`${line} runs nothing`]
  })

/** Returns the metrics that a page names and that Tenure does not have. */
const issuesOfMetrics = (text: string): string[] =>
  codeOf(text).filter(
    (code) =>
      /^tenure_[a-z]+(?:_[a-z0-9]+)*_(?:total|seconds|bytes|rows|entries|open)$/.test(code) &&
      !(code in metricTable),
  )

describe('every page', () => {
  it('has existing link targets only, and names existing files, names, commands, scripts and metrics only', () => {
    const issues = pages.flatMap((page) => {
      const text = textOf(page)
      return [
        ...issuesOfLinks(page, text),
        ...issuesOfPaths(page, text),
        ...(guides.includes(page) ? issuesOfNames(text) : []),
        ...issuesOfCommands(text),
        ...issuesOfScripts(text),
        ...issuesOfMetrics(text),
      ].map((issue) => `${page}: ${issue}`)
    })
    expect(pages.length).toBeGreaterThan(150)
    expect(issues).toEqual([])
  })

  // The reference of the command line begins with how to type them.
  it('types commands with npx', () => {
    const guides = pages.filter((page) => !page.startsWith('docs/reference/'))
    expect(guides.flatMap((page) => bareCommands(textOf(page)).map((line) => `${page}: ${line}`))).toEqual([])
    expect(bareCommands('```sh\ntenure status\nnpx tenure status\n```')).toEqual(['tenure status'])
  })

  it('can be reached from README.md', () => {
    const reached = new Set(['README.md'])
    for (const page of reached)
      for (const link of linksOf(textOf(page))) {
        if (/^[a-z]+:/i.test(link)) continue
        const target = normalize(join(dirname(page), link.split('#')[0] ?? ''))
        const listed = existsSync(join(checkout, target)) && statSync(join(checkout, target)).isDirectory()
        // A link to a folder leads to its files.
        if (listed)
          for (const each of pages) if (dirname(each) === target.replace(/\/$/, '')) reached.add(each)
        if (pages.includes(target)) reached.add(target)
      }
    expect(pages.filter((page) => !reached.has(page) && !page.startsWith('test/'))).toEqual([])
  })
})

describe('the link check detects', () => {
  const page = 'docs/architecture.md'
  it.each([
    ['a page that is not there', '[a](gone.md)', 'gone.md leads nowhere'],
    ['a heading that is not there', '# One\n[a](#two)', '#two leads to no heading'],
    ['a heading of another page', '[a](judgements.md#two)', 'judgements.md#two leads to no heading'],
    ['a way out of the project', '[a](../../x.md)', '../../x.md leads out of the project'],
    ['a picture', '![a](images/gone.svg)', 'images/gone.svg leads nowhere'],
    ['a reference', 'see [a]\n\n[a]: gone.md', 'gone.md leads nowhere'],
  ])('%s', (_name, text, issue) => expect(issuesOfLinks(page, text)).toEqual([issue]))

  it.each([
    ['a heading with signs', '# What `it` does, & why\n[a](#what-it-does--why)'],
    ['the second heading of its name', '# A\n# A\n[a](#a-1)'],
    ['another host', '[a](https://example.org/x)'],
    ['a link in code', '`[a](gone.md)`\n```\n[a](gone.md)\n```'],
  ])('but not %s', (_name, text) => expect(issuesOfLinks(page, text)).toEqual([]))

  it('a file, a command and a block without an end', () => {
    expect(issuesOfPaths(page, '`domain/gone.ts` and `domain/evaluation/gate.ts` and `domain/*.ts`')).toEqual(
      ['domain/gone.ts is not there'],
    )
    expect(issuesOfPaths(page, '`gone.ts`, `gate.ts` and `gate.gone`')).toEqual(['gone.ts is not there'])
    // The README of a folder names its own files.
    const own = '`exchange.ts`, `fast-path.ts` and `vitest.config.ts`'
    expect(issuesOfPaths('api/transport/README.md', own)).toEqual(['fast-path.ts is not there'])
    const typed =
      '```sh\nnpx tenure dance iris\ntenure status\ntenure keys list --loud # --soft\n```\n`tenure sing`'
    expect(issuesOfCommands(typed)).toEqual([
      'there is no command tenure dance',
      'tenure keys list has no --loud',
      'there is no command tenure sing',
    ])
    expect(() => blocksOf('```sh\nnpx tenure up')).toThrow('the block of line 1 has no end')
  })

  it('a script, a bench and a metric that are not there', () => {
    const text =
      '`npm run dance`, `npm run bench -- dance`, `npm run bench -- fleet links`, `npm run sing -w @tenure/lab`'
    expect(issuesOfScripts(text)).toEqual([
      'npm run dance runs nothing',
      'npm run bench -- dance runs nothing',
      'npm run sing -w @tenure/lab runs nothing',
    ])
    expect(issuesOfMetrics('`tenure_songs_total`')).toEqual(['tenure_songs_total'])
  })

  it('a block with what a test needs to know of it', () =>
    expect(blocksOf('<!-- shows: promoted -->\n```sh\na\nb\n```\ntext\n```ts\nc\n```')).toEqual([
      { language: 'sh', text: 'a\nb', line: 2, notes: { shows: 'promoted' } },
      { language: 'ts', text: 'c', line: 7, notes: {} },
    ]))
})

it('the check of names detects a table and an activity that are not there', () =>
  expect(
    issuesOfNames('`alert_notifications`, `alert_letters`, `checkLabelDrift` and `judgeLabelTide()`'),
  ).toEqual(['alert_letters is in no source', 'judgeLabelTide is in no source']))
