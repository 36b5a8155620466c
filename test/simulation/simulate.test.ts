/** Runs the fault simulator briefly. at-length.test.ts runs it longer and plants more bugs; `npm run test:sim` runs longer. */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { plants } from './planted-bugs.ts'
import { scripts } from './scripts.ts'
import { simulate } from './run-simulator.ts'

describe('the fault simulator', () => {
  it('breaks no property in 100 runs', async () => {
    const { code, output } = await simulate('--runs', '100', '--seed', '1')
    expect(code, output).toBe(0)
    expect(output).toContain('100 runs')
  })

  it('gives the same run for the same seed', async () => {
    const [first, second] = await Promise.all(
      [1, 2].map(() => simulate('--runs', '1', '--seed', '7', '--mode', 'liveness', '--trace')),
    )
    const told = (output: string) => output.split('\n').filter((line) => /^ +\d+\.\d{3} /.test(line))
    expect(told(first!.output).length).toBeGreaterThan(10)
    expect(told(first!.output)).toEqual(told(second!.output))
  })

  it('finds a planted bug', async () => {
    const { code, output } = await simulate('--plants', '--only', 'requester-approves')
    expect(code, output).toBe(0)
    expect(output).toContain('1 of 1 found')
  })
})

describe('a script', () => {
  // In one process, because each takes a second to start.
  let played: { code: number; output: string }
  beforeAll(async () => {
    played = await simulate('--script', 'all', '--runs', '5', '--seed', '1')
  })

  it.each(scripts)('$name breaks no property', ({ name }) => {
    expect(played.output).toContain(`${name}: 5 runs, no property broken`)
  })

  it('none breaks a property', () => {
    expect(played.code, played.output).toBe(0)
    expect(played.output).toContain(`${scripts.length * 5} runs`)
  })
})

it.each(plants)('the planted bug $name is found in the source', ({ file, find, replace }) => {
  expect(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').split(find)).toHaveLength(2)
  expect(replace).not.toBe(find)
})
