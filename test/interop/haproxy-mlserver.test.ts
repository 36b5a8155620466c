/**
 * Tests that a model whose versions run on two real MLServer behind a real HAProxy is promoted and rolled back by the weights of HAProxy:
 * callers ask by the Open Inference Protocol, and no request passes this system.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGatewaySystem, type GatewaySystem } from '../support/servers/gateway-system.ts'
import { startHaproxy, type Haproxy } from '../support/servers/haproxy.ts'
import { asks, loadUntilEnded, model, openMlservers, policy } from '../support/servers/mlserver-versions.ts'
import { pythonOrReason } from './packages.ts'

const [haproxy, mlserver] = await Promise.all([pythonOrReason('haproxy.txt'), pythonOrReason('mlserver.txt')])

describe.skipIf('reason' in haproxy || 'reason' in mlserver)('two MLServer behind HAProxy', () => {
  const [first, second, third] = [0, 1, 2].map((minor) => `${model}_v1.${minor}.0`) as [
    string,
    string,
    string,
  ]
  let mlservers: ReturnType<typeof openMlservers>
  let served: Awaited<ReturnType<typeof mlservers.start>>
  let releases: GatewaySystem
  let gateway: Haproxy
  const checks = () => Number(new URL(releases.system.urls[0]!).port)
  beforeAll(async () => {
    if ('reason' in haproxy || 'reason' in mlserver) return
    mlservers = openMlservers(mlserver)
    served = await mlservers.start(first)
    gateway = await startHaproxy(haproxy.python, { backend: model, servers: { [first]: served.port }, asks })
    const traffic = { gateway: 'haproxy', address: gateway.address, backend: model } as const
    releases = await startGatewaySystem(traffic, { model, policy, replicas: 1 })
    expect(await mlservers.register(releases, served)).toBe(first)
    expect(await (await releases.start(first)).result()).toMatchObject({ outcome: 'promoted' })
  })
  afterAll(async () => {
    await releases?.system.stop()
    await gateway?.stop()
    await mlservers?.stop()
  })

  it('a candidate is promoted, and no request fails', async () => {
    const server = await mlservers.start(second)
    expect(await mlservers.register(releases, server, first)).toBe(second)
    await gateway.add(second, server.port, checks())
    const release = await releases.start(second)
    const answered = await loadUntilEnded(releases, gateway, release)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(Object.keys(answered).toSorted()).toEqual([first, second])
    expect(await gateway.weights()).toEqual({ [first]: 0, [second]: 100 })
  })

  it('a candidate whose model is spoiled during its canary loses its share', async () => {
    await mlservers.change(served, third)
    expect(await mlservers.register(releases, served, second)).toBe(third)
    await gateway.add(third, served.port, checks())
    const release = await releases.start(third)
    await expect.poll(async () => (await gateway.weights())[third]).toBe(25)
    await mlservers.spoil(served, third)
    const answered = await loadUntilEnded(releases, gateway, release)
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/canary requests failed/) as string,
    })
    expect(answered['500']).toBeGreaterThan(0)
    expect(await gateway.weights()).toEqual({ [first]: 0, [second]: 100, [third]: 0 })
    expect(await gateway.load(100)).toEqual({ [second]: 100 })
  })
})
