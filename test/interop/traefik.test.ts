/** Tests that a real Traefik splits the requests of callers by the weights of an HTTPRoute of a real API server of Kubernetes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startModelServer } from '../support/servers/haproxy.ts'
import { pythonOrReason } from './packages.ts'
import { addAddress, startTraefik, type Traefik } from '../support/servers/traefik.ts'

const traefik = await pythonOrReason('traefik.txt')
const address = addAddress()

describe.skipIf('reason' in traefik || address === undefined)(
  'Traefik as controller of the Gateway API',
  () => {
    const [first, second] = ['roses-v1-0-0', 'roses-v1-1-0'] as const
    const servers: Awaited<ReturnType<typeof startModelServer>>[] = []
    let gateway: Traefik
    beforeAll(async () => {
      if ('reason' in traefik) return
      for (const name of [first, second]) servers.push(await startModelServer(name, address!.host))
      gateway = await startTraefik(traefik.bin, {
        host: address!.host,
        route: 'roses',
        servers: { [first]: servers[0]!.port },
      })
      await gateway.add(second, servers[1]!.port)
    })
    afterAll(async () => {
      await gateway?.stop()
      for (const server of servers) server.stop()
      address?.remove()
    })

    it('splits requests by the weights of the route, in turns', async () => {
      await gateway.setWeights({ [first]: 75, [second]: 25 })
      await expect.poll(() => gateway.load(100)).toEqual({ [first]: 75, [second]: 25 })
      // Traefik begins a new turn whenever it reads its configuration again.
      const { [first]: most, [second]: rest } = await gateway.load(400)
      expect(most! + rest!).toBe(400)
      expect(Math.abs(rest! - 100)).toBeLessThanOrEqual(4)
      await gateway.setWeights({ [first]: 100, [second]: 0 })
      await expect.poll(() => gateway.load(100)).toEqual({ [first]: 100 })
    })

    it('answers the share of a Service without a ready endpoint with 503, and does not count it', async () => {
      await gateway.setWeights({ [first]: 75, [second]: 25 })
      await gateway.setReady(second, false)
      await expect.poll(() => gateway.load(100)).toEqual({ [first]: 75, '503': 25 })
      const before = await gateway.counted(second)
      expect(Object.keys(await gateway.load(100)).toSorted()).toEqual(['503', first].toSorted())
      expect(await gateway.counted(second)).toBe(before)
      expect(await gateway.isTakenUp()).toBe(true)
      await gateway.setReady(second, true)
      await expect.poll(() => gateway.load(100)).toEqual({ [first]: 75, [second]: 25 })
    })

    it('counts the requests of a version, and sends the share of a server that is down to it', async () => {
      const before = await gateway.counted(second)
      const answers = await gateway.load(100)
      expect((await gateway.counted(second)) - before).toBe(answers[second])
      servers[1]!.stop()
      await expect.poll(() => gateway.load(100)).toEqual({ [first]: 75, '502': 25 })
      const failed = await gateway.counted(second, '502')
      const refused = await gateway.load(100)
      expect((await gateway.counted(second, '502')) - failed).toBe(refused['502'])
    })
  },
)
