/** Tests that launched processes run compiled code, and never the code of earlier sources. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import nodeModule from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'

let root: string
const manifest = () => join(root, 'dist/api-server.json')

/** Makes a small checkout: two sources, a package, and the build. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-build-'))
  for (const path of [
    'api/start.mjs',
    'cli/build',
    'cli/build.mjs',
    'cli/launch.mjs',
    'project.mjs',
    'tsconfig.json',
  ])
    cpSync(join(checkout, path), join(root, path), { recursive: true })
  write('package.json', '{ "type": "module" }')
  write('domain/word.ts', `export const word: string = 'first'\n`)
  write(
    'api/server.ts',
    `import { word } from '../domain/word.ts'\nimport place from 'old'\nconst where: string = import.meta.url\n` +
      `export const fail = (): never => {\n  throw new Error('on purpose')\n}\n` +
      `let stack = ''\ntry {\n  fail()\n} catch (error) {\n  stack = String((error as Error).stack)\n}\n` +
      `process.stdout.write(JSON.stringify({ word, where, place, stack, args: process.argv.slice(1) }))\n`,
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
  args: string[]
  errorOutput: string
}

function start(...args: string[]): Promise<Started> {
  const words = args.length > 0 ? args : [join(root, 'api/start.mjs')]
  return new Promise((resolve, reject) =>
    execFile(process.execPath, words, { cwd: tmpdir() }, (error, out, errorOutput) =>
      error === null
        ? resolve({ ...(JSON.parse(out) as Started), errorOutput })
        : reject(new Error(`${error.message}${errorOutput}`)),
    ),
  )
}

const ownFrames = ({ stack }: Started) => stack.split('\n').filter((line) => line.includes(root))

const folders = (): string[] =>
  readdirSync(join(root, 'dist')).filter((name) => /^api-[0-9a-f]{16}$/.test(name))

it('a process runs compiled code and sees itself where its source is', async () => {
  const first = await start()
  expect(first).toMatchObject({ word: 'first', errorOutput: '', args: [join(root, 'api/server.ts')] })
  expect(first.where).toBe(`file://${join(root, 'api/server.ts')}`)
  expect(first.place).toBe(join(root, 'node_modules/old'))
  expect(first.stack).toMatch(/at .*fail .*api\/server\.ts:5:/)
  const compiled = folders()
  // The loader's own frames below the source's differ between starts.
  const again = await start()
  expect({ ...again, stack: ownFrames(again) }).toEqual({ ...first, stack: ownFrames(first) })
  expect(folders()).toEqual(compiled)
})

it('a process that no group lists is compiled by itself and gets its arguments', async () => {
  write('test/process.ts', `import { word } from '../domain/word.ts'\n` + show)
  const launched = await start(join(root, 'cli/launch.mjs'), 'test/process.ts', 'one', '--two')
  expect(launched).toMatchObject({ word: 'first', args: [join(root, 'test/process.ts'), 'one', '--two'] })
  const absolute = await start(join(root, 'cli/launch.mjs'), join(root, 'test/process.ts'))
  expect(absolute.args).toEqual([join(root, 'test/process.ts')])
  expect(existsSync(join(root, 'dist/test-process.json'))).toBe(true)
})
const show = `process.stdout.write(JSON.stringify({ word, args: process.argv.slice(1) }))\n`

it('a process gets from a package that is not compiled in what Node would give it', async () => {
  write('node_modules/plain/package.json', '{ "name": "plain" }')
  write('node_modules/plain/index.js', `module.exports = { one: 'one' }\n`)
  write(
    'node_modules/both/package.json',
    '{ "exports": { "import": "./both.mjs", "require": "./both.cjs" } }',
  )
  write('node_modules/both/both.mjs', `export const kind = 'imported'\n`)
  write('node_modules/both/both.cjs', `exports.kind = 'required'\n`)
  const imports = `import all, { one } from 'plain'\nimport * as plain from 'plain'\nimport { kind } from 'both'\n`
  write(
    'test/process.ts',
    `${imports}process.stdout.write(JSON.stringify({ all, one, again: plain.one, kind }))\n`,
  )
  expect(await start(join(root, 'cli/launch.mjs'), 'test/process.ts')).toMatchObject({
    all: { one: 'one' },
    one: 'one',
    again: 'one',
    kind: 'imported',
  })
  const compiled = join(
    root,
    'dist',
    readdirSync(join(root, 'dist')).find((name) => name.startsWith('test-process-'))!,
  )
  const text = readFileSync(join(compiled, 'test-process.mjs'), 'utf8')
  expect([text.includes(`from "plain"`), text.includes(`from "both"`)]).toEqual([false, true])
})

it('a process runs a source as it is now, whichever has changed', async () => {
  await start()
  write('domain/word.ts', `export const word: string = 'other'\n`)
  expect((await start()).word).toBe('other')
  write('node_modules/old/index.js', `module.exports = 'a newer package'\n`)
  expect((await start()).place).toBe('a newer package')
  write('domain/word.ts', `export const word: string = 'first'\n`)
  expect((await start()).word).toBe('first')
})

it('a source with an error is named with its line, and no earlier code runs', async () => {
  await start()
  write('domain/word.ts', `export const word: string =\n`)
  await expect(start()).rejects.toThrow(/\[ERROR\] Unexpected end of file[^]*domain\/word\.ts:2:0/)
  write('domain/word.ts', `export const word: string = 'mended'\n`)
  expect((await start()).word).toBe('mended')
})

it('the build compiles what is stale and nothing else', async () => {
  const build = () => execFileSync(process.execPath, [join(root, 'cli/build.mjs')]).toString()
  expect(build()).toBe('build: api\n')
  expect(build()).toBe('build: up to date\n')
  const { mtimeMs } = statSync(manifest())
  expect((await start()).word).toBe('first')
  expect(statSync(manifest()).mtimeMs).toBe(mtimeMs)
  rmSync(join(root, 'dist'), { recursive: true })
  expect((await start()).word).toBe('first')
  expect(build()).toBe('build: up to date\n')
})

it('a few earlier builds are kept for processes that still run from them', async () => {
  for (let edit = 0; edit < 7; edit++) {
    write('domain/word.ts', `export const word = 'edit ${edit}'\n`)
    expect((await start()).word).toBe(`edit ${edit}`)
  }
  expect(folders()).toHaveLength(5)
})

it('many processes start at once', async () => {
  const all = await Promise.all(Array.from({ length: 4 }, () => start()))
  expect(new Set(all.map(({ word }) => word))).toEqual(new Set(['first']))
  expect(folders()).toHaveLength(1)
  expect(readdirSync(join(root, 'dist')).filter((name) => name.startsWith('draft-'))).toEqual([])
})

it.skipIf(!('flushCompileCache' in nodeModule))(
  'a process that is killed leaves what Node compiled to the next start',
  async () => {
    write('test/process.ts', `setInterval(() => {}, 1_000)\n`)
    const child = spawn(process.execPath, [join(root, 'cli/launch.mjs'), 'test/process.ts'])
    try {
      const written = () =>
        readdirSync(join(root, 'dist'), { recursive: true, withFileTypes: true }).filter(
          (each) => each.isFile() && each.parentPath.includes('compile-cache'),
        ).length
      await expect.poll(() => existsSync(join(root, 'dist')) && written()).toBeGreaterThan(0)
    } finally {
      child.kill('SIGKILL')
    }
  },
)

it.skipIf(!('flushCompileCache' in nodeModule))(
  'a thread of a process loads what Node compiled for an earlier one',
  () => {
    const thread = `process.stdout.write(String(require('node:module').getCompileCacheDir()))`
    write(
      'test/process.ts',
      `import { Worker } from 'node:worker_threads'\nnew Worker(${JSON.stringify(thread)}, { eval: true })\n`,
    )
    const said = execFileSync(process.execPath, [join(root, 'cli/launch.mjs'), 'test/process.ts'])
    expect(said.toString()).toContain(join(root, 'dist/compile-cache'))
  },
)

it('packages may be those of another checkout', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'tenure-packages-'))
  renameSync(join(root, 'node_modules'), join(elsewhere, 'node_modules'))
  symlinkSync(join(elsewhere, 'node_modules'), join(root, 'node_modules'))
  try {
    for (const run of ['first', 'second']) {
      const { where, place } = await start()
      expect([where, place], run).toEqual([
        `file://${join(root, 'api/server.ts')}`,
        join(elsewhere, 'node_modules/old'),
      ])
    }
  } finally {
    rmSync(elsewhere, { recursive: true, force: true })
  }
})

it('a process runs from its sources where dist/ cannot be written', async () => {
  write('dist', 'a file where a folder is expected')
  const { word, errorOutput, stack } = await start()
  expect(word).toBe('first')
  expect(errorOutput).toContain('dist/ cannot be written, so api/server.ts starts from its sources')
  expect(stack).toMatch(/api\/server\.ts:5:/)
})

it('another user can run the compiled code', async () => {
  await start()
  expect(statSync(join(root, 'dist', folders()[0]!)).mode & 0o777).toBe(0o755)
})

it('a source that was written during the build is compiled again', async () => {
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() + 60_000))
  expect((await start()).word).toBe('first')
  expect(existsSync(manifest())).toBe(false)
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() - 60_000))
  expect((await start()).word).toBe('first')
  expect(existsSync(manifest())).toBe(true)
})

it('the content decides where only the times differ, as in a checkout that was copied', async () => {
  write('domain/word.ts', `export const word: string = 'first'\n`)
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() - 60_000))
  await start()
  const before = readFileSync(manifest(), 'utf8')
  utimesSync(join(root, 'domain/word.ts'), new Date(), new Date(Date.now() - 30_000))
  await start()
  expect(readFileSync(manifest(), 'utf8')).toBe(before)
})
