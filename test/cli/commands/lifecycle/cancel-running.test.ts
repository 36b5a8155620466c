/** Tests which trials and sweeps `--cancel` ends. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { sweepCommand } from '../../../../cli/commands/lifecycle/sweep.ts'
import { tryCommand } from '../../../../cli/commands/lifecycle/try.ts'
import { runCommand } from '../../../support/command-line.ts'

let server: Server
let url: string
let cancelled: string[]
/** A sweep whose trials are all newer than the trial of `daisies`. */
const beside = [
  ...Array.from({ length: 200 }, (_, i) => ({ id: `tri_s${i}`, sweep_id: 'swp_2' })),
  { id: 'tri_4' },
]
const lists: Record<string, object[]> = {
  trials: [{ id: 'tri_3' }, { id: 'tri_2', sweep_id: 'swp_1' }, { id: 'tri_1', outcome: 'better' }],
  sweeps: [{ id: 'swp_1' }],
}
beforeAll(async () => {
  server = createServer((request, response) => {
    const [, , list = '', id] = request.url!.split(/[/?]/)
    if (request.method === 'POST') cancelled.push(request.url!)
    const query = new URL(request.url!, 'http://localhost').searchParams
    const [isModel, isBeside] = ['iris', 'daisies'].map((model) => query.get('model') === model)
    const found = isModel ? lists[list] : isBeside ? beside.slice(0, Number(query.get('limit'))) : []
    const shown =
      id?.startsWith('model') === false ? { id, outcome: 'cancelled', message: 'by olga' } : undefined
    request.resume()
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify(shown ?? { [list]: found }))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => void server.close())
beforeEach(() => void (cancelled = []))

it.each([
  ['try', tryCommand, 'tri_3', '/v1/trials/tri_3/cancel'],
  ['sweep', sweepCommand, 'swp_1', '/v1/sweeps/swp_1/cancel'],
])('%s ends what runs, but no trial of a sweep', async (name, command, id, order) => {
  const { code, out } = await runCommand([command], [name, 'iris', '--cancel', '--url', url])
  expect([code, out]).toEqual([0, `${id} cancelled: by olga\n`])
  expect(cancelled).toEqual([order])
})

it('ends a trial that runs beside a sweep of two hundred newer ones', async () => {
  const { out } = await runCommand([tryCommand], ['try', 'daisies', '--cancel', '--url', url])
  expect(out).toBe('tri_4 cancelled: by olga\n')
})

it('says that nothing runs', async () => {
  const { code, err } = await runCommand([tryCommand], ['try', 'roses', '--cancel', '--url', url])
  expect(code).not.toBe(0)
  expect(err).toContain('No trial of roses is running')
  expect(cancelled).toEqual([])
})
