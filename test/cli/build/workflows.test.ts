/** Tests that compiled workflow code is reused while no source and no package has changed, and compiled again after a change. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { stampOf } from '../../../cli/build/sources.mjs'
import { cachedCode } from '../../../cli/build/workflows.mjs'

let root: string
let made = 0
const write = (path: string, text: string): void => writeFileSync(join(root, path), text)
const bundle = (compile = () => Promise.resolve(`code ${++made}`)) =>
  cachedCode(join(root, 'dist'), 'workflows', {
    stamp: () => stampOf(root, ['workflows', 'domain', 'packages']),
    compile,
  })
const keptIn = () => readdirSync(join(root, 'dist'))
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-bundle-'))
  for (const part of [
    'workflows',
    'domain/deep',
    'node_modules',
    'packages/sequential/src',
    'packages/lab/log',
  ])
    mkdirSync(join(root, part), { recursive: true })
  write('node_modules/.package-lock.json', '{}')
  write('workflows/release.ts', 'one')
  write('domain/deep/route.ts', 'two')
  write('packages/sequential/src/auc.ts', 'three')
  made = 0
})
afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

it('workflow code is compiled once for the same sources', async () => {
  expect([await bundle(), await bundle(), await bundle()]).toEqual(['code 1', 'code 1', 'code 1'])
})

it('workflow code is compiled for a copy that holds the workflows alone', async () => {
  rmSync(join(root, 'packages'), { recursive: true })
  expect([await bundle(), await bundle()]).toEqual(['code 1', 'code 1'])
})

it('workflow code is kept when a bench writes its page', async () => {
  await bundle()
  write('packages/lab/log/log.md', 'a page')
  expect(await bundle()).toBe('code 1')
})

it.each([
  ['a workflow', 'workflows/release.ts'],
  ['the domain', 'domain/deep/route.ts'],
  ['a new file', 'domain/new.ts'],
  ['the code of an own package', 'packages/sequential/src/auc.ts'],
  ['the packages', 'node_modules/.package-lock.json'],
])(
  'workflow code is compiled again after a change of %s, and the earlier code is deleted',
  async (_what, path) => {
    expect(await bundle()).toBe('code 1')
    write(path, 'changed')
    expect([await bundle(), await bundle()]).toEqual(['code 2', 'code 2'])
    expect(keptIn()).toHaveLength(1)
  },
)

it('workflow code is not kept when a source changes during the compilation', async () => {
  const code = await bundle(() => {
    write('workflows/release.ts', 'mended')
    return Promise.resolve('code 0')
  })
  expect([code, await bundle()]).toEqual(['code 0', 'code 1'])
  write('workflows/release.ts', 'one')
  expect(await bundle()).toBe('code 2')
})

it('an empty file of workflow code is compiled again', async () => {
  await bundle()
  write(join('dist', keptIn()[0]!), '')
  expect(await bundle()).toBe('code 2')
})
