/** Has releases played in a process of their own: one at a time, within seconds, and the same question once. */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { DomainError } from '../../../../domain/errors.ts'
import type { SimulationSummary } from '../../../../domain/simulation/summary.ts'
import { checkout, launcher } from '../../../../temporal.config.ts'
import type { SimulationOrder } from '../../../processes/simulator.ts'

/** Beyond its own time a process gets this much to start and to answer, and is then ended. */
const graceMs = 10_000
const maxQueued = 4
const mostKept = 50

const kept = new Map<string, Promise<SimulationSummary[]>>()
let last: Promise<unknown> = Promise.resolve()
let waiting = 0

/** Throws `overloaded` when too many wait for theirs. */
export function simulatePolicy(order: SimulationOrder): Promise<SimulationSummary[]> {
  const key = createHash('sha256').update(JSON.stringify(order)).digest('hex')
  const known = kept.get(key)
  if (known !== undefined) return known
  if (waiting >= maxQueued)
    return Promise.reject(new DomainError('overloaded', `${waiting} simulations are waited for already`))
  waiting++
  const played = last.then(() => play(order)).finally(() => waiting--)
  last = played.catch(() => {})
  played.catch(() => kept.delete(key))
  const [oldest] = kept.keys()
  if (kept.size >= mostKept && oldest !== undefined) kept.delete(oldest)
  kept.set(key, played)
  return played
}

function play(order: SimulationOrder): Promise<SimulationSummary[]> {
  return new Promise((resolve, reject) => {
    const child = fork(launcher, ['api/processes/simulator.ts'], {
      cwd: checkout,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    let answer: SimulationSummary[] | undefined
    const late = setTimeout(() => child.kill('SIGKILL'), order.withinMs + graceMs)
    child.on('message', (message) => (answer = message as SimulationSummary[]))
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      clearTimeout(late)
      if (answer !== undefined) resolve(answer)
      else
        reject(
          new DomainError(
            'overloaded',
            `the simulation ended with ${signal ?? code} before it had an answer`,
          ),
        )
    })
    child.send(order)
  })
}
