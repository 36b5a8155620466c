/** Runs the code of the pages and the examples, and compares their figures. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, readPage, root, run } from './support/pages.ts'

let folder: string
beforeAll(() => {
  // Inside of the checkout, where Node finds the package by its name.
  const cache = join(root, '..', '..', 'node_modules', '.cache')
  mkdirSync(cache, { recursive: true })
  folder = mkdtempSync(join(cache, 'sequential-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const blocks = ['README.md', 'how-to-choose.md'].flatMap((page) =>
  codeOf(page).map(({ code, output = '' }, i) => ({ page, block: i + 1, code, output })),
)

it.each(blocks)('block $block of $page runs and prints what the page shows', async ({ code, output }) => {
  const file = join(folder, 'page.mjs')
  writeFileSync(file, code)
  expect(await run(['--import', 'tsx', file], root)).toBe(output)
})

it('the README has code with its output', () => {
  expect(codeOf('README.md').map(({ output }) => output)).toEqual([expect.stringContaining('roll back')])
})

it('the example stops the A/B test before its end, when the better variant is proven', async () => {
  const lines = (await run(['--import', 'tsx', 'examples/ab-test.ts'], root)).trim().split('\n')
  expect(lines.at(-1)).toMatch(/^day \d+: the treatment is better: ship it$/)
  expect(lines.length).toBeLessThan(28)
})

it('the README has the figures of the simulation, whose error stays below α', async () => {
  const output = await run(['--import', 'tsx', 'examples/peeking.ts'], root)
  const shares = [...output.matchAll(/stops ([\d.]+) %/g)].map(([, share]) => share)
  const [anytime, , once] = shares
  expect(Number(anytime)).toBeLessThanOrEqual(5)
  expect(Number(once)).toBeGreaterThan(2)
  expect([...readPage('README.md').matchAll(/stops ([\d.]+) %/g)].map(([, share]) => share)).toEqual(shares)
})

it('every export has a docstring of its own', () => {
  const files = readdirSync(join(root, 'src')).filter(
    (name) => name !== 'index.ts' && !name.endsWith('.d.ts'),
  )
  const bare = files.flatMap((name) => {
    const text = readPage(join('src', name))
    return [...text.matchAll(/^export (?:function|const|interface|type) (\w+)/gm)].flatMap(
      ({ 1: exported, index }) => {
        const before = text.slice(0, index).trimEnd()
        // The first comment of a file is about the file.
        const isDescribed = before.endsWith('*/') && before.split('/**').length > 2
        return isDescribed ? [] : [`${name}: ${exported}`]
      },
    )
  })
  expect(bare).toEqual([])
})

it('the page about the choice names only functions that the package exports', async () => {
  const exported = Object.keys(await import('../src/index.ts'))
  const named = [...readPage('how-to-choose.md').matchAll(/`([a-z]\w+)(?:\([^`]*\))?`/g)].map(
    ([, name]) => name!,
  )
  const words = new Set(['firstMass', 'falseAlarms', 'looks', 'designEffect', 'entities', 'nullMean'])
  const methods = new Set(['plainLogE', 'restart', 'logE'])
  expect(named.filter((name) => !exported.includes(name) && !words.has(name) && !methods.has(name))).toEqual(
    [],
  )
})
