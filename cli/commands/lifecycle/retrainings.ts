/** `tenure retrainings`: lists retrainings and shows one with its loss, its checks and its gates. */
import { idsOfRow } from '../../../domain/training/runs.ts'
import { failure, path, type Client } from '../../client/client.ts'
import type { RetrainingAnswer } from '../../client/responses.ts'
import type { CommandGroup } from '../../program.ts'
import { checksTable } from '../checks-table.ts'
import { coloured, orDash, prose, time } from '../format.ts'
import { listCommand, requireModel } from '../list.ts'
import { printFollowed } from './retrain.ts'

export const retrainingsGroup: CommandGroup = {
  name: 'retrainings',
  summary: 'List retrainings, and show why one ended without a version',
  commands: [
    listCommand<RetrainingAnswer>({
      summary: 'List retrainings, newest first',
      ofModels: true,
      pages: 'limit',
      limit: 20,
      droppable: ['requested by', 'id'],
      examples: ['retrainings', 'retrainings iris --limit 5 --json'],
      path: '/v1/retrainings',
      field: 'retrainings',
      columns: {
        model: (each) => each.model,
        'started (UTC)': (each) => time(each.started_at),
        outcome: (each, terminal) =>
          each.outcome === undefined ? 'running' : coloured(terminal, each.outcome),
        'requested by': (each) => orDash(each.requested_by),
        id: 'id',
        message: (each) => prose(each.message),
      },
      none: 'No retraining. Start one: `tenure retrain <model> --watch`.',
    }),
    {
      name: 'show <retraining-or-model>',
      summary: 'Show a retraining, or the last one of a model: its checks, its loss and its gates',
      examples: ['retrainings show iris', 'retrainings show iris --json'],
      async run(session, { args }) {
        const { api, terminal } = session
        const id = await findRetrainingId(api(), String(args[0]))
        const shown = await api().get<RetrainingAnswer>(path`/v1/retrainings/${id}`)
        if (shown.outcome === undefined)
          return terminal.answer(
            shown,
            `running: ${shown.stage ?? 'opening'}${checksTable(terminal, shown.validation)}`,
          )
        const { trainingId } = idsOfRow(id)
        await printFollowed(session, { ended: shown, seen: { began: new Map(), curve: [], trainingId } })
      },
    },
  ],
}

async function findRetrainingId(client: Client, named: string): Promise<string> {
  if (named.startsWith('retrain/')) return named
  const { retrainings } = await client.get<{ retrainings: RetrainingAnswer[] }>('/v1/retrainings', {
    model: named,
    limit: 1,
  })
  const [last] = retrainings
  if (last !== undefined) return last.id
  await requireModel(client, named)
  throw failure({
    code: 'not_found',
    detail: `${named} has had no retraining`,
    remedy: `Start one: \`tenure retrain ${named} --watch\`.`,
  })
}
