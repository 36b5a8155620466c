/** Tests that launched processes run compiled code, and never the code of earlier sources. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'

let root: string

/** Makes a small checkout: two sources, a package, and the build. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-build-'))
  for (const path of [
    'api/start.mjs',
    'cli/build',
    'cli/launch.mjs',
    'cli/setup',
    'cli/setup.mjs',
    'packages/embedded',
    'project.mjs',
    'tsconfig.json',
  ])
    cpSync(join(checkout, path), join(root, path), { recursive: true })
  write('package.json', '{ "type": "module" }')
  write('domain/word.ts', `export const word: string = 'first'\n`)
  write(
    'api/server.ts',
    `import { word } from '../domain/word.ts'\nimport { place, asked } from 'old'\n` +
      `export const fail = (): never => {\n  throw new Error('on purpose')\n}\n` +
      `let stack = ''\ntry {\n  fail()\n} catch (error) {\n  stack = String((error as Error).stack)\n}\n` +
      `process.stdout.write(JSON.stringify({ word, place, asked, stack, args: process.argv.slice(1) }))\n`,
  )
  write('node_modules/.package-lock.json', '{ "packages": {} }')
  write('node_modules/old/package.json', '{ "name": "old", "main": "index.js" }')
  write(
    'node_modules/old/index.js',
    `exports.place = __dirname\nexports.asked = typeof require('node:fs').statSync\n`,
  )
  symlinkSync(join(checkout, 'node_modules/esbuild'), join(root, 'node_modules/esbuild'))
  mkdirSync(join(root, 'node_modules/@tenure'))
  symlinkSync(join(root, 'packages/embedded'), join(root, 'node_modules/@tenure/embedded'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

interface Started {
  word: string
  place: string
  asked: string
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

const builds = (): string[] => readdirSync(join(root, 'dist')).filter((name) => name.startsWith('build-'))

it('a process runs compiled code, and its errors name the sources', async () => {
  const first = await start()
  expect(first).toMatchObject({
    word: 'first',
    place: root,
    asked: 'function',
    errorOutput: '',
    args: [join(root, 'api/server.ts')],
  })
  expect(first.stack).toMatch(/at .*fail .*api\/server\.ts:4:/)
  const compiled = builds()
  expect(await start()).toMatchObject({ word: 'first' })
  expect(builds()).toEqual(compiled)
})

it('a process that is not part of the build runs from its source and gets its arguments', async () => {
  write(
    'test/process.ts',
    `import { word } from '../domain/word.ts'\n` +
      `process.stdout.write(JSON.stringify({ word, args: process.argv.slice(1) as string[] }))\n`,
  )
  const launched = await start(join(root, 'cli/launch.mjs'), 'test/process.ts', 'one', '--two')
  expect(launched).toMatchObject({ word: 'first', args: [join(root, 'test/process.ts'), 'one', '--two'] })
  const absolute = await start(join(root, 'cli/launch.mjs'), join(root, 'test/process.ts'))
  expect(absolute.args).toEqual([join(root, 'test/process.ts')])
})

it('a process runs a source as it is now, whichever has changed', async () => {
  await start()
  write('domain/word.ts', `export const word: string = 'other'\n`)
  expect((await start()).word).toBe('other')
  write('node_modules/old/index.js', `exports.place = 'a newer package'\nexports.asked = ''\n`)
  write('node_modules/.package-lock.json', '{ "packages": { "node_modules/old": {} } }')
  expect((await start()).place).toBe('a newer package')
  write('domain/word.ts', `export const word: string = 'first'\n`)
  expect((await start()).word).toBe('first')
})

it('a process that is started before the packages are installed says that the set-up has not finished, and what to run', async () => {
  const lacks = (lack: string) =>
    `The set-up has not finished: npm packages: ${lack}.\nRun \`npm run setup\` in ${root}; it waits for one that is running. Then try again.\n`
  await start()
  rmSync(join(root, 'node_modules/.package-lock.json'))
  await expect(start()).rejects.toThrow(lacks('not installed yet'))
  rmSync(join(root, 'node_modules/esbuild'))
  await expect(start()).rejects.toThrow(lacks('not installed yet'))
  // A pull has brought a lock file with a package more.
  write('node_modules/.package-lock.json', '{ "packages": {} }')
  write('package-lock.json', '{ "packages": { "node_modules/esbuild": { "version": "1.0.0" } } }')
  await expect(start()).rejects.toThrow(lacks('node_modules/esbuild is not installed'))
})

it('a source with an error is named with its line, and no earlier code runs', async () => {
  await start()
  write('domain/word.ts', `export const word: string =\n`)
  await expect(start()).rejects.toThrow(/\[ERROR\] Unexpected end of file[^]*domain\/word\.ts:2:0/)
  write('domain/word.ts', `export const word: string = 'mended'\n`)
  expect((await start()).word).toBe('mended')
})

it('a few earlier builds are kept for processes that still run from them', async () => {
  for (let edit = 0; edit < 7; edit++) {
    write('domain/word.ts', `export const word = 'edit ${edit}'\n`)
    expect((await start()).word).toBe(`edit ${edit}`)
  }
  expect(builds()).toHaveLength(5)
})

it('many processes start at once, and one of them compiles', async () => {
  const all = await Promise.all(Array.from({ length: 4 }, () => start()))
  expect(new Set(all.map(({ word }) => word))).toEqual(new Set(['first']))
  expect(readdirSync(join(root, 'dist'))).toEqual(builds())
  expect(builds()).toHaveLength(1)
})

it('a process that is killed leaves what Node compiled to the next start', async () => {
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
})

it('a thread of a process loads what Node compiled for an earlier one', () => {
  const thread = `process.stdout.write(String(require('node:module').getCompileCacheDir()))`
  write(
    'test/process.ts',
    `import { Worker } from 'node:worker_threads'\nnew Worker(${JSON.stringify(thread)}, { eval: true })\n`,
  )
  const said = execFileSync(process.execPath, [join(root, 'cli/launch.mjs'), 'test/process.ts'])
  expect(said.toString()).toContain(join(root, 'dist', builds()[0]!, 'compile-cache'))
})

it('packages may be those of another checkout', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'tenure-packages-'))
  renameSync(join(root, 'node_modules'), join(elsewhere, 'node_modules'))
  symlinkSync(join(elsewhere, 'node_modules'), join(root, 'node_modules'))
  try {
    expect((await start()).word).toBe('first')
  } finally {
    rmSync(elsewhere, { recursive: true, force: true })
  }
})

it('another user can run the compiled code', async () => {
  await start()
  expect(statSync(join(root, 'dist', builds()[0]!)).mode & 0o777).toBe(0o755)
})

it('a copy of a checkout with its times runs the code that is compiled already', async () => {
  await start()
  const copy = mkdtempSync(join(tmpdir(), 'tenure-copy-'))
  try {
    cpSync(root, copy, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
    expect(await start(join(copy, 'api/start.mjs'))).toMatchObject({ word: 'first', place: copy })
    expect(readdirSync(join(copy, 'dist'))).toEqual(builds())
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
})

it('an error outside of the compiled code keeps its frames', async () => {
  write(
    'api/server.ts',
    `import { runInNewContext } from 'node:vm'\nlet stack = ''\ntry {\n  runInNewContext('missing.part')\n} catch (error) {\n` +
      `  stack = (error as Error).stack as string\n}\nprocess.stdout.write(JSON.stringify({ stack }))\n`,
  )
  expect((await start()).stack).toMatch(/missing is not defined[^]* at .*api-server\.mjs/)
})
