/** Tests pausing and resuming reads on real sockets, with a clock that the test advances. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, expect, it, vi } from 'vitest'
import { createReadThrottle } from '../src/read-throttle.ts'

let server: Server | undefined
const sockets: Socket[] = []
afterEach(() => {
  vi.useRealTimers()
  for (const each of sockets.splice(0)) each.destroy()
  server?.close()
})

/** Opens a client, and returns the server's end of its connection with the bytes it has read. */
async function connection(): Promise<{ client: Socket; socket: Socket; read: () => string }> {
  let read = ''
  const accepted = new Promise<Socket>((resolve) => {
    server = createServer(resolve)
  })
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  const client = connect((server!.address() as AddressInfo).port, '127.0.0.1')
  const socket = await accepted
  sockets.push(client, socket)
  socket.on('data', (chunk: Buffer) => (read += chunk.toString()))
  return { client, socket, read: () => read }
}

it('reading resumes when the process is idle', async () => {
  let idle = false
  const { client, socket, read } = await connection()
  const throttle = createReadThrottle(() => idle, 1_000)
  throttle.pause(socket)
  throttle.pause(socket)
  expect(socket.isPaused()).toBe(true)
  await new Promise((resolve) => client.write('again', resolve))
  expect(read()).toBe('')
  idle = true
  await expect.poll(read).toBe('again')
  expect(socket.isPaused()).toBe(false)
})

it('reading resumes after the time in Retry-After although the process is busy', async () => {
  const { client, socket, read } = await connection()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  createReadThrottle(() => false, 1_000).pause(socket)
  vi.advanceTimersByTime(999)
  expect(socket.isPaused()).toBe(true)
  vi.advanceTimersByTime(26)
  expect([socket.isPaused(), vi.getTimerCount()]).toEqual([false, 0])
  vi.useRealTimers()
  client.write('later')
  await expect.poll(read).toBe('later')
})

it('a connection that has closed meanwhile is skipped', async () => {
  let idle = false
  const { socket, read } = await connection()
  const other = await connection()
  const throttle = createReadThrottle(() => idle, 1_000)
  throttle.pause(socket)
  throttle.pause(other.socket)
  socket.destroy()
  other.client.write('here')
  idle = true
  await expect.poll(other.read).toBe('here')
  expect(read()).toBe('')
})
