/** `tenure status`: shows readiness, live versions and open releases. */
import type { ModelAnswer, ReleaseAnswer } from '../../client/responses.ts'
import { commandProblemOf } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { tableBy } from '../../terminal.ts'
import { orDash, share, time } from '../format.ts'

/** A replica is ready without the database, because predictions continue. */
const isDatabaseDown = (ready: object): ready is { database: { detail: string } } => 'database' in ready

export const statusCommand: CommandSpec = {
  name: 'status',
  summary: 'Show health, live versions and open releases; exit code 3 if not ready',
  examples: ['status', 'status --json'],
  async run({ terminal, api }) {
    const client = api()
    const ready = await client.get<Record<string, unknown>>('/readyz').then(
      (body) => ({ ok: true, ...body }),
      (error: unknown) => {
        const problem = commandProblemOf(error)
        if (problem === undefined || problem.code === 'unreachable') throw error
        return { ok: false, detail: problem.detail }
      },
    )
    const { models } = await client.get<{ models: ModelAnswer[] }>('/v1/models')
    const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', { open: true })
    const { paint } = terminal
    const lines = [
      `${client.url} ${ready.ok ? paint('green', 'ready') : paint('yellow', `not ready: ${orDash(String('detail' in ready ? ready.detail : ''))}`)}`,
      ...(isDatabaseDown(ready) ? [paint('yellow', ready.database.detail)] : []),
      '',
      tableBy(terminal, models, {
        model: 'name',
        champion: (each) => each.champion?.version,
        'since (UTC)': (each) => time(each.champion?.since),
      }),
      ...releases.map(
        (each) =>
          `\n${each.id} ${each.version}: ${each.stage} ${share(each.share_bp)}${each.paused ? ', paused' : ''}\n  ${orDash(each.why)}`,
      ),
    ]
    terminal.answer({ url: client.url, ready, models, releases }, lines.join('\n'))
    return ready.ok ? exitCodes.done : exitCodes.unreachable
  },
}
