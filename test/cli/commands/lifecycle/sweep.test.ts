/** Tests how `tenure sweep` reads the values of --grid, and what it prints of trials that have failed. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { readGrid, sweepCommand } from '../../../../cli/commands/lifecycle/sweep.ts'
import { runCommand } from '../../../support/command-line.ts'

it.each([
  ['units=4,8', { units: [4, 8] }],
  ['units=4 , 8', { units: [4, 8] }],
  ['rate=0.001..0.1', { rate: { low: 0.001, high: 0.1 } }],
  ['path=a..b', { path: ['a..b'] }],
])('--grid %s is read as %j', (pair, wanted) => expect(readGrid([pair])).toEqual(wanted))

it.each(['units', 'units=', '=4', 'units=4..', 'units=..4', 'units=..'])('--grid %s is refused', (pair) =>
  expect(() => readGrid([pair])).toThrow(
    `Invalid --grid "${pair}"; use units=16,32 or learningRate=0.001..0.1`,
  ),
)

it('a sweep prints the last line of why a trial has failed', async () => {
  const message =
    'train.py failed: exit code 2\n  File "train.py", line 3\nValueError: no boosting type foo\n'
  const sweep = {
    id: 'swp_1',
    outcome: 'chosen',
    message: 'kind gbdt; its retraining ended as registered',
    trials: [
      { overrides: { kind: 'gbdt' }, outcome: 'scored', score: 0.8, message: 'accuracy 0.8' },
      { overrides: { kind: 'foo' }, outcome: 'failed', message },
    ],
  }
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(sweep))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { out } = await runCommand([sweepCommand], ['sweep', 'iris', '--grid', 'kind=gbdt,foo', '--url', url])
  expect(out).toMatch(/kind=foo +– +failed +ValueError: no boosting type foo\n/)
  expect(out).not.toMatch(/line 3|accuracy 0\.8/)
  sweep.trials = []
  const without = await runCommand([sweepCommand], ['sweep', 'iris', '--grid', 'kind=gbdt,foo', '--url', url])
  server.close()
  expect(without.out).toBe('chosen: kind gbdt; its retraining ended as registered\n')
})
