/** `tenure retrain`: asks for a challenger, and follows it when told to. */
import type { RetrainingAnswer } from '../answers.ts'
import { failure } from '../client.ts'
import { exitCodes } from '../exit.ts'
import type { CommandSpec, Session } from '../program.ts'
import { barOf } from '../terminal.ts'
import { coloured } from './words.ts'

const pollMs = 500
/** Outcomes after which there is a new version, or a release of one. */
const good = ['released', 'registered']

export const retrainCommand: CommandSpec = {
  name: 'retrain <model>',
  summary: 'trains a challenger on what was known at a moment, and releases it if it is good enough',
  options: [
    ['--as-of <time>', 'use what was known then (ISO 8601; default: now)'],
    ['--reason <text>', 'why; it stands in the record'],
    ['--watch', 'wait for its end; exit code 6 when it leads to no version'],
  ],
  examples: [
    'retrain iris',
    'retrain iris --watch',
    'retrain flight-delay --as-of 2001-02-05T00:00:00Z --watch',
  ],
  async run(session, { args, options }) {
    const { terminal, api } = session
    const asOf = options['asOf']
    if (asOf !== undefined && Number.isNaN(Date.parse(String(asOf))))
      throw failure({
        code: 'usage',
        detail: `--as-of is a time such as 2001-02-05T00:00:00Z, not ${String(asOf)}`,
      })
    const started = await api().post<{ id: string; workflow_id: string }>(
      `/v1/models/${encodeURIComponent(String(args[0]))}/retrainings`,
      {
        ...(asOf === undefined ? {} : { as_of: new Date(String(asOf)).toISOString() }),
        ...(options['reason'] === undefined ? {} : { reason: options['reason'] }),
      },
    )
    if (options['watch'] !== true)
      return terminal.answer(
        started,
        `${started.workflow_id} has started; \`tenure retrain --watch\` would have waited.`,
      )
    const ended = await follow(session, started.id)
    terminal.answer(ended, `${coloured(terminal, ended.outcome)}: ${ended.message ?? ''}`)
    return good.includes(ended.outcome ?? '') ? exitCodes.done : exitCodes.otherwise
  },
}

async function follow({ terminal, api }: Session, id: string): Promise<RetrainingAnswer> {
  let told = ''
  for (;;) {
    const now = await api().get<RetrainingAnswer>(`/v1/retrainings/${encodeURIComponent(id)}`)
    if (now.outcome !== undefined) {
      terminal.progress(undefined)
      return now
    }
    const stage = now.stage ?? 'opening'
    if (stage !== told) terminal.say(`${stage} …`)
    told = stage
    if (now.epoch !== undefined && now.epochs !== undefined)
      terminal.progress(
        `${barOf(now.epoch / now.epochs, 30)} epoch ${now.epoch} of ${now.epochs}, loss ${now.loss?.toFixed(4) ?? '–'}`,
      )
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
