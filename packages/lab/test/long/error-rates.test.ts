/** Runs the tests of error rates with all of their worlds; `npm run test:unit` draws a sixth of them. */
import { execFileSync, spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { checkout, environmentWith } from '../../../../temporal.config.ts'

it('each judge keeps its error rate in all simulated worlds', () => {
  const files = execFileSync(
    'git',
    ['grep', '--untracked', '-l', 'support/evaluation/worlds.ts', '--', 'test/*.test.ts'],
    {
      cwd: checkout,
      encoding: 'utf8',
    },
  )
  const args = ['vitest', 'run', '--project', 'pure', '--maxWorkers=1', ...files.trim().split('\n')]
  const { status, stdout } = spawnSync('npx', args, {
    cwd: checkout,
    env: environmentWith({ TENURE_TEST_WORLDS: 'all' }),
    encoding: 'utf8',
  })
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: expect.stringMatching(/Test Files .*[6-9] passed/) as string,
  })
})
