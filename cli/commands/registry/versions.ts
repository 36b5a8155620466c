/** `tenure versions`: the registry. What is there, which of it is good, how two of them differ, and what to know of one. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { ComparedField, VersionComparison } from '../../../domain/registry/version-diff.ts'
import type { ModelCard } from '../../../domain/registry/model-card.ts'
import { cardMarkdown } from '../../../domain/registry/model-card-markdown.ts'
import { versionStatuses } from '../../../domain/registry/version-query.ts'
import type { ModelAnswer, VersionAnswer } from '../../client/responses.ts'
import { failure } from '../../client/client.ts'
import type { CommandGroup, Options, Session } from '../../program.ts'
import { tableOf, type Terminal } from '../../terminal.ts'
import { orDash, short, time } from '../format.ts'

interface VersionPage {
  versions: VersionAnswer[]
  next_cursor?: string
}

const naming = 'model_v1.2.0, model@v1.2.0, model@champion or model@latest'

export const versionsGroup: CommandGroup = {
  name: 'versions',
  summary: 'registered versions: list, search, compare, card',
  commands: [
    {
      name: 'list [model]',
      isDefault: true,
      summary: 'lists registered versions, the highest number first',
      options: [['--limit <n>', 'how many (default: 50)']],
      examples: ['versions', 'versions iris --json', 'versions list iris --limit 200'],
      async run(session, { args, options }) {
        await show(session, { model: args[0], limit: String(options['limit'] ?? 50) })
      },
    },
    {
      name: 'search [text]',
      summary: 'finds versions by metric, status, date, data, or a text in name, reason and hyperparameters',
      options: [
        ['--model <model>', 'of this model only'],
        ['--metric <conditions>', 'such as "auc>0.8,brier<0.2"; all of them hold'],
        ['--status <status>', `one of ${Object.keys(versionStatuses).join(', ')}`],
        ['--since <time>', 'registered from then on: a day or a time'],
        ['--until <time>', 'registered before then'],
        ['--data <digest>', 'trained on the snapshot whose digest begins so'],
        [
          '--order <order>',
          'version, newest, oldest, or a metric: the best first, with - before it the worst',
        ],
        ['--limit <n>', 'how many (default: 20)'],
        ['--cursor <cursor>', 'go on where the page before has ended'],
      ],
      examples: [
        'versions search --model iris --metric "accuracy>0.95" --order accuracy',
        'versions search --status proven --since 2026-01-01',
        'versions search dropout --json',
      ],
      async run(session, { args, options }) {
        const { model, metric, status, since, until, data, order, cursor } = textsOf(options)
        const limit = String(options['limit'] ?? 20)
        await show(session, {
          text: args[0],
          model,
          metric,
          status,
          since,
          until,
          data,
          order,
          cursor,
          limit,
        })
      },
    },
    {
      name: 'compare <one> <other>',
      summary:
        'shows in what two versions differ: metrics, hyperparameters, data, features, code, training, size',
      options: [['--all', 'also what is the same in both']],
      examples: [
        'versions compare iris_v1.0.0 iris_v1.1.0',
        'versions compare iris@champion iris@latest --all',
      ],
      async run({ terminal, api }, { args, options }) {
        const [one, other] = args
        const answer = await api().get<VersionComparison>('/v1/versions/compare', { one, other })
        terminal.answer(answer, comparisonText(terminal, answer, { all: options['all'] === true }))
      },
    },
    {
      name: 'card <version-or-model>',
      summary: 'prints the card of a version, or of the champion of a model, in Markdown',
      options: [['--out <file>', 'write it to a file instead']],
      examples: [
        'versions card iris',
        'versions card iris_v1.0.0 --out iris.md',
        'versions card iris --json',
      ],
      async run(session, { args, options }) {
        const { terminal, api } = session
        const version = await versionNamed(session, String(args[0]))
        const card = await api().get<ModelCard>(`/v1/versions/${encodeURIComponent(version)}/card`)
        const page = cardMarkdown(card)
        if (options['out'] === undefined) return terminal.answer(card, page.trimEnd())
        const file = resolve(String(options['out']))
        await writeFile(file, page, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
          throw failure({
            code: 'usage',
            detail:
              error.code === 'EEXIST'
                ? `${file} exists already`
                : `${file} cannot be written: ${error.message}`,
            remedy: 'Name another file; nothing is overwritten.',
          })
        })
        terminal.answer({ ...card, file }, `The card of ${version} is in ${file}`)
      },
    },
  ],
}

/** Options that were given a text. */
function textsOf(options: Options): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name, typeof value === 'string' ? value : undefined]),
  )
}

async function show({ terminal, api }: Session, query: Record<string, string | undefined>): Promise<void> {
  const answer = await api().get<VersionPage>('/v1/versions', query)
  terminal.answer(answer, pageText(terminal, answer, query))
}

function pageText(
  terminal: Terminal,
  { versions, next_cursor: next }: VersionPage,
  query: Record<string, string | undefined>,
): string {
  if (versions.length === 0) {
    const isSearch = Object.entries(query).some(([name, value]) => name !== 'limit' && value !== undefined)
    return isSearch ? 'No version fits.' : 'No version yet. `tenure retrain <model>` makes one.'
  }
  // The metrics of the first name the columns: versions of one model have the same.
  const metrics = Object.keys(versions[0]?.metrics ?? {}).slice(0, 3)
  const rows = versions.map((each) => [
    each.version,
    coloured(terminal, each.status),
    time(each.created_at),
    each.created_by,
    ...metrics.map((name) => figure(each.metrics?.[name])),
    short(each.artifact_digest),
    time(each.proven_at),
    time(each.withdrawn_at),
  ])
  const head = [
    'version',
    'status',
    'created (UTC)',
    'asked for by',
    ...metrics,
    'artifact',
    'proven',
    'withdrawn',
  ]
  const more =
    next === undefined ? [] : ['', `There are more: --limit, or \`versions search … --cursor ${next}\`.`]
  return [tableOf(head, rows), ...more].join('\n')
}

const figure = (value: number | undefined): string =>
  value === undefined ? '–' : String(Number(value.toPrecision(4)))

function coloured({ paint }: Terminal, status: string | undefined): string {
  if (status === 'champion' || status === 'proven') return paint('green', status)
  if (status === 'withdrawn') return paint('red', status)
  return orDash(status)
}

function comparisonText(
  { paint, columns }: Terminal,
  { one, other, differences, same, notes }: VersionComparison,
  { all }: { all: boolean },
): string {
  const most = Math.max(16, Math.floor((Math.min(columns, 160) - 40) / 2))
  const shown = (value: ComparedField['one']): string => {
    const text =
      typeof value === 'number'
        ? String(Number(value.toPrecision(6)))
        : orDash(value === null ? null : String(value))
    return text.length > most ? `${text.slice(0, most - 1)}…` : text
  }
  const rowOf = (each: ComparedField, isSame: boolean): string[] => {
    const better = (side: 'one' | 'other') => (text: string) =>
      each.better === side ? paint('green', text) : text
    return [
      isSame ? paint('dim', `${each.section} ${each.field}`) : `${each.section} ${each.field}`,
      better('one')(shown(each.one)),
      better('other')(shown(each.other)),
      each.difference === undefined || isSame
        ? ''
        : `${each.difference > 0 ? '+' : ''}${figure(each.difference)}`,
    ]
  }
  const rows = [
    ...differences.map((each) => rowOf(each, false)),
    ...(all ? same.map((each) => rowOf(each, true)) : []),
  ]
  return [
    ...notes.map((note) => paint('yellow', note)),
    rows.length === 0
      ? `${one} and ${other} differ in nothing that is kept.`
      : tableOf(['', one, other, 'difference'], rows),
    ...(all || same.length === 0
      ? []
      : ['', paint('dim', `${same.length} further fields are the same (--all).`)]),
  ].join('\n')
}

/** A version by its name, or the champion of a model by the model's. */
async function versionNamed({ api }: Session, named: string): Promise<string> {
  const [, model = named, alias] = /^(.+)@(.+)$/.exec(named) ?? []
  if (alias === undefined && /_v\d/.test(named)) return named
  if (alias !== undefined && /^v?\d/.test(alias))
    return `${model}_${alias.startsWith('v') ? '' : 'v'}${alias}`
  if (alias === 'latest') {
    const { versions } = await api().get<VersionPage>('/v1/versions', { model, limit: 1 })
    if (versions[0] !== undefined) return versions[0].version
  } else if (alias === undefined || alias === 'champion') {
    const { champion } = await api().get<ModelAnswer>(`/v1/models/${encodeURIComponent(model)}`)
    if (champion !== undefined) return champion.version
  }
  throw failure({
    code: 'version_not_found',
    status: 404,
    detail: `${named} names no version`,
    remedy: `Name it as ${naming}; \`tenure versions\` lists them.`,
  })
}
