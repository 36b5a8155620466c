/** `tenure retrainings`: lists retrainings, shows one with its loss, its checks and its gates, and cancels a running one. */
import { idsOfRow } from '../../../domain/training/runs.ts'
import { failure, path, usageError, type Client } from '../../client/client.ts'
import type { RetrainingAnswer } from '../../client/responses.ts'
import type { CommandGroup } from '../../program.ts'
import { requireModel } from '../list.ts'
import { cancelRetraining, printShown } from './retrain.ts'
import { listRunsCommand } from './runs.ts'

export const retrainingsGroup: CommandGroup = {
  name: 'retrainings',
  summary: 'List retrainings, show why one ended without a version, and cancel a running one',
  commands: [
    listRunsCommand<RetrainingAnswer>('retraining', {
      summary: 'List retrainings, newest first',
      none: (_, firstStep) => `No retraining. ${firstStep ?? 'Start one: `tenure retrain <model> --watch`.'}`,
    }),
    {
      name: 'show <retraining-or-model>',
      summary: 'Show a retraining, or the last one of a model: its checks, its loss and its gates',
      examples: ['retrainings show iris', 'retrainings show iris --json'],
      async run(session, { args }) {
        const { api } = session
        const id = await findRetrainingId(api(), String(args[0]))
        const shown = await api().get<RetrainingAnswer>(path`/v1/retrainings/${id}`)
        await printShown(session, { ...shown, training_id: idsOfRow(id).trainingId })
      },
    },
    {
      name: 'cancel <retraining-or-model>',
      summary: 'Cancel a running retraining, or that of a model, and wait until its process has exited',
      options: [['--reason <text>', 'Reason, stored in the audit log']],
      examples: ['retrainings cancel iris', 'retrainings cancel iris --reason "the file was wrong"'],
      async run(session, { args, options }) {
        const named = String(args[0])
        const id = named.startsWith('retrain/') ? named : await findRunningId(session.api(), named)
        await cancelRetraining(session, id, options['reason'])
      },
    },
  ],
}

/** Throws for a model without a running retraining. */
async function findRunningId(client: Client, model: string): Promise<string> {
  const { retrainings } = await client.get<{ retrainings: RetrainingAnswer[] }>('/v1/retrainings', {
    model,
    limit: 20,
  })
  const running = retrainings.find(({ outcome }) => outcome === undefined)
  if (running !== undefined) return running.id
  await requireModel(client, model)
  throw usageError(`No retraining of ${model} is running`)
}

async function findRetrainingId(client: Client, named: string): Promise<string> {
  if (named.startsWith('retrain/')) return named
  const { retrainings } = await client.get<{ retrainings: RetrainingAnswer[] }>('/v1/retrainings', {
    model: named,
    limit: 1,
  })
  const [last] = retrainings
  if (last !== undefined) return last.id
  const model = await requireModel(client, named)
  throw failure({
    code: 'not_found',
    detail: `${named} has had no retraining`,
    remedy: model?.first_step ?? `Start one: \`tenure retrain ${named} --watch\`.`,
  })
}
