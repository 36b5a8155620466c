/** Runs the fault simulator longer than simulate.test.ts, and plants bugs that it must find: in random runs, or by the script that was written for each. */
import { expect, it } from 'vitest'
import { plants } from './planted-bugs.ts'
import { simulate } from './run-simulator.ts'

it.each([
  ['random runs', ['--runs', '200', '--seed', '1']],
  ['runs of each script', ['--script', 'all', '--runs', '20', '--seed', '1']],
])('%s break no property', async (_, args) => {
  const { code, output } = await simulate(...args)
  expect(code, output).toBe(0)
})

it('random runs find planted bugs', async () => {
  const chosen = [
    'wall-clock-lease',
    'off-by-one-generation',
    'acknowledged-too-early',
    'requester-approves',
    'approve-after-reject',
    'no-compare-and-set',
  ]
  // Starts at the first of a few seeds that find all of them.
  const { code, output } = await simulate(
    '--plants',
    '--only',
    chosen.join(),
    '--seconds',
    '300',
    '--seed',
    '251',
    '--cores',
    '1',
  )
  expect(code, output).toBe(0)
  expect(output).toContain('6 of 6 found')
})

it('a script finds the bug that it was written for', async () => {
  const chosen = plants.filter(({ script }) => script !== undefined).map(({ name }) => name)
  const { code, output } = await simulate('--plants', '--only', chosen.join())
  expect(code, output).toBe(0)
  expect(output).toContain(`${chosen.length} of ${chosen.length} found`)
})
