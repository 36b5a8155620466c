/** Tests `tenure versions register` against a stub of the API: what it sends, what it prints, and what it refuses itself. */
import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { versionsGroup } from '../../../../cli/commands/registry/versions.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

const large = join(tmpdir(), `tenure-register-large-${process.pid}`)
let server: Server
let url: string
let folder: string
const asked: { method?: string; url?: string; form?: FormData }[] = []
const id = 'retrain/roses/1'

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-register-'))
  writeFileSync(join(folder, 'model.txt'), 'tree\n')
  writeFileSync(join(folder, 'columns.json'), '["size"]')
  writeFileSync(large, '')
  truncateSync(large, 67_108_865)
  server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (chunk: Buffer) => parts.push(chunk))
    request.on('end', () => {
      const { method, url } = request
      void (async () => {
        const body = new Response(new Uint8Array(Buffer.concat(parts)), {
          headers: { 'content-type': request.headers['content-type'] ?? '' },
        })
        asked.push({ method, url, form: method === 'POST' ? await body.formData() : undefined })
        const answer =
          method === 'POST'
            ? {
                id,
                workflow_id: 'retrain/roses',
                artifact: { library: 'LightGBM', unused: ['scent'], by_place: ['size', 'age'] },
              }
            : { id, stage: 'ended', outcome: 'not_better', message: 'worse than roses_v1.0.0' }
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
      })()
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  rmSync(folder, { recursive: true })
  rmSync(large)
})

const register = (...words: string[]) =>
  runCommand([versionsGroup], ['versions', 'register', 'roses', ...words, '--url', url])
const artifact = () => ['--artifact', join(folder, 'model.txt')]

it.each(['--reason', '--note'])(
  'versions register sends the file, its columns and what is said about it (%s)',
  async (reason) => {
    const { code, out, err } = await register(
      ...artifact(),
      '--columns',
      join(folder, 'columns.json'),
      '--trained-on',
      'roses of March',
      '--allow-unknown-categories',
      'new colours',
      reason,
      'first',
    )
    expect(code).toBe(exitCodes.done)
    expect(out + err).toContain('Features that the model does not take: scent')
    expect(out).toContain('taken in the order of the model file: size, age.')
    expect(out).toContain('Evaluating the version of roses')
    const { method, url: path, form } = asked.findLast((each) => each.method === 'POST')!
    expect([method, path]).toEqual(['POST', '/v1/models/roses/versions'])
    expect(await (form!.get('artifact') as File).text()).toBe('tree\n')
    expect(await (form!.get('columns') as File).text()).toBe('["size"]')
    const notes = ['trained_on', 'allow_unknown_categories', 'note'].map((name) => form!.get(name))
    expect(notes).toEqual(['roses of March', 'new colours', 'first'])
  },
)

it('versions register --watch ends with exit code 6 when the gate refuses', async () => {
  const { code, out } = await register(...artifact(), '--watch')
  expect([code, out]).toEqual([
    exitCodes.otherwise,
    expect.stringContaining('failed the gate: worse than roses_v1.0.0'),
  ])
})

it.each([
  [[], /--artifact is missing/],
  [['--artifact', '/nowhere/model.txt'], /no such file: \/nowhere\/model\.txt/],
  [['--artifact', '/dev/zero'], /is not readable: it is a device/],
  [['--artifact', '/usr'], /is a folder without serve\.py, MLmodel or a pickle/],
  [['--artifact', large], /is not readable: it has 67108865 bytes, more than the 67108864/],
])('versions register %j is refused before anything is sent', async (words, why) => {
  const before = asked.length
  const { code, err } = await register(...words)
  expect([code, err]).toEqual([exitCodes.usage, expect.stringMatching(why)])
  expect(asked).toHaveLength(before)
})

it('versions register refuses a file that is written while it is read', async () => {
  const path = join(folder, 'growing.txt')
  writeFileSync(path, Buffer.alloc(16 * 2 ** 20, 'tree '))
  const before = asked.length
  let isDone = false
  const registered = register('--artifact', path).finally(() => (isDone = true))
  for (let second = 1; !isDone; second++) {
    utimesSync(path, second, second)
    await setImmediate()
  }
  const { code, err } = await registered
  expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining('has changed while it was read')])
  expect(asked).toHaveLength(before)
})
