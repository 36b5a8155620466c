/** Measures the CPU time of a replica per call, which is meaningful on a busy machine, unlike elapsed time. */
import { Agent, request } from 'node:http'
import { cpuMs } from '../harness/processor-time.ts'
import type { ApiProcess } from '../../../test/support/serving/api-process.ts'

/** Sends a call. Returns false for a refusal: a replica that did not run for 250 ms refuses waiting requests. */
export type Ask = () => Promise<boolean>

export type MeasuredProcess = Pick<ApiProcess, 'child'>

const callers = 8
/** Maximum share of refusals; above it, refusals would be measured instead of predictions. */
const maxRefused = 0.05

/** Microseconds per call. */
export async function costUs(replica: MeasuredProcess, ask: Ask, calls: number): Promise<number> {
  const before = cpuMs(replica)
  let left = calls
  let refused = 0
  const caller = async (): Promise<void> => {
    while (left-- > 0) if (!(await ask())) refused++
  }
  await Promise.all(Array.from({ length: callers }, caller))
  if (refused > maxRefused * calls) throw new Error(`${refused} of ${calls} calls were refused`)
  return ((cpuMs(replica) - before) / calls) * 1_000
}

/** Requests a path with the same body, over keep-alive connections. */
export function httpAsker({ url }: ApiProcess, path: string, body: string): { ask: Ask; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: callers })
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return {
    ask: () =>
      new Promise((resolve, reject) => {
        const asked = request(`${url}${path}`, { method: 'POST', agent, headers }, (answer) => {
          answer.resume()
          answer.on('end', () => resolve(answer.statusCode === 200))
        })
        asked.on('error', reject)
        asked.end(body)
      }),
    close: () => agent.destroy(),
  }
}
