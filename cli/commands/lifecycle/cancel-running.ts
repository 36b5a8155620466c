/** Cancels what runs for a model: trials or sweeps. */
import { path, usageError } from '../../client/client.ts'
import type { CommandSession } from '../../program.ts'
import { follow } from '../follow.ts'
import { coloured } from '../format.ts'

interface Run {
  id: string
  /** The sweep of a trial; it ends with the sweep. */
  sweep_id?: string
  outcome?: string
  message?: string
}

/** Cancels every running trial or sweep of the model and waits for their ends. */
export async function cancelRunning(
  { api, terminal }: Pick<CommandSession, 'api' | 'terminal'>,
  what: 'trial' | 'sweep',
  model: string,
): Promise<void> {
  const list = path`/v1/${`${what}s`}`
  // A sweep alone may have 200 trials that are newer.
  const answer = await api().get<Record<string, Run[]>>(list, { model, limit: 1_000 })
  const running = (answer[`${what}s`] ?? []).filter(
    ({ outcome, sweep_id }) => outcome === undefined && sweep_id === undefined,
  )
  if (running.length === 0) throw usageError(`No ${what} of ${model} is running`)
  for (const { id } of running) await api().post(`${list}${path`/${id}/cancel`}`, {})
  const ended: Run[] = []
  for (const { id } of running)
    ended.push(
      await follow(
        terminal,
        () => api().get<Run>(`${list}${path`/${id}`}`),
        ({ outcome }) => outcome !== undefined,
      ),
    )
  const lines = ended.map(
    ({ id, outcome, message = '' }) => `${id} ${coloured(terminal, outcome)}: ${message}`,
  )
  terminal.answer(ended, lines.join('\n'))
}
