/** Tests which trials and sweeps are cancelled and shown. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { sweepsGroup } from '../../../../cli/commands/lifecycle/sweep.ts'
import { trialsGroup } from '../../../../cli/commands/lifecycle/try.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let cancelled: string[]
/** A sweep whose trials are all newer than the trial of `daisies`. */
const beside = [
  ...Array.from({ length: 200 }, (_, i) => ({ id: `try_s${i}`, sweep_id: 'swp_2' })),
  { id: 'try_4' },
]
const lists: Record<string, object[]> = {
  trials: [{ id: 'try_3' }, { id: 'try_2', sweep_id: 'swp_1' }, { id: 'try_1', outcome: 'better' }],
  sweeps: [{ id: 'swp_1' }],
}
beforeAll(async () => {
  server = createServer((request, response) => {
    const [, , list = '', id] = request.url!.split(/[/?]/)
    if (request.method === 'POST') cancelled.push(request.url!)
    const query = new URL(request.url!, 'http://localhost').searchParams
    const [isModel, isBeside] = ['iris', 'daisies'].map((model) => query.get('model') === model)
    const isTwo = query.get('model') === 'tulips'
    const found = isTwo
      ? [{ id: 'try_6' }, { id: 'try_5' }]
      : isModel
        ? lists[list]
        : isBeside
          ? beside.slice(0, Number(query.get('limit')))
          : []
    const shown =
      id?.startsWith('model') === false
        ? { id, outcome: 'cancelled', message: 'by olga', trials: [] }
        : undefined
    request.resume()
    if (request.method === 'POST' && id === 'try_5') {
      const refusal = { code: 'command_refused', detail: 'it has ended', status: 409 }
      response.writeHead(409, { 'content-type': 'application/problem+json' }).end(JSON.stringify(refusal))
      return
    }
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify(shown ?? { [list]: found }))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())
beforeEach(() => void (cancelled = []))

const run = (...words: string[]) => runCommand([trialsGroup, sweepsGroup], [...words, '--url', url])

it.each([
  ['trials', 'iris', 'try_3'],
  ['trials', 'try_3', 'try_3'],
  ['sweeps', 'iris', 'swp_1'],
  ['sweeps', 'swp_1', 'swp_1'],
])('%s cancel %s ends what runs, but no trial of a sweep', async (group, named, id) => {
  const { code, out } = await run(group, 'cancel', named)
  expect([code, out]).toEqual([0, `${id} cancelled: by olga\n`])
  expect(cancelled).toEqual([`/v1/${group}/${id}/cancel`])
})

it('ends a trial that runs beside a sweep of two hundred newer ones', async () => {
  expect((await run('trials', 'cancel', 'daisies')).out).toBe('try_4 cancelled: by olga\n')
})

it('says that nothing runs', async () => {
  const { code, err } = await run('trials', 'cancel', 'roses')
  expect(code).toBe(exitCodes.usage)
  expect(err).toContain('No trial of roses is running')
  expect(cancelled).toEqual([])
})

it('of several running trials, says which is cancelled and which is refused', async () => {
  const { code, out, err } = await run('trials', 'cancel', 'tulips')
  expect([code, out]).toEqual([exitCodes.refused, 'try_6 cancelled: by olga\n'])
  expect(err).toBe('✗ try_5 it has ended (command_refused)\n')
})

it.each(['trials', 'sweeps'])('%s show the last one of a model, or the named one', async (group) => {
  const id = group === 'trials' ? 'try_3' : 'swp_1'
  for (const named of ['iris', id]) {
    const { code, out } = await run(group, 'show', named)
    expect([code, out]).toEqual([0, 'cancelled: by olga\n'])
  }
  const none = await run(group, 'show', 'roses')
  expect(none).toMatchObject({ code: exitCodes.notFound, err: expect.stringContaining('roses has had no') })
})
