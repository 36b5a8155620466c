/** Runs the fault simulator briefly, with a few planted bugs that it must find. `npm run test:sim` runs longer. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { plants } from './planted-bugs.ts'
import { scripts } from './scripts.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

/** Runs in a child process, because the simulator replaces time and randomness of its process. */
function simulate(...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'scripts/simulate.ts', ...args], {
    cwd: checkout,
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code: code ?? 1, output })))
}

describe('the fault simulator', () => {
  it('breaks no property in 200 runs', async () => {
    const { code, output } = await simulate('--runs', '200', '--seed', '1')
    expect(code, output).toBe(0)
    expect(output).toContain('200 runs')
  })

  it('gives the same run for the same seed', async () => {
    const [first, second] = await Promise.all(
      [1, 2].map(() => simulate('--runs', '1', '--seed', '7', '--mode', 'liveness', '--trace')),
    )
    const told = (output: string) => output.split('\n').filter((line) => /^ +\d+\.\d{3} /.test(line))
    expect(told(first!.output).length).toBeGreaterThan(10)
    expect(told(first!.output)).toEqual(told(second!.output))
  })

  it('finds planted bugs', async () => {
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
})

describe('a script', () => {
  // In one process, because each takes a second to start.
  let played: { code: number; output: string }
  beforeAll(async () => {
    played = await simulate('--script', 'all', '--runs', '20', '--seed', '1')
  })

  it.each(scripts)('$name breaks no property', ({ name }) => {
    expect(played.output).toContain(`${name}: 20 runs, no property broken`)
  })

  it('none breaks a property', () => {
    expect(played.code, played.output).toBe(0)
    expect(played.output).toContain(`${scripts.length * 20} runs`)
  })

  it('finds the bug that it was written for', async () => {
    const chosen = plants.filter(({ script }) => script !== undefined).map(({ name }) => name)
    const { code, output } = await simulate('--plants', '--only', chosen.join())
    expect(code, output).toBe(0)
    expect(output).toContain(`${chosen.length} of ${chosen.length} found`)
  })
})

it.each(plants)('the planted bug $name is found in the source', ({ file, find, replace }) => {
  expect(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').split(find)).toHaveLength(2)
  expect(replace).not.toBe(find)
})
