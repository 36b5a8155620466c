/** `tenure batch`: scores many rows with the champion, and lists batches, also those scored by a withdrawn version. */
import { failure, commandProblemOf } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandGroup, CommandSession } from '../../program.ts'
import { barOf, tableOf } from '../../terminal.ts'
import { isDeferredAnswer, deferredText, type CommandReply } from '../deferred.ts'
import { coloured, orDash, time } from '../format.ts'

interface BatchAnswer {
  id: string
  model: string
  version: string
  status: 'running' | 'done' | 'failed'
  rows?: number
  scored: number
  refused: number
  withdrawn: boolean
  message?: string
  started_at: string
}

const pollMs = 500

export const batchGroup: CommandGroup = {
  name: 'batch',
  summary: 'Score many rows with the champion, and list batches',
  commands: [
    {
      name: 'run <model>',
      summary: 'Score the rows of a file or a query',
      options: [
        ['--input <path>', 'A .parquet or .csv file in the batch directory (TENURE_BATCHES)'],
        ['--query <sql>', 'Or a SELECT on the database of Tenure (admins)'],
        ['--output <path>', 'A .parquet file in the batch directory (default: the table batch_predictions)'],
        ['--key <columns>', 'Columns to copy to the output, separated by commas'],
        ['--watch', 'Wait for the end; exit code 6 if it fails'],
      ],
      examples: [
        'batch run flight-delay --input june.parquet --output june-answers.parquet --watch',
        'batch run iris --query "select * from flowers" --key id',
      ],
      async run(session, { args, options }) {
        const { terminal, api } = session
        const { input, query, output, key } = options as Record<string, string | undefined>
        if ((input === undefined) === (query === undefined))
          throw failure({ code: 'usage', detail: 'give exactly one of --input and --query' })
        const started = await api().post<CommandReply & { id: string }>('/v1/batches', {
          model: String(args[0]),
          input: input === undefined ? { kind: 'sql', query } : { kind: 'file', path: input },
          output: output === undefined ? { kind: 'table' } : { kind: 'file', path: output },
          key: key === undefined ? [] : key.split(',').map((name) => name.trim()),
        })
        if (isDeferredAnswer(started)) return terminal.answer(started, deferredText(String(args[0]), started))
        if (options['watch'] !== true)
          return terminal.answer(started, `Started ${started.id}. Follow it: \`tenure batch\``)
        const ended = await follow(session, started.id)
        terminal.answer(ended, `${coloured(terminal, ended.status)}: ${ended.message ?? ''}`)
        return ended.status === 'done' ? exitCodes.done : exitCodes.otherwise
      },
    },
    {
      name: 'list',
      isDefault: true,
      summary: 'List batches, newest first',
      options: [
        ['--model <model>', 'Only this model'],
        ['--withdrawn', 'Only batches scored by a withdrawn version'],
      ],
      examples: ['batch', 'batch list --withdrawn'],
      async run({ terminal, api }, { options }) {
        const answer = await api().get<{ batches: BatchAnswer[] }>('/v1/batches', {
          model: options['model'] as string | undefined,
          withdrawn: options['withdrawn'] === true ? 'true' : undefined,
        })
        const rows = answer.batches.map((each) => [
          each.id,
          each.version + (each.withdrawn ? terminal.paint('red', ' withdrawn') : ''),
          coloured(terminal, each.status),
          `${each.scored} of ${orDash(each.rows)}`,
          String(each.refused),
          time(each.started_at),
        ])
        terminal.answer(
          answer,
          tableOf(['batch', 'version', 'status', 'rows', 'refused', 'started (UTC)'], rows),
        )
      },
    },
  ],
}

async function follow({ terminal, api }: CommandSession, id: string): Promise<BatchAnswer> {
  for (;;) {
    const now = await api().get<BatchAnswer>(`/v1/batches/${id}`).catch(ignoreNotFound)
    if (now !== undefined && now.status !== 'running') {
      terminal.progress(undefined)
      return now
    }
    if (now?.rows !== undefined)
      terminal.progress(`${barOf(now.scored / now.rows, 30)} ${now.scored} of ${now.rows} rows`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/** The batch is stored shortly after the request, so the first polls may miss it. */
function ignoreNotFound(error: unknown): undefined {
  if (commandProblemOf(error)?.code !== 'not_found') throw error
}
