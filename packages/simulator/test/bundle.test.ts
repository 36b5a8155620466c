/** Tests that a bug is planted into the bundle alone, and that a plant which changes nothing is refused. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { bundle } from '../src/bundle.ts'

let root: string
const source = `export const charged = (isPaid: boolean): number => {\n  if (isPaid) return 0\n  return 30\n}\n`
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-simulator-'))
  mkdirSync(join(root, 'src'))
  writeFileSync(join(root, 'src', 'orders.ts'), source)
  writeFileSync(join(root, 'unused.ts'), 'export {}\n')
  const entry = `import { setTimeout } from 'node:timers/promises'\nimport { charged } from './src/orders.ts'\n`
  const waits = `Object.assign(globalThis, { setTimeout: (run: () => void) => run() })\nawait setTimeout(2 ** 30)\n`
  writeFileSync(join(root, 'simulation.ts'), `${entry}${waits}console.log(charged(true))\n`)
})
afterAll(() => rmSync(root, { recursive: true }))

const run = async (find?: string, file = 'src/orders.ts'): Promise<string> => {
  const plant = find === undefined ? undefined : { file, find, replace: '' }
  const made = await bundle({ root, entry: 'simulation.ts', plant })
  try {
    return execFileSync(process.execPath, [made.file], { encoding: 'utf8' })
  } finally {
    made.remove()
  }
}

it('runs with the bug and without it, and waits in virtual time', async () => {
  expect(await run()).toBe('0\n')
  expect(await run('if (isPaid) return 0')).toBe('30\n')
  expect(readFileSync(join(root, 'src', 'orders.ts'), 'utf8')).toBe(source)
})

it.each([
  ['does not occur', 'if (isFree)', undefined, /orders\.ts has the text of the planted bug 0 times/],
  ['occurs twice', 'return', undefined, /orders\.ts has the text of the planted bug 2 times/],
  ['is of no file of the simulation', 'export', 'unused.ts', /unused\.ts is no part of the simulation/],
])('a text that %s is refused', async (_, find, file, why) => {
  await expect(run(find, file)).rejects.toThrow(why)
})
