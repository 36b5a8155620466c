/** Runs the code of the README, and checks that every export is described. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, readPage, root, run } from './support/pages.ts'

describe('the code of the README', () => {
  let folder: string
  beforeAll(() => {
    // Inside of the checkout, where Node finds the packages by their names.
    const cache = join(root, '..', '..', 'node_modules', '.cache')
    mkdirSync(cache, { recursive: true })
    folder = mkdtempSync(join(cache, 'embedded-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const runPage = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return run(['--import', 'tsx', join(folder, name)], root)
  }

  it('prints what the page shows', async () => {
    expect([await runPage('page.mjs', blocksOf('README.md', 'js')[0]!)]).toEqual(
      blocksOf('README.md', 'text'),
    )
  })

  it('gives tests the addresses of both servers, and stops them', async () => {
    writeFileSync(join(folder, 'global-setup.mts'), blocksOf('README.md', 'ts')[0]!)
    const caller = `import setup from './global-setup.mts'
      const stop = await setup({ provide: (name, value) => console.log(name, value) })
      await stop()`
    expect(await runPage('caller.mjs', caller)).toMatch(
      /^postgresUrl postgres:\/\/\S+\ntemporalAddress 127\.0\.0\.1:\d+\n$/,
    )
  })
})

it('the README names only functions that the package exports', async () => {
  const exported = Object.keys(await import('../src/index.ts'))
  const named = [...readPage('README.md').matchAll(/`((?:start|plan|install|spawn|when|free)\w*)/g)].map(
    ([, name]) => name!,
  )
  expect(named.length).toBeGreaterThan(8)
  expect(named.filter((name) => !exported.includes(name))).toEqual([])
})

it('every export has a docstring of its own', () => {
  const files = readdirSync(join(root, 'src')).filter((name) => /^(?!index).*\.ts$/.test(name))
  const bare = files.flatMap((name) => {
    const text = readPage(join('src', name))
    return [...text.matchAll(/^export (?:async function|function|const|interface|type) (\w+)/gm)].flatMap(
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
