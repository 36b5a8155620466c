/** Tests that a replica hands its port over, and exits when no supervisor names it any more. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { listenWhenFree, offerListener, offerPath } from '../../../api/transport/shared-port.ts'
import { birthOf } from '@tenure/embedded'
import { receiveSharedPort } from '../../../cli/supervisor/shared-port.ts'

let directory: string
let supervisor: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tenure-successor-'))
  supervisor = join(directory, 'supervisor.json')
})
afterEach(() => rmSync(directory, { recursive: true }))

it('the port of a listener is received with its queue, and only if it is the requested port', async () => {
  const listener = createServer((socket) => socket.end('former'))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  const offers = dirname(offerPath(supervisor, '1'))
  expect(await receiveSharedPort(offers, { host: '127.0.0.1', port })).toBeUndefined()
  const end = offerListener(listener, offerPath(supervisor, '1'), () => {})
  expect(statSync(offers).mode & 0o077).toBe(0)
  expect(await receiveSharedPort(offers, { host: '127.0.0.1', port: port - 1 })).toBeUndefined()
  expect(await receiveSharedPort(offers, { host: '0.0.0.0', port })).toBeUndefined()
  const received = await receiveSharedPort(offers, { host: '127.0.0.1', port: 0 })
  expect(received?.port).toBe(port)
  end()
  listener.close()
  // A killed process leaves its offer behind.
  writeFileSync(offerPath(supervisor, '2'), '')
  expect(await receiveSharedPort(offers, { host: '127.0.0.1', port })).toBeUndefined()
  // No process accepts, and yet the connection waits in the queue of the port.
  const program = `require('node:net').connect(${port}, '127.0.0.1').on('data', (data) => console.log(String(data)))`
  const caller = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const heard = new Promise((resolve) => caller.stdout.once('data', (data) => resolve(String(data).trim())))
  const { fd } = received!.handle as { fd: number }
  const successor = createServer((socket) => socket.end('successor')).listen({ fd })
  expect(await heard).toBe('successor')
  successor.close()
  received?.close()
})

it('a port that a predecessor holds is listened on as soon as the predecessor has ended', async () => {
  const predecessor = createServer((socket) => socket.end('predecessor'))
  await new Promise<void>((resolve) => predecessor.listen(0, '127.0.0.1', resolve))
  const { port } = predecessor.address() as AddressInfo
  const server = createHttpServer((_request, response) => response.end('successor'))
  const leave = listenWhenFree(server, { host: '127.0.0.1', port, maxConnections: 10 })
  const answer = async () => (await fetch(`http://127.0.0.1:${port}`)).text()
  await expect(answer()).rejects.toThrow()
  predecessor.close()
  await expect.poll(() => answer().catch(String)).toBe('successor')
  leave()
  await expect(answer()).rejects.toThrow()
})

it('a replica whose supervisor was killed ends when its file does not name it', async () => {
  const module = fileURLToPath(new URL('../../../api/transport/shared-port.ts', import.meta.url))
  const script = join(directory, 'replica.ts')
  writeFileSync(
    script,
    `import { endWhenForgotten } from '${module}'
     endWhenForgotten('${supervisor}', () => process.exit())
     setInterval(() => {}, 1_000)
     console.log(process.pid)`,
  )
  const program = `require('node:child_process').spawn(process.execPath, ['--import', 'tsx', '${script}'], { stdio: ['ignore', 1, 2] }); setInterval(() => {}, 1_000)`
  const parent = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const replica = await new Promise<number>((resolve) =>
    parent.stdout.once('data', (data) => resolve(Number(data))),
  )
  writeFileSync(supervisor, JSON.stringify({ groups: [{ pid: replica }] }))
  parent.kill('SIGKILL')
  await new Promise((resolve) => setTimeout(resolve, 5_000))
  expect(birthOf(replica)).toBeDefined()
  rmSync(supervisor)
  await expect.poll(() => birthOf(replica)).toBeUndefined()
})
