/** Distributes simulated releases over the CPU cores and returns the results in order. */
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { BaselineRuleName } from '../../domain/simulation/baseline-rules.ts'
import type { SimulatedRelease } from '../../domain/simulation/simulate.ts'
import { launcher, systemEnvironment } from '../../temporal.config.ts'
import type { WorkerMessage, Share } from './worker.ts'

export interface SimulationPlan extends Omit<Share, 'from' | 'to' | 'rule'> {
  releases: number
}

/** Simulates the releases of one plan. The result does not depend on the number of cores. `rule` replaces the canary judge. */
export async function simulateReleases(
  plan: SimulationPlan,
  onProgress: (done: number) => void,
  rule?: BaselineRuleName,
): Promise<SimulatedRelease[]> {
  const [releases = []] = await simulatePlans([plan], onProgress, rule)
  return releases
}

/** Simulates the releases of several plans. */
export async function simulatePlans(
  plans: readonly SimulationPlan[],
  onProgress: (done: number) => void,
  rule?: BaselineRuleName,
): Promise<SimulatedRelease[][]> {
  const most = Math.max(0, ...plans.map(({ releases }) => releases))
  const processes = Math.max(1, Math.min(availableParallelism(), most))
  let done = 0
  const parts = await Promise.all(
    Array.from({ length: processes }, (_, k) => {
      const shares = plans.map(({ releases, ...rest }): Share => {
        const from = Math.floor((k * releases) / processes)
        const to = Math.floor(((k + 1) * releases) / processes)
        return { ...rest, from, to, rule }
      })
      return runShares(shares, () => onProgress(++done))
    }),
  )
  return plans.map((_, i) => parts.flatMap((part) => part[i] ?? []))
}

function runShares(shares: readonly Share[], onOne: () => void): Promise<SimulatedRelease[][]> {
  return new Promise((resolve, reject) => {
    let answer: SimulatedRelease[][] | undefined
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
    child.send(shares)
  })
}
