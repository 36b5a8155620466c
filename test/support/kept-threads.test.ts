/** Tests how the threads of Temporal's SDK are kept for the next worker of a test process. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, expect, it } from 'vitest'

/** Loaded by `require`, as the SDK does for each thread. */
const threads = createRequire(import.meta.url)('node:worker_threads') as { Worker: typeof Worker }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-threads-'))
  const answers = `const { parentPort, threadId } = require('node:worker_threads')
    parentPort.on('message', (message) => message === 'fail' ? process.exit(3) : parentPort.postMessage(threadId))`
  for (const name of ['workflow-worker-thread.js', 'other.js']) writeFileSync(join(folder, name), answers)
})
afterAll(() => rmSync(folder, { recursive: true }))

const start = (name = 'workflow-worker-thread.js') => new threads.Worker(join(folder, name))

/** Returns the id of the thread that responds; its next worker does not receive the message. */
async function ask(thread: Worker): Promise<unknown> {
  thread.postMessage('who')
  const [id] = (await once(thread, 'message')) as unknown[]
  return id
}

it('reuses the thread of a worker for ten workers in sequence, never for two at once', async () => {
  const ids: unknown[] = []
  for (let i = 0; i < 11; i++) {
    const thread = start()
    ids.push(await ask(thread))
    expect(thread.listenerCount('exit')).toBe(0)
    thread.on('message', () => expect.unreachable('a message of a later worker'))
    expect(await thread.terminate()).toBe(1)
  }
  expect(new Set(ids.slice(0, 10)).size).toBe(1)
  expect(ids[10]).not.toBe(ids[0])
  const [one, other] = [start(), start()]
  expect(await ask(one)).not.toBe(await ask(other))
  await Promise.all([one.terminate(), other.terminate()])
})

it('does not reuse a thread that has exited', async () => {
  const thread = start()
  const id = await ask(thread)
  thread.postMessage('fail')
  expect(await once(thread, 'exit')).toEqual([3])
  const next = start()
  expect(await ask(next)).not.toBe(id)
  await next.terminate()
})

it('does not reuse a thread that exits while it is kept', async () => {
  const thread = start()
  const id = await ask(thread)
  thread.postMessage('fail')
  await thread.terminate()
  await once(thread, 'exit')
  const next = start()
  expect(await ask(next)).not.toBe(id)
  await next.terminate()
})

it('does not keep threads of other scripts', async () => {
  const thread = start('other.js')
  const id = await ask(thread)
  await thread.terminate()
  const next = start('other.js')
  expect(await ask(next)).not.toBe(id)
  await next.terminate()
})
