/** Tests what `tenure guard-gateway` does with a gateway that answers badly. A real API server of Kubernetes is in test/interop. */
import { expect, it } from 'vitest'
import { guardOnce } from '../../../../cli/commands/admin/guard-gateway.ts'
import { emptyMemory, type ExposureAnswer } from '../../../../domain/serving/gateway-guard.ts'
import {
  traitsOf,
  type Gateway,
  type GatewayOrder,
  type GatewayServer,
} from '../../../../domain/serving/gateway.ts'

const [champion, candidate] = ['m_v1.0.0', 'm_v1.1.0']
const traffic = { gateway: 'kserve', namespace: 'n', name: 'm', metrics: {} as never } as const

/** A stand-in of a gateway, and the looks of a guard that loses a version after one check. */
function guarded(weights: Record<string, number> = { [champion]: 95, [candidate]: 5 }) {
  const fault: { read?: string; set?: 'refused' | 'slow' | 'lost' } = {}
  const orders: GatewayOrder[] = []
  const state = { weights, mayServe: true }
  const servers = () =>
    Object.entries(state.weights).map(([name, weight]): GatewayServer => ({
      name,
      weight,
      isUp: true,
      lease: 'absent',
      attempts: 0,
      requests: 0,
      failures: 0,
    }))
  const gateway: Gateway = {
    read: () =>
      fault.read === undefined ? Promise.resolve(servers()) : Promise.reject(new Error(fault.read)),
    set(order) {
      orders.push(order)
      if (fault.set === 'refused') return Promise.reject(new Error('409'))
      if (fault.set === 'slow') return Promise.resolve(servers())
      for (const name of Object.keys(state.weights)) state.weights[name] = order.weights[name] ?? 0
      return fault.set === 'lost' ? Promise.reject(new Error('no answer')) : Promise.resolve(servers())
    },
  }
  let look: Parameters<typeof guardOnce>[1] = { memory: emptyMemory, servers: [], text: '' }
  const ask = (): Promise<ExposureAnswer> =>
    Promise.resolve(
      state.mayServe ? { mayServe: true, proven: champion } : { mayServe: false, reason: 'no answer' },
    )
  const check = async () => {
    look = await guardOnce(gateway, look, {
      model: 'm',
      place: 'InferenceService n/m',
      traits: traitsOf(traffic),
      checks: 2,
      ask,
    })
    return look.text
  }
  return { state, fault, orders, check }
}

it('sets an order again until it reads it back', async () => {
  const { state, fault, orders, check } = guarded()
  expect(await check()).toBe(`${candidate} may serve`)
  state.mayServe = false
  await check()
  expect(orders).toEqual([])
  fault.set = 'refused'
  expect(await check()).toMatch(/could not be given the whole share, and is given it again: 409$/)
  fault.set = 'slow'
  expect(await check()).toMatch(/was given the whole share, which is not in force yet$/)
  fault.set = undefined
  expect(await check()).toMatch(/m_v1\.0\.0 now has the whole share$/)
  expect(orders).toHaveLength(3)
  expect(await check()).toBe(`no version but ${champion} has a share`)
  expect(orders).toHaveLength(3)
  expect(state.weights).toEqual({ [champion]: 100, [candidate]: 0 })
})

it('reads back an order whose answer was lost', async () => {
  const { state, fault, orders, check } = guarded()
  await check()
  state.mayServe = false
  fault.set = 'lost'
  await check()
  expect(await check()).toMatch(/no answer$/)
  expect(await check()).toBe(`no version but ${champion} has a share`)
  expect(orders).toHaveLength(1)
})

it('goes on asking while the gateway cannot be read, and sets it once it can', async () => {
  const { state, fault, orders, check } = guarded()
  await check()
  state.mayServe = false
  fault.read = 'connection refused'
  await check()
  expect(await check()).toMatch(/^the gateway .* cannot be read: connection refused; for 2 checks no replica/)
  expect(orders).toEqual([])
  fault.read = undefined
  expect(await check()).toMatch(/now has the whole share$/)
})

it('changes nothing where the known good version has no server', async () => {
  const { state, orders, check } = guarded({ [candidate]: 100 })
  await check()
  state.mayServe = false
  await check()
  expect(await check()).toMatch(/has no server named m_v1\.0\.0: add it, so nothing is changed$/)
  expect(orders).toEqual([])
})
