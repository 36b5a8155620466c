/** Runs a minute of faults drawn from one seed; `npm run bench -- chaos --minutes 30 --seed S` runs longer. */
import { expect, it } from 'vitest'
import { runChaos } from '../../chaos/loop.ts'
import { reached } from '../../../../test/faults/figures.ts'

it('random faults under load, with good and bad releases, break no invariant and leave nothing stuck', async () => {
  const lines: string[] = []
  const say = (line: string) => void lines.push(line)
  const found = await runChaos({ seed: 7, runMs: 75_000, rate: 100, say })
  const { issues, failures, answered, faults } = found
  const outside = [...failures.outside.values()].reduce((sum, times) => sum + times, 0)
  if (issues.length > 0 || outside > 0) process.stderr.write(`${lines.join('\n')}\n`)
  expect(issues).toEqual([])
  expect(Object.fromEntries(failures.outside)).toEqual({})
  expect(answered).toBeGreaterThan(2_000)
  reached(
    'F52',
    `seed ${found.seed}: ${faults.length} faults, ${answered} requests answered, ${outside} failed outside planted faults, 0 invariants broken`,
  )
}, 400_000)
