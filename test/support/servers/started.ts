/** Reads what a request has started, also where the API has deferred it. */
import { untilHolds } from '../fleet/fleet-stage.ts'

interface Started {
  id: string
}

/**
 * Returns what a request has started. Where Temporal did not answer within its deadline, as happens on a busy machine, the API has recorded
 * the request: the answer is then its command, which is awaited.
 */
export async function startedBy<Answer extends Started>(
  answer: Answer,
  show: (path: string) => Promise<unknown>,
): Promise<Answer> {
  if (!('command' in answer)) return answer
  const { id } = answer
  const read = () =>
    show(`/v1/commands/${id}`) as Promise<{ state: string; message: string; started?: Answer }>
  const isSettled = (command: { state: string; started?: Answer }) =>
    command.started !== undefined || command.state === 'refused'
  const { started, message } = await untilHolds(read, isSettled, { what: `the start ${id}` })
  if (started === undefined) throw new Error(`the start ${id} was refused: ${message}`)
  return started
}
