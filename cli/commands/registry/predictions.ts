/** `tenure predictions`: lists, shows and exports the predictions of the log. */
import { resolve } from 'node:path'
import type { ExplainedPredictions } from '../../../domain/explanation/explained-predictions.ts'
import {
  digestedIn,
  digestReason,
  isLoggedDigest,
  type LoggedRow,
} from '../../../domain/model/logged-rows.ts'
import { failure, path, usageError, type Client, type QueryParameters } from '../../client/client.ts'
import { fileFormats, formatOf, writePredictions } from '../../export/prediction-file.ts'
import type { CommandGroup, CommandInput, CommandSession } from '../../program.ts'
import { textOrInput } from '../../read-text.ts'
import { tableOf } from '../../terminal.ts'
import { orDash } from '../format.ts'
import { listCommand } from '../list.ts'
import { explanationText } from './explain.ts'

interface PredictionAnswer {
  id: string
  at: string
  model: string
  version: string
  arm: string
  instance: number
  instances: number
  latency_us: number
  outputs: number[]
  release?: string
  routing_key?: string
  reference?: string
  key_id?: string
  inputs?: LoggedRow
  answer?: Record<string, unknown>
  outcome?: { value: unknown; observed_at: string }
  review?: { value: unknown; reviewed_at: string }
}

interface PredictionPage {
  predictions: PredictionAnswer[]
  next_cursor?: string
}

const filters = [
  ['--model-version <version>', 'Only this version'],
  ['--arm <arm>', 'Only this arm: champion, canary, control, targeted or batch'],
  ['--routing-key <key>', 'Only requests with this routing key'],
  ['--reference <reference>', 'Only requests with this reference; searches the whole log'],
  [
    '--subject <key>',
    'Only the predictions about this person, as an erasure names it; searches the whole log. - reads it from standard input',
  ],
  ['--since <time>', 'From this day or time on (default: 24 hours before --until)'],
  ['--until <time>', 'Before this day or time (default: now)'],
] as const
/** The query of these filters. */
const queryOf = ({
  modelVersion: version,
  routingKey,
  subject,
  ...rest
}: CommandInput['options']): QueryParameters => ({
  ...rest,
  version,
  routing_key: routingKey,
  subject: textOrInput(subject),
})

export const predictionsGroup: CommandGroup = {
  name: 'predictions',
  summary: 'Look up what was served: inputs, answers, versions and outcomes',
  commands: [
    listCommand<PredictionAnswer>({
      summary: 'List predictions of the log, newest first',
      ofModels: true,
      options: filters,
      queryOf,
      pages: 'cursor',
      limit: 20,
      keeps: ['answer', 'outcome'],
      droppable: ['reference', 'arm', 'routing key', 'version', 'at'],
      examples: [
        'predictions iris',
        'predictions iris --routing-key user-1 --since 2026-03-01T10:00:00Z --until 2026-03-01T10:10:00Z',
        'predictions list iris --reference order-17',
      ],
      path: '/v1/predictions',
      field: 'predictions',
      none: ({ since, until, reference, subject }) =>
        [since, reference, subject].some((each) => each !== undefined)
          ? 'No predictions'
          : `No predictions in the ${until === undefined ? 'last 24 hours' : '24 hours before --until'}; name an earlier --since`,
      columns: {
        prediction: 'id',
        at: 'at',
        version: 'version',
        arm: 'arm',
        'routing key': (each) => orDash(each.routing_key),
        reference: (each) => orDash(each.reference),
        answer: answerText,
        outcome: (each) => (each.outcome === undefined ? '–' : valueText(each.outcome.value)),
      },
    }),
    {
      name: 'show <id>',
      summary: 'Show a prediction: inputs, answer, outcome, and why its version served',
      options: [['--explain', 'Also show what each feature adds to the answer']],
      examples: [
        'predictions show 01890000-0000-7000-8000-000000000000',
        'predictions show 01890000-0000-7000-8000-000000000000 --explain',
      ],
      run: showPrediction,
    },
    {
      name: 'export [model]',
      summary:
        'Write predictions of the log to a file, all pages; with --subject of every model unless one is named',
      options: [
        ['--output <path>', 'A .csv or .parquet file'],
        ['--model <model>', 'Only this model, in place of the argument'],
        ...filters,
      ],
      examples: [
        'predictions export iris --since 2026-03-01 --until 2026-04-01 --output march.parquet',
        'predictions export --subject 4711 --output person.csv',
      ],
      run: exportPredictions,
    },
  ],
}

const valueText = (value: unknown): string =>
  typeof value === 'object' ? JSON.stringify(value) : String(value)

/** The value that stands for the answer, or all of it. */
function answerText({ answer, outputs }: PredictionAnswer): string {
  if (answer === undefined) return JSON.stringify(outputs)
  const plain = Object.entries(answer).filter(
    ([name, value]) => typeof value !== 'object' && name !== 'positive',
  )
  return plain.length === 0
    ? Object.values(answer).map(valueText).join(' ')
    : plain.map(([name, value]) => `${name} ${valueText(value)}`).join(', ')
}

async function showPrediction(
  { terminal, api }: CommandSession,
  { args, options }: CommandInput,
): Promise<void> {
  const shown = await api().get<PredictionAnswer & { why: { text: string } }>(
    path`/v1/predictions/${args[0]}`,
  )
  const { inputs = {}, answer = {}, outcome, review, why } = shown
  const explained = options['explain'] === true ? await explain(api(), shown) : undefined
  const row = (name: string, value: unknown) => [name, value === undefined ? '–' : valueText(value)]
  const facts = [
    row('at', shown.at),
    row('model', shown.model),
    row('version', shown.version),
    row('arm', shown.arm),
    row('why', why.text),
    row('release', shown.release),
    row('routing key', shown.routing_key),
    row('reference', shown.reference),
    row('key', shown.key_id),
    row('request', `prediction ${shown.instance + 1} of ${shown.instances}, ${shown.latency_us} µs`),
    ...Object.entries(answer).map(([name, value]) => row(name, value)),
    row('outcome', outcome && `${valueText(outcome.value)}, observed ${outcome.observed_at}`),
    ...(review === undefined ? [] : [row('review', `${valueText(review.value)}, ${review.reviewed_at}`)]),
  ]
  const rows = Object.entries(inputs).map(([name, value]) => row(name, inputText(value)))
  const parts = [
    terminal.times(tableOf([], facts)),
    rows.length === 0 ? 'The log has no inputs of it.' : tableOf(['feature', 'value'], rows),
    ...(explained === undefined ? [] : [explanationText(terminal, explained)]),
  ]
  terminal.answer(explained === undefined ? shown : { ...shown, explanation: explained }, parts.join('\n\n'))
}

/** A digest has no value to show; its parts are in the row. */
function inputText(value: LoggedRow[string]): string | number {
  if (!isLoggedDigest(value)) return value ?? 'missing'
  const { sha256, ...parts } = value
  const listed = Object.entries(parts).map(([name, part]) => `${name} ${part ?? 'missing'}`)
  return `logged as a digest: ${[`SHA-256 ${sha256}`, ...listed].join(', ')}`
}

function explain(api: Client, { model, version, inputs }: PredictionAnswer): Promise<ExplainedPredictions> {
  if (inputs === undefined)
    throw failure({
      code: 'not_found',
      detail: 'the log has no inputs of this prediction, so it cannot be explained',
      remedy: 'Show it without --explain.',
    })
  const digested = digestedIn([{ row: inputs }])
  if (digested.length > 0)
    throw failure({
      code: 'not_found',
      detail: `the prediction cannot be explained: ${digestReason(digested)}`,
      remedy: 'Show it without --explain, or send its row to `tenure explain`.',
    })
  return api.post<ExplainedPredictions>(path`/v1/models/${model}/explain`, { instances: [inputs], version })
}

async function exportPredictions(
  { terminal, api }: CommandSession,
  { args, options: { output, model: named = args[0], ...given } }: CommandInput,
): Promise<void> {
  if (output === undefined)
    throw usageError('--output is missing', 'Name a .csv or .parquet file with --output.')
  const file = resolve(String(output))
  const format = formatOf(file)
  if (format === undefined)
    throw usageError(`--output ends in ${Object.keys(fileFormats).join(' or ')}, not ${String(output)}`)
  if (named === undefined && given['subject'] === undefined)
    throw usageError('a model or --subject is missing', 'Name the model, or a person with --subject.')
  const query = queryOf(given)
  const models = named === undefined ? await modelNames(api()) : [String(named)]
  let done = 0
  const rows = await writePredictions(
    pagesOf(api(), models, query, (count, model) =>
      terminal.progress(`${(done += count)} predictions, reading ${model}`),
    ),
    { file, format },
  )
  terminal.progress(undefined)
  terminal.answer(
    { predictions: rows, models, file },
    `${rows} predictions of ${models.join(', ')} in ${file}`,
  )
}

const modelNames = async (api: Client): Promise<string[]> =>
  (await api.get<{ models: { name: string }[] }>('/v1/models')).models.map(({ name }) => name)

async function* pagesOf(
  api: Client,
  models: readonly string[],
  query: QueryParameters,
  note: (count: number, model: string) => void,
): AsyncIterable<PredictionAnswer[]> {
  for (const model of models) {
    let cursor: string | undefined
    do {
      const page: PredictionPage = await api.get('/v1/predictions', { ...query, model, limit: 1_000, cursor })
      note(page.predictions.length, model)
      yield page.predictions
      cursor = page.next_cursor
    } while (cursor !== undefined)
  }
}
