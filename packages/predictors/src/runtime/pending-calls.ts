/**
 * Holds the open calls to a thread or process. A call that exceeds its time limit ends the thread or process, because nothing else stops a
 * computation.
 */
import { type PredictorError, predictorError } from '../errors.ts'

export interface PendingCalls<Reply> {
  /** Sends a call with a new id. Rejects with `model_unavailable` when the other side dies in the meantime. */
  call(key: string, limitMs: number, send: (id: number) => void): Promise<Reply>
  /** Returns whether the call was open. */
  settle(id: number, reply: Reply): boolean
  /** Rejects all calls after the other side has died. First calls `report` with the models of the calls. */
  fail(cause: Error, report: (error: PredictorError, keys: ReadonlySet<string>) => void): void
}

interface PendingCall<Reply> {
  key: string
  resolve: (reply: Reply) => void
  reject: (error: Error) => void
  timer: NodeJS.Timeout
}

/** Whether the cause of a death is a call that took longer than its limit. */
export const isCallTimeout = (cause: unknown): boolean => (cause as Error | undefined)?.name === 'CallTimeout'

/** Creates the calls. `where` names the thread or process; `end` ends it at once and receives the reason. */
export function createCalls<Reply>(
  where: string,
  { onError, end }: { onError: (message: string) => void; end: (why: Error) => void },
): PendingCalls<Reply> {
  const calls = new Map<number, PendingCall<Reply>>()
  let nextId = 0
  return {
    call: (key, limitMs, send) =>
      new Promise((resolve, reject) => {
        const id = nextId++
        const timer = setTimeout(() => {
          onError(`${key} has taken more than ${limitMs} ms: its ${where} is ended`)
          end(Object.assign(new Error(`it has taken more than ${limitMs} ms`), { name: 'CallTimeout' }))
        }, limitMs)
        calls.set(id, { key, resolve, reject, timer })
        send(id)
      }),
    settle(id, reply) {
      const call = calls.get(id)
      if (call === undefined) return false
      calls.delete(id)
      clearTimeout(call.timer)
      call.resolve(reply)
      return true
    },
    fail(cause, report) {
      const pending = [...calls.values()]
      calls.clear()
      for (const { timer } of pending) clearTimeout(timer)
      const error = predictorError(
        'model_unavailable',
        `the ${where} that computes the model has died: ${cause.message}`,
      )
      error.cause = cause
      report(error, new Set(pending.map(({ key }) => key)))
      for (const { reject } of pending) reject(error)
    },
  }
}
