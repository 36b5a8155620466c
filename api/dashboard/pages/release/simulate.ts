/** Runs simulations in a child process, one at a time and with a time limit, and caches their results. */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { DomainError } from '../../../../domain/errors.ts'
import type { SimulationSummary } from '../../../../domain/simulation/summary.ts'
import { checkout, launcher, systemEnvironment } from '../../../../temporal.config.ts'
import type { SimulationOrder } from '../../../processes/simulator.ts'
import { createPromiseCache } from '../../promise-cache.ts'

/** The process is killed this many milliseconds after the time limit of the simulation, which leaves time to start and to report. */
const graceMs = 10_000
const maxQueued = 4

const cached = createPromiseCache<SimulationSummary[]>(50)
let last: Promise<unknown> = Promise.resolve()
let waiting = 0

/** Runs a simulation. Throws `overloaded` when too many are queued. */
export function simulatePolicy(order: SimulationOrder): Promise<SimulationSummary[]> {
  const key = createHash('sha256').update(JSON.stringify(order)).digest('hex')
  return cached(key, async () => {
    if (waiting >= maxQueued) throw new DomainError('overloaded', `${waiting} simulations are queued already`)
    waiting++
    const played = last.then(() => play(order)).finally(() => waiting--)
    last = played.catch(() => {})
    return played
  })
}

function play(order: SimulationOrder): Promise<SimulationSummary[]> {
  return new Promise((resolve, reject) => {
    const child = fork(launcher, ['api/processes/simulator.ts'], {
      cwd: checkout,
      env: systemEnvironment(),
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    let answer: SimulationSummary[] | undefined
    const late = setTimeout(() => child.kill('SIGKILL'), order.withinMs + graceMs)
    child.on('message', (message) => (answer = message as SimulationSummary[]))
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      clearTimeout(late)
      if (answer !== undefined) return resolve(answer)
      const issue = `the simulation exited with ${signal ?? code} before it reported a result`
      reject(new DomainError('overloaded', issue))
    })
    child.send(order)
  })
}
