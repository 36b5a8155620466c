/** `tenure versions`: lists, searches and compares registered versions, and prints model cards. */
import { open, readdir, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import type { ComparedField, VersionComparison } from '../../../domain/registry/version-diff.ts'
import type { ModelCard } from '../../../domain/registry/model-card.ts'
import { cardMarkdown } from '../../../domain/registry/model-card-markdown.ts'
import { broughtLibraries } from '@tenure/predictors/format-names'
import { loadIssue, loadTestLimits, type LoadTest } from '../../../domain/model/load-test.ts'
import { codeFolder } from '../../../domain/model/brought-artifact.ts'
import { codeLimits, isOfCode } from '../../../domain/model/brought-code.ts'
import { metricText } from '../../../domain/figures.ts'
import { versionStatuses } from '../../../domain/registry/version-query.ts'
import { packCode } from '../../../store/bundles/brought-code.ts'
import type { ModelAnswer, VersionAnswer } from '../../client/responses.ts'
import {
  failure,
  path,
  usageError,
  unreadable,
  type Client,
  type QueryParameters,
} from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import { numberOption } from '../../number-option.ts'
import type { CommandGroup, CommandSession } from '../../program.ts'
import { tableBy, tableOf, type Columns, type Terminal } from '../../terminal.ts'
import { follow } from '../follow.ts'
import { orDash, digestPrefix, shownMetrics } from '../format.ts'
import { listOfModels, listQuery, requireModel } from '../list.ts'
import { evaluateAsOfOption } from '../lifecycle/training-options.ts'
import { printStarted, warnOfChangedFile, type StartedReply } from '../lifecycle/retrain.ts'

type BroughtReply = StartedReply & {
  artifact: { file: string; library: string; unused: string[]; by_place?: string[] }
}

interface FailedRequestAnswer {
  at: string
  arm: string
  code: string
  message: string
  routing_key?: string
  inputs: Record<string, unknown>[]
}

interface VersionPage {
  versions: VersionAnswer[]
  next_cursor?: string
}

const versionForms = 'model_v1.2.0, model@v1.2.0, model@champion or model@latest'

export const versionsGroup: CommandGroup = {
  name: 'versions',
  summary: 'List, search, compare and load-test versions, and print model cards',
  commands: [
    {
      ...listOfModels,
      summary: 'List registered versions, highest first',
      options: [
        ...listOfModels.options,
        ['--limit <n>', 'Number of versions (default: 50)'],
        ['--cursor <cursor>', 'Continue after the previous page'],
      ],
      examples: ['versions', 'versions iris --json', 'versions iris --limit 200'],
      async run(session, input) {
        await printPage(session, { limit: 50, ...listQuery(input) })
      },
    },
    {
      name: 'search [text]',
      summary: 'Find versions by metric, status, date, data, or text in name, reason and hyperparameters',
      options: [
        ['--model <model>', 'Only this model'],
        ['--metric <conditions>', 'Conditions that must all hold, such as "auc>0.8,brier<0.2"'],
        ['--status <status>', `One of ${Object.keys(versionStatuses).join(', ')}`],
        ['--since <time>', 'Registered at or after this day or time'],
        ['--until <time>', 'Registered before this day or time'],
        ['--data <digest>', 'Trained on the snapshot with this digest prefix'],
        ['--order <order>', 'version, newest, oldest, or a metric (best first; prefix - for worst first)'],
        ['--limit <n>', 'Number of versions (default: 20)'],
        ['--cursor <cursor>', 'Continue after the previous page'],
      ],
      examples: [
        'versions search --model iris --metric "accuracy>0.95" --order accuracy',
        'versions search --status known_good --since 2026-01-01',
        'versions search dropout --json',
      ],
      async run(session, { args, options }) {
        await printPage(session, { text: args[0], limit: 20, ...options })
      },
    },
    {
      name: 'compare <one> <other>',
      summary: 'Compare two versions: metrics, hyperparameters, data, features, code, training, size',
      options: [['--all', 'Also show identical fields']],
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
      name: 'failures <version-or-model>',
      summary:
        'List the newest requests that a version, or the champion of a model, failed, with their inputs',
      options: [['--limit <n>', 'Number of requests (default: 10)']],
      examples: ['versions failures iris', 'versions failures iris_v1.0.0 --limit 100 --json'],
      async run({ terminal, api }, { args, options }) {
        const version = await versionNamed(api(), String(args[0]))
        const answer = await api().get<{ failures: FailedRequestAnswer[] }>(
          path`/v1/versions/${version}/failures`,
          { limit: 10, ...options },
        )
        const text = answer.failures.map(
          ({ at, arm, code, message, routing_key: key, inputs }) =>
            `${at}  ${arm}  ${code}${key === undefined ? '' : `  key ${key}`}\n  ${message}\n  ${inputs.length === 0 ? 'its inputs were not kept' : JSON.stringify(inputs)}`,
        )
        terminal.answer(
          answer,
          text.length === 0 ? `No failed request of ${version} is kept.` : text.join('\n'),
        )
      },
    },
    {
      name: 'register <model>',
      summary:
        'Register a version that was trained elsewhere; it is evaluated and released like a retraining',
      options: [
        [
          '--artifact <file>',
          `File of the model: of ${broughtLibraries}; a folder of MLflow or with a serve.py; or a pickle. The last two are code, which an admin may bring`,
        ],
        ['--requirements <file>', 'requirements.txt of code, for a pickle or a folder without one'],
        [
          '--columns <file>',
          'columns.json, with the names and categories of the columns that the file of the model lacks',
        ],
        ['--trained-on <text>', 'What it was trained on; stored with the version'],
        [
          '--allow-unknown-categories <reason>',
          'Why the model may lack categories of more than 2 % of the training rows; stored with the version and in the audit log',
        ],
        [
          '--allow-other-versions <reason>',
          'Why a pickle may be loaded by another minor version of its library than the one that wrote it; stored with the version and in the audit log',
        ],
        ['--note, --reason <text>', 'Reason, stored with the version'],
        evaluateAsOfOption,
        ['--watch', 'Show the stages until the end; exit code 6 if there is no new version'],
      ],
      examples: [
        'versions register flight-delay --artifact model.txt --watch',
        'versions register flight-delay --artifact model.joblib --requirements requirements.txt',
        'versions register flight-delay --artifact model.txt --columns columns.json --trained-on "flights of 2001"',
      ],
      async run(session, { args, options }) {
        const model = String(args[0])
        if (options['artifact'] === undefined)
          throw usageError('--artifact is missing', 'Name the file of the model with --artifact FILE.')
        const form = new FormData()
        const requirements =
          options['requirements'] === undefined ? undefined : String(options['requirements'])
        form.set('artifact', await artifactOf(String(options['artifact']), requirements), 'artifact')
        if (options['columns'] !== undefined)
          form.set('columns', await fileOf(String(options['columns'])), 'columns.json')
        const notes = {
          trained_on: 'trainedOn',
          allow_unknown_categories: 'allowUnknownCategories',
          allow_other_versions: 'allowOtherVersions',
          as_of: 'asOf',
          note: 'reason',
        }
        for (const [field, option] of Object.entries(notes))
          if (options[option] !== undefined) form.set(field, String(options[option]))
        const started = await session.api().postForm<BroughtReply>(path`/v1/models/${model}/versions`, form)
        const { file, library, unused, by_place: byPlace } = started.artifact
        if (unused.length > 0)
          session.terminal.say(`Features that the model does not take: ${unused.join(', ')}`)
        session.terminal.say(`${library} model read`)
        if (file === codeFolder)
          session.terminal.say(
            'It is code, which replicas run in a process of its own with the packages of its requirements',
          )
        if (byPlace !== undefined)
          session.terminal.say(
            `The file does not name its columns. They are taken in the order of the model file: ${byPlace.join(', ')}. If it was trained in another order, name them with --columns.`,
          )
        await warnOfChangedFile(session, model)
        return printStarted(session, {
          model,
          started,
          watch: options['watch'] === true,
          doing: [`Evaluating the version of ${model}`, 'the evaluation'],
        })
      },
    },
    {
      name: 'load-test <version>',
      summary:
        'Repeat the peak of the last week, times a factor, against a version; exit code 6 if it does not hold',
      options: [
        ['--factor <n>', 'How many times the busiest ten seconds of the last week (default: 2)'],
        ['--rate <n>', 'Requests per second, instead of a factor'],
        ['--seconds <n>', 'How long (default: 15)'],
      ],
      examples: ['versions load-test iris_v1.1.0', 'versions load-test iris@latest --rate 50 --seconds 5'],
      async run({ terminal, api }, { args, options }) {
        const place = path`/v1/versions/${String(args[0])}`
        const { maxFactor, maxRate, maxSeconds } = loadTestLimits
        const { id, version, rate } = await api().post<{ id: string; version: string; rate: number }>(
          `${place}/load-tests`,
          {
            factor: numberOption(options, 'factor', { min: 0.1, max: maxFactor }),
            rate: numberOption(options, 'rate', { min: 1, max: maxRate }),
            seconds: numberOption(options, 'seconds', { min: 1, max: maxSeconds, whole: true }),
          },
        )
        const { last, text } = await follow(
          terminal,
          () => api().get<{ running: boolean; last?: LoadTest; text?: string }>(`${place}/load-test`),
          ({ running, last: found }) => found?.id === id || !running,
          () =>
            terminal.progress(
              `load test of ${version} at ${Math.round(rate)} requests/s, or waiting for a train worker`,
            ),
        )
        if (last?.id !== id) {
          terminal.answer({ id }, `The load test of ${version} ended without a result; its workflow says why`)
          return exitCodes.otherwise
        }
        terminal.answer(last, `${version} ${text}`)
        const { report } = last
        const holds = report !== undefined && loadIssue(report.run, report.limitMs) === undefined
        return holds ? exitCodes.done : exitCodes.otherwise
      },
    },
    {
      name: 'card <version-or-model>',
      summary: 'Print the model card of a version, or of the champion of a model, in Markdown',
      options: [['--out <file>', 'Write to a file']],
      examples: [
        'versions card iris',
        'versions card iris_v1.0.0 --out iris.md',
        'versions card iris --json',
      ],
      async run({ terminal, api }, { args, options }) {
        const version = await versionNamed(api(), String(args[0]))
        const card = await api().get<ModelCard>(path`/v1/versions/${version}/card`)
        const page = cardMarkdown(card)
        if (options['out'] === undefined) return terminal.answer(card, page.trimEnd())
        const file = resolve(String(options['out']))
        await writeFile(file, page, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
          throw usageError(
            error.code === 'EEXIST' ? `${file} already exists` : `${file} is not writable: ${error.message}`,
            'Name another file. Existing files are not overwritten.',
          )
        })
        terminal.answer({ ...card, file }, `Model card of ${version} written to ${file}`)
      },
    },
  ],
}

const requirementsName = 'requirements.txt'

/** The bytes of a file of a model; a folder, or a file with its requirements, as a tar. */
async function artifactOf(name: string, requirements: string | undefined): Promise<Blob> {
  const path = resolve(name)
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true
  if (!isFolder && requirements === undefined) return fileOf(name)
  if (isFolder && !(await readdir(path)).some(isOfCode))
    throw usageError(
      `${name} is a folder without serve.py, MLmodel or a pickle`,
      'Name the file of a model, or the folder of one.',
    )
  const entries = isFolder
    ? await readdir(path, { recursive: true, withFileTypes: true })
    : [{ name: basename(path), parentPath: dirname(path), isFile: () => true }]
  const files = new Map<string, Buffer>()
  const wanted = entries.filter((each) => each.isFile() && !each.parentPath.includes('__pycache__'))
  const { maxFiles } = codeLimits
  if (wanted.length > maxFiles)
    throw usageError(`${name} has ${wanted.length} files, and at most ${maxFiles} can be brought`)
  for (const { name: own, parentPath } of wanted) {
    const from = join(parentPath, own)
    const place = isFolder ? relative(path, from).replaceAll(sep, '/') : own
    files.set(place, Buffer.from(await (await fileOf(from)).arrayBuffer()))
  }
  if (requirements !== undefined)
    files.set(requirementsName, Buffer.from(await (await fileOf(requirements)).arrayBuffer()))
  return new Blob([new Uint8Array(packCode(files))])
}

async function fileOf(name: string): Promise<Blob> {
  const path = resolve(name)
  const { bytes, isSame } = await readUnchanged(path).catch((error: Error) => {
    throw unreadable(name, error)
  })
  if (!isSame)
    throw usageError(`${name} has changed while it was read`, 'Register it when it is written completely.')
  return new Blob([new Uint8Array(bytes)])
}

/** The limit of the server, which reads no larger model. */
const maxFileBytes = 67_108_864

/**
 * Reads a file and whether it was unchanged meanwhile: a training that is still saving would leave half of one file and half of another.
 */
async function readUnchanged(path: string): Promise<{ bytes: Buffer; isSame: boolean }> {
  const file = await open(path)
  try {
    const before = await file.stat()
    if (before.isCharacterDevice()) throw new Error('it is a device')
    if (before.isDirectory()) throw new Error('it is a folder')
    if (before.size > maxFileBytes)
      throw new Error(`it has ${before.size} bytes, more than the ${maxFileBytes} that are accepted`)
    const bytes = await file.readFile()
    const after = await stat(path)
    const isSame =
      !before.isFile() ||
      (before.ino === after.ino && before.mtimeMs === after.mtimeMs && before.size === after.size)
    return { bytes, isSame }
  } finally {
    await file.close()
  }
}

async function printPage({ terminal, api }: CommandSession, query: QueryParameters): Promise<void> {
  const answer = await api().get<VersionPage>('/v1/versions', query)
  if (answer.versions.length === 0) await requireModel(api(), query['model'])
  terminal.answer(answer, pageText(terminal, answer, query))
}

function pageText(
  terminal: Terminal,
  { versions, next_cursor: next }: VersionPage,
  query: QueryParameters,
): string {
  if (versions.length === 0) {
    const isSearch = Object.entries(query).some(([name, value]) => name !== 'limit' && value !== undefined)
    const { text } = query
    if (typeof text === 'string' && /\w\s*[<>=]/.test(text))
      return `No versions match the text. For a condition on metrics: \`tenure versions search --metric "${text}"\``
    return isSearch
      ? 'No versions match.'
      : 'No versions yet. Train one: `tenure retrain <model>`, or bring one: `tenure versions register <model> --artifact FILE`'
  }
  // The first row names the columns, because all versions of a model have the same metrics.
  const metrics = shownMetrics(Object.keys(versions[0]?.metrics ?? {}))
  const figureOf = (name: string) => (each: VersionAnswer) => metricText(each.metrics?.[name])
  const reasons = versions.flatMap(({ version, not_released: why }) =>
    why === undefined ? [] : [`${version} was not released: ${why}`],
  )
  const columns: Columns<VersionAnswer> = {
    version: 'version',
    status: (each) => coloured(terminal, each.status),
    created: 'created_at',
    'requested by': 'created_by',
    ...Object.fromEntries(metrics.map((name) => [name, figureOf(name)])),
    artifact: (each) => digestPrefix(each.artifact_digest),
    'known good': 'known_good_at',
    'rolled back': 'rolled_back_at',
  }
  const rows = tableBy(terminal, versions, columns, {
    keeps: ['status', ...metrics],
    droppable: ['artifact', 'rolled back', 'known good', 'requested by', 'created'],
  })
  const table = reasons.length === 0 ? rows : [rows, '', ...reasons].join('\n')
  if (next === undefined) return table
  return `${table}\n\nMore versions: raise --limit, or continue with \`versions search … --cursor ${next}\`.`
}

const figure = (value: number | undefined): string =>
  value === undefined ? '–' : String(Number(value.toPrecision(4)))

function coloured({ paint }: Terminal, status: string | undefined): string {
  const shown = orDash(status?.replace('_', ' '))
  if (status === 'champion' || status === 'known_good') return paint('green', shown)
  return status === 'rolled_back' ? paint('red', shown) : shown
}

function comparisonText(
  { paint, times, columns }: Terminal,
  { one, other, differences, same, notes }: VersionComparison,
  { all }: { all: boolean },
): string {
  const most = Math.max(16, Math.floor((Math.min(columns, 160) - 40) / 2))
  const shown = (value: ComparedField['one']): string => {
    const text =
      typeof value === 'number'
        ? String(Number(value.toPrecision(6)))
        : orDash(value === null ? null : times(String(value)))
    return text.length > most ? `${text.slice(0, most - 1)}…` : text
  }
  const rowOf = (each: ComparedField, isSame: boolean): string[] => {
    const { difference } = each
    const name = `${each.section} ${each.field}`
    const side = (which: 'one' | 'other') =>
      each.better === which ? paint('green', shown(each[which])) : shown(each[which])
    return [
      isSame ? paint('dim', name) : name,
      side('one'),
      side('other'),
      difference === undefined || isSame ? '' : `${difference > 0 ? '+' : ''}${figure(difference)}`,
    ]
  }
  const rows = [
    ...differences.map((each) => rowOf(each, false)),
    ...(all ? same.map((each) => rowOf(each, true)) : []),
  ]
  return [
    ...notes.map((note) => paint('yellow', note)),
    rows.length === 0
      ? `${one} and ${other} are identical in every recorded field.`
      : tableOf(['', one, other, 'difference'], rows),
    ...(all || same.length === 0
      ? []
      : ['', paint('dim', `${same.length} identical fields (--all shows them)`)]),
  ].join('\n')
}

/** Finds a version by its name, or the champion of a model by the model's name. */
export async function versionNamed(api: Client, named: string): Promise<string> {
  const [, model = named, alias] = /^(.+)@(.+)$/.exec(named) ?? []
  if (alias === undefined && /_v\d/.test(named)) return named
  if (alias !== undefined && /^v?\d/.test(alias))
    return `${model}_${alias.startsWith('v') ? '' : 'v'}${alias}`
  const lacking = async (what: string) => {
    const { first_step: step } = await api.get<ModelAnswer>(path`/v1/models/${model}`)
    return unknownVersion(`${model} has no ${what} yet`, step)
  }
  if (alias === 'latest') {
    const { versions } = await api.get<VersionPage>('/v1/versions', { model, limit: 1 })
    if (versions[0] !== undefined) return versions[0].version
    throw await lacking('version')
  } else if (alias === undefined || alias === 'champion') {
    const { champion } = await api.get<ModelAnswer>(path`/v1/models/${model}`)
    if (champion !== undefined) return champion.version
    throw await lacking('champion')
  }
  throw unknownVersion(`Unknown version "${named}"`)
}

const unknownVersion = (detail: string, remedy?: string) =>
  failure({
    code: 'version_not_found',
    status: 404,
    detail,
    remedy: remedy ?? `Use ${versionForms}; list versions with \`tenure versions\`.`,
  })
