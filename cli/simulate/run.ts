/** Distributes simulated releases over the cores and returns the results in order. */
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { BaselineRuleName } from '../../domain/simulation/baseline-rules.ts'
import type { SimulatedRelease } from '../../domain/simulation/simulate.ts'
import { launcher, systemEnvironment } from '../../temporal.config.ts'
import type { WorkerMessage, Share } from './worker.ts'

export interface SimulationPlan extends Omit<Share, 'from' | 'to' | 'rule'> {
  releases: number
}

/** The result of a plan does not depend on the number of cores. `rule` replaces the canary judge. */
export async function simulateReleases(
  plan: SimulationPlan,
  onProgress: (done: number) => void,
  rule?: BaselineRuleName,
): Promise<SimulatedRelease[]> {
  const { releases, ...rest } = plan
  const processes = Math.max(1, Math.min(availableParallelism(), releases))
  let done = 0
  const parts = Array.from({ length: processes }, (_, k) => {
    const from = Math.floor((k * releases) / processes)
    const to = Math.floor(((k + 1) * releases) / processes)
    const share: Share = { ...rest, from, to, ...(rule === undefined ? {} : { rule }) }
    return runShare(share, () => onProgress(++done))
  })
  return (await Promise.all(parts)).flat()
}

function runShare(share: Share, onOne: () => void): Promise<SimulatedRelease[]> {
  return new Promise((resolve, reject) => {
    let answer: SimulatedRelease[] | undefined
    const child = fork(launcher, ['cli/simulate/worker.ts'], { env: systemEnvironment(), execArgv: [] })
    child.on('message', (message: WorkerMessage) => {
      if ('done' in message) onOne()
      else answer = message.releases
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      if (answer) resolve(answer)
      else reject(new Error(`a simulation process ended with ${signal ?? code}`))
    })
    child.send(share)
  })
}
