/** `tenure batch`: scores many rows with the champion and lists batches, including batches scored by a version that was rolled back later. */
import { maxLoggedRows } from '../../../domain/model/batch-spec.ts'
import { path, usageError } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import { numberOption } from '../../number-option.ts'
import type { CommandGroup } from '../../program.ts'
import { barOf } from '../../terminal.ts'
import { deferredText, type CommandReply } from '../deferred.ts'
import { follow, readOpening } from '../follow.ts'
import { coloured, orDash } from '../format.ts'
import { listCommand } from '../list.ts'

interface BatchAnswer {
  id: string
  model: string
  version: string
  status: 'running' | 'done' | 'failed'
  rows?: number
  scored: number
  refused: number
  for_review?: number
  withdrawn: boolean
  message?: string
  started_at: string
}

/** How long `batch run` without `--watch` waits for a batch that fails at once. */
const openingMs = 3_000

/** A train worker takes one task at a time, so a batch may wait for a training. Its rows are known once a worker has read them. */
const isWaiting = ({ status, rows }: BatchAnswer): boolean => status === 'running' && rows === undefined

export const batchGroup: CommandGroup = {
  name: 'batch',
  summary: 'Score many rows with the champion, and list batches',
  commands: [
    {
      name: 'run <model>',
      summary: 'Score the rows of a file or a query',
      options: [
        [
          '--input <path>',
          'A .parquet or .csv file in the batch directory (TENURE_BATCHES, by default `batches` in the state directory)',
        ],
        ['--query <sql>', 'Or a SELECT on tables that tenure_reader may read (admins)'],
        ['--output <path>', 'A .parquet file in the batch directory (default: the table batch_predictions)'],
        ['--key <columns>', 'Columns to copy to the output, separated by commas'],
        [
          '--log <n>',
          'About how many rows enter the prediction log, so that outcomes can be sent (default: 0)',
        ],
        ['--watch', 'Wait for the end; exit code 6 if it fails'],
      ],
      examples: [
        'batch run flight-delay --input june.parquet --output june-answers.parquet --watch',
        'batch run iris --query "select * from flowers" --key id',
      ],
      async run({ terminal, api }, { args, options }) {
        const { input, query, output, key } = options as Record<string, string | undefined>
        if ((input === undefined) === (query === undefined))
          throw usageError('give exactly one of --input and --query')
        const started = await api().post<CommandReply & { id: string }>('/v1/batches', {
          model: String(args[0]),
          input: input === undefined ? { kind: 'sql', query } : { kind: 'file', path: input },
          output: output === undefined ? { kind: 'table' } : { kind: 'file', path: output },
          key: key === undefined ? [] : key.split(',').map((name) => name.trim()),
          log: numberOption(options, 'log', { min: 0, max: maxLoggedRows, whole: true }),
        })
        const deferred = deferredText(String(args[0]), started)
        if (deferred !== undefined) return terminal.answer(started, deferred)
        const isWatching = options['watch'] === true
        const untilMs = performance.now() + openingMs
        const ended = await follow(
          terminal,
          readOpening<BatchAnswer | undefined>(
            () => api().get<BatchAnswer>(path`/v1/batches/${started.id}`),
            undefined,
          ),
          // A missing file or column is found at once; a batch whose rows were read goes on.
          (batch) =>
            (batch !== undefined && batch.status !== 'running') ||
            (!isWatching && (batch?.rows !== undefined || performance.now() > untilMs)),
          (batch) => {
            if (!isWatching) return
            if (batch?.rows === undefined)
              return terminal.progress('waiting for a train worker, or for the rows of its input')
            terminal.progress(`${barOf(batch.scored / batch.rows, 30)} ${batch.scored} of ${batch.rows} rows`)
          },
        )
        if (!isWatching && ended?.status !== 'failed')
          return terminal.answer(started, `Started ${started.id}. Follow it: \`tenure batch\``)
        terminal.answer(ended, `${coloured(terminal, ended?.status)}: ${ended?.message ?? ''}`)
        return ended?.status === 'done' ? exitCodes.done : exitCodes.otherwise
      },
    },
    listCommand<BatchAnswer>({
      summary: 'List batches, newest first',
      ofModels: true,
      options: [['--rolled-back', 'Only batches scored by a version that was rolled back']],
      examples: ['batch', 'batch flight-delay', 'batch list --rolled-back'],
      path: '/v1/batches',
      field: 'batches',
      pages: 'limit',
      keeps: ['status', 'version', 'rows'],
      droppable: ['for review', 'refused', 'started', 'message'],
      none: 'No batches. Start one: `tenure batch run <model>`',
      columns: {
        batch: 'id',
        version: (each, { paint }) => each.version + (each.withdrawn ? paint('red', ' rolled back') : ''),
        status: (each, terminal) => coloured(terminal, isWaiting(each) ? 'waiting' : each.status),
        rows: (each) => `${each.scored} of ${orDash(each.rows)}`,
        refused: 'refused',
        'for review': (each) => orDash(each.for_review),
        started: 'started_at',
        message: (each, { paint }) => paint('dim', orDash(each.message)),
      },
    }),
  ],
}
