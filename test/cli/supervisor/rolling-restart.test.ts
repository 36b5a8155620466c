/** Tests the shared port of replicas and their rolling restart. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { afterEach, expect, it } from 'vitest'
import { spawnProcess } from '@tenure/embedded'
import { restartReplicas } from '../../../cli/supervisor/rolling-restart.ts'
import { bindSharedPort } from '../../../cli/supervisor/shared-port.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const listens = `require('node:http').createServer((_, answer) => {
  answer.setHeader('connection', 'close'); answer.end(String(process.pid))
}).listen({ fd: 3 }, () => console.log('listens'))`

it('several processes listen on a shared port, which outlives each of them', async () => {
  const shared = bindSharedPort({ host: '127.0.0.1', port: 0 })
  ends.push(shared.close)
  const start = async () => {
    let told = ''
    const spec = {
      name: 'replica',
      command: process.execPath,
      args: ['-e', listens],
      inherits: [shared.handle],
    }
    const running = await spawnProcess(spec, (line) => (told += line))
    ends.push(() => running.kill('SIGKILL'))
    await expect.poll(() => told).toContain('listens')
    return running
  }
  const ask = async () => Number(await (await fetch(`http://127.0.0.1:${shared.port}`)).text())
  const [one, two] = [await start(), await start()]
  const answered = new Set<number>()
  await expect.poll(async () => answered.add(await ask()).size, { interval: 1 }).toBe(2)
  one.kill('SIGKILL')
  await one.exited
  for (let i = 0; i < 20; i++) expect(await ask()).toBe(two.pid)
  two.kill('SIGKILL')
  await two.exited
  // Without a listener, a new connection waits in the queue instead of being refused.
  const waiting = ask()
  const three = await start()
  expect(await waiting).toBe(three.pid)
})

it('a port in use is refused by number', async () => {
  const holder: ChildProcess = spawn(
    process.execPath,
    [
      '-e',
      `require('node:net').createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port) })`,
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  ends.push(() => holder.kill('SIGKILL'))
  const [text] = (await once(holder.stdout!, 'data')) as [Buffer]
  expect(() => bindSharedPort({ host: '127.0.0.1', port: Number(text.toString()) })).toThrow(
    expect.objectContaining({ code: 'configuration_invalid' }),
  )
})

it('replicas restart one by one, and a failed restart stops the sequence', async () => {
  const server = createServer((_, answer) => answer.end()).listen(0, '127.0.0.1')
  ends.push(() => server.close())
  await once(server, 'listening')
  const address = server.address() as { port: number }
  const urls = Array.from({ length: 3 }, () => `http://127.0.0.1:${address.port}`)
  const order: string[] = []
  const said: string[] = []
  const restart = (name: string) => {
    order.push(name)
    return Promise.resolve()
  }
  expect(await restartReplicas({ supervision: { restart }, urls, say: (line) => said.push(line) })).toBe(true)
  expect(order).toEqual(['api', 'api-2', 'api-3'])
  const broken = (name: string) =>
    name === 'api-2' ? Promise.reject(new Error('it is broken')) : restart(name)
  order.length = 0
  expect(
    await restartReplicas({ supervision: { restart: broken }, urls, say: (line) => said.push(line) }),
  ).toBe(false)
  expect(order).toEqual(['api'])
  expect(said.at(-1)).toBe(
    'api-2 failed to restart (it is broken); the remaining replicas were not restarted',
  )
})
