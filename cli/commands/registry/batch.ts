/** `tenure batch`: answers many rows at once, and lists what a version answered that was taken back. */
import { failure, problemOf } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandGroup, Session } from '../../program.ts'
import { barOf, tableOf } from '../../terminal.ts'
import { isDeferredAnswer, deferredText, type Answered } from '../deferred.ts'
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
  summary: 'answers many rows by the champion: run, list',
  commands: [
    {
      name: 'run <model>',
      summary: 'answers the rows of a file or a query',
      options: [
        ['--input <path>', 'a .parquet or .csv below the directory for batches (TENURE_BATCHES)'],
        ['--query <sql>', 'or one SELECT on the database of Tenure (admins)'],
        ['--output <path>', 'a .parquet below the same directory; the table batch_predictions when absent'],
        ['--key <columns>', 'columns to carry over to the answers, with commas between'],
        ['--watch', 'wait for its end; exit code 6 when it fails'],
      ],
      examples: [
        'batch run flight-delay --input june.parquet --output june-answers.parquet --watch',
        'batch run iris --query "select * from flowers" --key id',
      ],
      async run(session, { args, options }) {
        const { terminal, api } = session
        const { input, query, output, key } = options as Record<string, string | undefined>
        if ((input === undefined) === (query === undefined))
          throw failure({ code: 'usage', detail: 'one of --input and --query is wanted' })
        const started = await api().post<Answered & { id: string }>('/v1/batches', {
          model: String(args[0]),
          input: input === undefined ? { kind: 'sql', query } : { kind: 'file', path: input },
          output: output === undefined ? { kind: 'table' } : { kind: 'file', path: output },
          key: key === undefined ? [] : key.split(',').map((name) => name.trim()),
        })
        if (isDeferredAnswer(started)) return terminal.answer(started, deferredText(String(args[0]), started))
        if (options['watch'] !== true)
          return terminal.answer(started, `${started.id} has begun; \`tenure batch\` shows how far it is.`)
        const ended = await follow(session, started.id)
        terminal.answer(ended, `${coloured(terminal, ended.status)}: ${ended.message ?? ''}`)
        return ended.status === 'done' ? exitCodes.done : exitCodes.otherwise
      },
    },
    {
      name: 'list',
      isDefault: true,
      summary: 'lists batches, the newest first',
      options: [
        ['--model <model>', 'of this model only'],
        ['--withdrawn', 'only those answered by a version that was taken back'],
      ],
      examples: ['batch', 'batch list --withdrawn'],
      async run({ terminal, api }, { options }) {
        const answer = await api().get<{ batches: BatchAnswer[] }>('/v1/batches', {
          model: options['model'] as string | undefined,
          withdrawn: options['withdrawn'] === true ? 'true' : undefined,
        })
        const rows = answer.batches.map((each) => [
          each.id,
          each.version + (each.withdrawn ? terminal.paint('red', ' taken back') : ''),
          coloured(terminal, each.status),
          `${each.scored} of ${orDash(each.rows)}`,
          String(each.refused),
          time(each.started_at),
        ])
        terminal.answer(
          answer,
          tableOf(['batch', 'version', 'status', 'rows', 'refused', 'began (UTC)'], rows),
        )
      },
    },
  ],
}

async function follow({ terminal, api }: Session, id: string): Promise<BatchAnswer> {
  for (;;) {
    const now = await api().get<BatchAnswer>(`/v1/batches/${id}`).catch(orNotYet)
    if (now !== undefined && now.status !== 'running') {
      terminal.progress(undefined)
      return now
    }
    if (now?.rows !== undefined)
      terminal.progress(`${barOf(now.scored / now.rows, 30)} ${now.scored} of ${now.rows} rows`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/** It is written down a moment after it was asked for. */
function orNotYet(error: unknown): undefined {
  if (problemOf(error)?.code !== 'not_found') throw error
}
