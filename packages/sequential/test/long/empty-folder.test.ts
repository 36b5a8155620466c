/** Installs the packed package in an empty folder, where only its own files are, and uses it by its README with plain Node. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, root, run } from '../support/pages.ts'

const modules = join(root, '..', '..', 'node_modules')
let place: string
let empty: string
let files: string[]

const npm = (cwd: string, ...args: string[]): string =>
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, encoding: 'utf8' })

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'sequential-'))
  const copy = join(place, 'package')
  // A copy, because packing changes package.json for a moment.
  cpSync(root, copy, { recursive: true, filter: (path) => !/\/(dist|node_modules)$/.test(path) })
  symlinkSync(modules, join(copy, 'node_modules'))
  const [packed] = JSON.parse(
    npm(copy, 'pack', '--ignore-scripts=false', '--json', '--pack-destination', place),
  ) as [{ filename: string; files: { path: string }[] }]
  files = packed.files.map(({ path }) => path)
  expect(readFileSync(join(copy, 'package.json'), 'utf8')).toBe(
    readFileSync(join(root, 'package.json'), 'utf8'),
  )
  const [dependency] = JSON.parse(npm(place, 'pack', join(modules, 'jstat'), '--json')) as [
    { filename: string },
  ]
  empty = join(place, 'empty')
  mkdirSync(empty)
  writeFileSync(join(empty, 'package.json'), '{ "private": true, "type": "module" }\n')
  npm(empty, 'install', '--offline', join(place, packed.filename), join(place, dependency.filename))
})
afterAll(() => rmSync(place, { recursive: true, force: true }))

it('the package holds compiled code with types, the pages and the licence, and no sources or tests', () => {
  expect(files).toEqual(
    expect.arrayContaining([
      'dist/index.js',
      'dist/index.d.ts',
      'README.md',
      'how-to-choose.md',
      'LICENSE',
      'examples/ab-test.ts',
    ]),
  )
  expect(files.filter((path) => /^(src|test)\//.test(path))).toEqual([])
})

it.each(codeOf('README.md'))('the code of the README runs with plain Node', async ({ code, output }) => {
  writeFileSync(join(empty, 'readme.js'), code)
  expect(await run(['readme.js'], empty)).toBe(output)
})

it.each(['README.md', 'how-to-choose.md'].flatMap(codeOf))(
  'the code of the pages passes the type checker, block %#',
  async ({ code }) => {
    writeFileSync(join(empty, 'page.ts'), `declare const console: { log(text: string): void }\n${code}`)
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', '']
    const compiler = join(modules, 'typescript', 'bin', 'tsc')
    expect(await run([compiler, ...flags, 'page.ts'], empty).catch((error) => error.stdout)).toBe('')
  },
)
