/** Lists retrainings, trials and sweeps; finds and cancels trials and sweeps, by their ids or by their model. */
import { failure, path, usageError, type Client } from '../../client/client.ts'
import type { CommandSession, CommandSpec } from '../../program.ts'
import type { ExitCode } from '../../exit-codes.ts'
import { follow } from '../follow.ts'
import { coloured } from '../format.ts'
import { listCommand, requireModel, type ListSpec } from '../list.ts'
import { doEach, printRefused } from '../several.ts'

type Kind = 'trial' | 'sweep'
const idPrefixes = { trial: 'try_', sweep: 'swp_' } as const

interface Run {
  id: string
  model?: string
  requested_by?: string
  started_at?: string
  /** The sweep of a trial; it ends with the sweep. */
  sweep_id?: string
  outcome?: string
  message?: string
}

/** `units=32 epochs=5` */
export const pairsText = (overrides: Readonly<Record<string, unknown>>): string =>
  Object.entries(overrides)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(' ')

/** Lists runs, newest first. `columns`: those of this kind, after the outcome; `keeps`, `droppable`: of them. */
export const listRunsCommand = <Row extends Run>(
  what: Kind | 'retraining',
  {
    columns = {},
    keeps = [],
    droppable = [],
    ...texts
  }: Pick<ListSpec<Row>, 'summary' | 'none' | 'droppable'> &
    Partial<Pick<ListSpec<Row>, 'columns'>> & { keeps?: readonly string[] },
): CommandSpec =>
  listCommand<Row>({
    ...texts,
    ofModels: true,
    pages: 'limit',
    limit: 20,
    keeps: ['outcome', ...keeps],
    droppable: ['requested by', ...droppable, 'id'],
    examples: [`${what}s`, `${what}s iris --limit 5 --json`],
    path: `/v1/${what}s`,
    field: `${what}s`,
    columns: {
      model: ({ model }) => model,
      started: ({ started_at: at }) => at,
      outcome: ({ outcome }, terminal) => (outcome === undefined ? 'running' : coloured(terminal, outcome)),
      ...columns,
      'requested by': ({ requested_by: by }) => by,
      id: ({ id }) => id,
      message: ({ message }) => message,
    },
  })

async function listRuns(client: Client, what: Kind, model: string): Promise<Run[]> {
  // A sweep alone may have 200 trials that are newer.
  const answer = await client.get<Record<string, Run[]>>(path`/v1/${`${what}s`}`, { model, limit: 1_000 })
  return (answer[`${what}s`] ?? []).filter(({ sweep_id }) => sweep_id === undefined)
}

/** Returns the named id, or that of the last run of a model. Throws for a model without one. */
export async function findRunId(client: Client, what: Kind, named: string): Promise<string> {
  if (named.startsWith(idPrefixes[what])) return named
  const [last] = await listRuns(client, what, named)
  if (last !== undefined) return last.id
  await requireModel(client, named)
  throw failure({
    code: 'not_found',
    detail: `${named} has had no ${what}`,
    remedy: `Start one: \`${{ trial: 'tenure try', sweep: 'tenure sweep' }[what]} ${named}\`.`,
  })
}

export const cancelCommand = (what: Kind, summary: string): CommandSpec => ({
  name: `cancel <${what}-or-model>`,
  summary,
  examples: [`${what}s cancel iris`, `${what}s cancel ${idPrefixes[what]}01h…`],
  run: (session, { args }) => cancelRunning(session, what, String(args[0])),
})

/** Cancels the named run, or every running one of the model, and waits for their ends. */
async function cancelRunning(
  { api, terminal }: CommandSession,
  what: Kind,
  named: string,
): Promise<ExitCode> {
  const running = named.startsWith(idPrefixes[what])
    ? [{ id: named }]
    : (await listRuns(api(), what, named)).filter(({ outcome }) => outcome === undefined)
  if (running.length === 0) {
    await requireModel(api(), named)
    throw usageError(`No ${what} of ${named} is running`)
  }
  const { done, refused } = await doEach(running, {
    nameOf: ({ id }) => id,
    async act({ id }) {
      await api().post(path`/v1/${`${what}s`}/${id}/cancel`, {})
      return id
    },
  })
  const ended: Run[] = []
  for (const id of done)
    ended.push(
      await follow(
        terminal,
        () => api().get<Run>(path`/v1/${`${what}s`}/${id}`),
        ({ outcome }) => outcome !== undefined,
      ),
    )
  const lines = ended.map(
    ({ id, outcome, message = '' }) => `${id} ${coloured(terminal, outcome)}: ${message}`,
  )
  terminal.answer({ ended, ...(refused.length > 0 && { refused }) }, lines.join('\n'))
  return printRefused(terminal, refused)
}
