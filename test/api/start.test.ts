/** How a replica is started: from one file that was put together before, and never from one that the sources have left behind. */
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'

let root: string

/** A checkout with little in it: two sources, a package, and what starts them. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-start-'))
  for (const path of ['api/start.mjs', 'api/start', 'tsconfig.json'])
    cpSync(join(checkout, path), join(root, path), { recursive: true })
  write('package.json', '{ "type": "module" }')
  write('domain/word.ts', `export const word: string = 'first'\n`)
  write(
    'api/server.ts',
    `import { word } from '../domain/word.ts'\nimport place from 'old'\nconst where: string = import.meta.url\n` +
      `export const fail = (): never => {\n  throw new Error('on purpose')\n}\n` +
      `let stack = ''\ntry {\n  fail()\n} catch (error) {\n  stack = String((error as Error).stack)\n}\n` +
      `process.stdout.write(JSON.stringify({ word, where, place, stack, argument: process.argv[1] }))\n`,
  )
  write('node_modules/old/package.json', '{ "name": "old", "main": "index.js" }')
  write('node_modules/old/index.js', `require('node:fs')\nmodule.exports = __dirname\n`)
  for (const name of ['esbuild', 'tsx'])
    symlinkSync(join(checkout, 'node_modules', name), join(root, 'node_modules', name))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

interface Started {
  word: string
  where: string
  place: string
  stack: string
  argument: string
  /** What it said on the side. */
  aside: string
}

function start(): Promise<Started> {
  return new Promise((resolve, reject) =>
    execFile(process.execPath, [join(root, 'api/start.mjs')], (error, out, aside) =>
      error === null
        ? resolve({ ...(JSON.parse(out) as Started), aside })
        : reject(new Error(`${error.message}${aside}`)),
    ),
  )
}

const bundles = (): string[] =>
  readdirSync(join(root, 'node_modules', '.tenure', 'start')).filter((name) => /^[0-9a-f]{16}$/.test(name))

it('runs what was put together, where the sources are', async () => {
  const first = await start()
  expect(first).toMatchObject({ word: 'first', aside: '', argument: join(root, 'api/server.ts') })
  expect(first.where).toBe(`file://${join(root, 'api/server.ts')}`)
  expect(first.place).toBe(join(root, 'node_modules/old/'))
  expect(first.stack).toMatch(/at .*fail .*api\/server\.ts:5:/)
  const made = bundles()
  expect(await start()).toEqual(first)
  expect(bundles()).toEqual(made)
})

it('runs a source as it is now, whichever was changed', async () => {
  await start()
  write('domain/word.ts', `export const word: string = 'other'\n`)
  expect((await start()).word).toBe('other')
  write('node_modules/old/index.js', `module.exports = 'a newer package'\n`)
  expect((await start()).place).toBe('a newer package')
  write('domain/word.ts', `export const word: string = 'first'\n`)
  expect((await start()).word).toBe('first')
})

it('keeps a few bundles for processes that still run from them', async () => {
  for (let edit = 0; edit < 7; edit++) {
    write('domain/word.ts', `export const word = 'edit ${edit}'\n`)
    expect((await start()).word).toBe(`edit ${edit}`)
  }
  expect(bundles()).toHaveLength(5)
})

it('starts many at once', async () => {
  const all = await Promise.all(Array.from({ length: 4 }, start))
  expect(new Set(all.map(({ word }) => word))).toEqual(new Set(['first']))
  expect(bundles()).toHaveLength(1)
})

it('reads file by file where the packages are those of another checkout, whose places they would tell', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'tenure-packages-'))
  renameSync(join(root, 'node_modules'), join(elsewhere, 'node_modules'))
  symlinkSync(join(elsewhere, 'node_modules'), join(root, 'node_modules'))
  try {
    for (const run of ['first', 'second'])
      expect((await start()).where, run).toBe(`file://${join(root, 'api/server.ts')}`)
  } finally {
    rmSync(elsewhere, { recursive: true, force: true })
  }
})

it('reads file by file where nothing can be put together', async () => {
  write('node_modules/.tenure', 'a file where a directory is wanted')
  const { word, aside, stack } = await start()
  expect(word).toBe('first')
  expect(aside).toContain('started file by file')
  expect(stack).toMatch(/api\/server\.ts:5:/)
})

it('trusts no bundle of a source that was written while it was put together', async () => {
  // As if somebody had saved it just now.
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() + 60_000))
  expect((await start()).word).toBe('first')
  expect(existsSync(join(root, 'node_modules/.tenure/start/api-server.json'))).toBe(false)
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() - 60_000))
  expect((await start()).word).toBe('first')
  expect(existsSync(join(root, 'node_modules/.tenure/start/api-server.json'))).toBe(true)
})

it('goes by the content where the times are others, as in a checkout that was copied', async () => {
  write('domain/word.ts', `export const word: string = 'first'\n`)
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() - 60_000))
  await start()
  const manifest = readFileSync(join(root, 'node_modules/.tenure/start/api-server.json'), 'utf8')
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() - 30_000))
  await start()
  expect(readFileSync(join(root, 'node_modules/.tenure/start/api-server.json'), 'utf8')).toBe(manifest)
})
