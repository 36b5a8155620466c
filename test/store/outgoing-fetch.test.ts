import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { outgoingFetch } from '../../store/outgoing-fetch.ts'

it('a server that closes while its body waits to be read ends no process', async () => {
  const body = Buffer.alloc(64 * 1_024, 'a')
  const server = createServer((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`)
      socket.end(body)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const closed = once(server, 'connection').then(([socket]) => once(socket, 'close'))
  // Node's fetch registers its own dispatcher globally.
  await fetch('data:,').then((answer) => answer.text())
  await fetch('http://127.0.0.1:1/').catch(() => undefined)
  const response = await outgoingFetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
    privateHosts: 'all',
    maxBytes: body.length,
    maxMs: 60_000,
  })
  // The parser of Node's own fetch throws at the end of the connection, outside of any promise.
  await closed
  expect((await response.bytes()).length).toBe(body.length)
  server.close()
})
