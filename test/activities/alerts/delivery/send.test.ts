/** Tests hostile channels: a redirect to another address, and an endless response. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message } from '../../../../activities/alerts/delivery/message.ts'
import { send } from '../../../../activities/alerts/delivery/send.ts'
import { sendRequest } from '../../../../store/integrations/http-request.ts'

let server: Server
let url: string
const paths: string[] = []
const ids: unknown[] = []
/** Bytes that the endless response has written. */
let written = 0

beforeAll(async () => {
  server = createServer((request, response) => {
    paths.push(request.url ?? '')
    ids.push(request.headers['webhook-id'])
    request.resume()
    if (request.url?.startsWith('/moved') === true)
      return response.writeHead(307, { location: '/elsewhere' }).end()
    if (!request.url?.startsWith('/endless')) return response.end('{}')
    response.writeHead(500)
    const chunk = 'x'.repeat(65_536)
    const write = () => {
      while (!response.destroyed && response.write(chunk)) written += chunk.length
      written += chunk.length
    }
    response.on('drain', write)
    write()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const message: Message = {
  id: 'msg_1',
  about: 'raised',
  runbook: 'https://runbooks.example/quality-lost.md',
  alert: {
    id: 'alr_1',
    dedupeKey: 'quality/iris',
    kind: 'quality_lost',
    severity: 'critical',
    message: 'auc is 0.6',
    raisedAt: '2001-01-01T00:00:00.000Z',
  },
} as unknown as Message
const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`

describe('a channel', () => {
  it.each(['slack', 'webhook', 'alertmanager'] as const)(
    'of the kind %s cannot send a message on to another address',
    async (kind) => {
      paths.length = 0
      await expect(send({ kind, url: `${url}/moved`, secret }, message, 'all')).rejects.toThrow(
        'responded 307 and names another address',
      )
      expect(paths).toHaveLength(1)
    },
  )

  it('gets another id when a restored database numbers messages again, and the same for another attempt', async () => {
    const posted = async (alert: Partial<Message['alert']>, about: Message['about'] = 'raised') => {
      await send(
        { kind: 'webhook', url },
        { ...message, about, alert: { ...message.alert, ...alert } },
        'all',
      )
      return ids.at(-1)
    }
    const first = await posted({})
    expect(await posted({ message: 'auc is 0.59' })).toBe(first)
    expect(await posted({ raisedAt: '2001-01-02T00:00:00.000Z' })).not.toBe(first)
    expect(await posted({}, 'resolved')).not.toBe(first)
  })

  it('is read up to a limit, as is a system that trainings are sent to', async () => {
    const failed: unknown = await send({ kind: 'slack', url: `${url}/endless` }, message, 'all').catch(
      (error: unknown) => error,
    )
    expect((failed as Error).message).toMatch(/^the channel responded 500$/)
    await expect(sendRequest({ url }, { method: 'GET', path: '/endless' })).rejects.toMatchObject({
      status: 500,
    })
    // The buffers of the sockets are added to 1 kB and 4 MiB.
    expect(written).toBeLessThan(32 * 1_048_576)
  })
})
