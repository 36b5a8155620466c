/** Connections of callers who were refused, on real sockets: when they are read again. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { createReadThrottle } from '../../../api/transport/read-throttle.ts'

let server: Server | undefined
const callers: Socket[] = []
afterEach(() => {
  for (const each of callers.splice(0)) each.destroy()
  server?.close()
})

/** A caller, and its end here, which tells what it has read. */
async function meet(): Promise<{ caller: Socket; socket: Socket; read: () => string }> {
  let read = ''
  const met = new Promise<Socket>((resolve) => {
    server = createServer(resolve)
  })
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  const caller = connect((server!.address() as AddressInfo).port, '127.0.0.1')
  const socket = await met
  callers.push(caller, socket)
  socket.on('data', (chunk: Buffer) => (read += chunk.toString()))
  return { caller, socket, read: () => read }
}

it('a connection rests until the process is calm', async () => {
  let calm = false
  const { caller, socket, read } = await meet()
  const respite = createReadThrottle(() => calm)
  respite.pause(socket)
  respite.pause(socket)
  expect(socket.isPaused()).toBe(true)
  await new Promise((resolve) => caller.write('again', resolve))
  expect(read()).toBe('')
  calm = true
  await expect.poll(read).toBe('again')
  expect(socket.isPaused()).toBe(false)
})

it('and for no longer than Retry-After says, however busy it is', async () => {
  const { caller, socket, read } = await meet()
  const began = performance.now()
  createReadThrottle(() => false).pause(socket)
  caller.write('later')
  await expect.poll(read).toBe('later')
  expect(performance.now() - began).toBeGreaterThanOrEqual(1_000)
})

it('one that is closed meanwhile is forgotten', async () => {
  let calm = false
  const { socket, read } = await meet()
  const other = await meet()
  const respite = createReadThrottle(() => calm)
  respite.pause(socket)
  respite.pause(other.socket)
  socket.destroy()
  other.caller.write('here')
  calm = true
  await expect.poll(other.read).toBe('here')
  expect(read()).toBe('')
})
