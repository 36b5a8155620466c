/** Tests the simulations that a replica runs: one at a time, a bounded queue, and failures that stay in the child process. */
import { expect, it } from 'vitest'
import { simulatePolicy } from '../../../../api/dashboard/pages/release/simulation.tsx'
import type { SimulationOrder } from '../../../../api/processes/simulator.ts'
import { dayPolicy } from '../../../../domain/release/policy.ts'
import { defaultWorld } from '../../../../domain/simulation/scenario.ts'

const stage = { shareBp: 5_000, minMs: 10_000, minRequests: 10, deadlineMs: 60_000 }
const order: SimulationOrder = {
  policy: { ...dayPolicy, stages: [stage] },
  world: defaultWorld,
  scenarios: ['good', 'error:0.5', 'no such thing'],
  releases: 3,
  withinMs: 20_000,
}

it('simulates each known scenario, and runs equal orders once', async () => {
  const asked = simulatePolicy(order)
  expect(simulatePolicy(structuredClone(order))).toBe(asked)
  const [good, bad, ...more] = await asked
  expect(good).toMatchObject({ scenario: 'good', releases: 3 })
  expect(bad).toMatchObject({ scenario: 'error:0.5', releases: 3, rolledBack: 3, promoted: 0 })
  expect(more).toEqual([])
})

it('queues four simulations, refuses the fifth, and accepts new ones afterwards', async () => {
  const some = [1, 2, 3, 4].map((releases) => simulatePolicy({ ...order, scenarios: ['good'], releases }))
  await expect(simulatePolicy({ ...order, releases: 5 })).rejects.toMatchObject({ code: 'overloaded' })
  await Promise.all(some)
  await expect(simulatePolicy({ ...order, releases: 2 })).resolves.toHaveLength(2)
})

it('reports a policy that cannot be simulated, and does not cache the failure', async () => {
  const broken = { ...order, policy: {} as SimulationOrder['policy'] }
  for (const _time of [1, 2])
    await expect(simulatePolicy(broken)).rejects.toThrow(/exited with 1 before it reported a result/)
})
