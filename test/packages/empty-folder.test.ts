/** Packs each package of `packages/`, installs it in an empty folder beside the packages that it declares, and uses it by its pages with plain Node. */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'

const modules = join(checkout, 'node_modules')
const names = readdirSync(join(checkout, 'packages')).filter((name) => {
  const manifest = join(checkout, 'packages', name, 'package.json')
  // The lab is private: it is of no use without the product.
  return existsSync(manifest) && !(JSON.parse(readFileSync(manifest, 'utf8')) as { private?: true }).private
})

const call = (cwd: string, program: string, ...args: string[]): string =>
  execFileSync(program, args, { cwd, encoding: 'utf8' })

it('there are packages', () =>
  expect(names).toEqual(
    expect.arrayContaining([
      'certificate',
      'client',
      'embedded',
      'http-front',
      'predictors',
      'sequential',
      'simulator',
    ]),
  ))

describe.each(names)('@tenure/%s', (name) => {
  const root = join(checkout, 'packages', name)
  const pages = readdirSync(root).filter((file) => file.endsWith('.md'))
  /** Blocks with the output that follows them on the page. */
  const blocks = pages.flatMap((page) =>
    blocksOf(readFileSync(join(root, page), 'utf8')).flatMap(({ language, text }, at, all) => {
      if (language !== 'js' && language !== 'ts') return []
      const next = all[at + 1]
      return [{ page, language, text, output: next?.language === 'text' ? next.text : undefined }]
    }),
  )
  let place: string
  let empty: string
  let files: string[]

  beforeAll(() => {
    place = mkdtempSync(join(tmpdir(), `package-${name}-`))
    // A copy, because packing changes package.json for a moment.
    const copy = join(place, 'packages', name)
    cpSync(root, copy, { recursive: true, filter: (path) => !/\/(dist|node_modules)$/.test(path) })
    for (const name of ['compile-package.mjs', 'bundle-package.mjs']) {
      const compiler = join('deploy', 'package', name)
      cpSync(join(checkout, compiler), join(place, compiler))
    }
    for (const folder of [place, copy]) symlinkSync(modules, join(folder, 'node_modules'))
    symlinkSync(join(checkout, 'domain'), join(place, 'domain'))
    const flags = ['--ignore-scripts=false', '--json', '--silent', '--pack-destination', place]
    const [packed] = JSON.parse(call(copy, 'npm', 'pack', ...flags)) as [
      { filename: string; files: { path: string }[] },
    ]
    files = packed.files.map(({ path }) => path)
    const manifest = readFileSync(join(root, 'package.json'), 'utf8')
    expect(readFileSync(join(copy, 'package.json'), 'utf8')).toBe(manifest)

    empty = join(place, 'empty')
    const installed = join(empty, 'node_modules', '@tenure', name)
    mkdirSync(installed, { recursive: true })
    writeFileSync(join(empty, 'package.json'), '{ "private": true, "type": "module" }\n')
    call(place, 'tar', '-xzf', packed.filename, '--strip-components=1', '-C', installed)
    const about = JSON.parse(manifest) as Record<string, Record<string, string> | undefined>
    const declared = { ...about.dependencies, ...about.optionalDependencies, ...about.devDependencies }
    for (const each of Object.keys(declared)) {
      // Of another processor, an optional one is not installed.
      if (!existsSync(join(modules, each))) continue
      mkdirSync(dirname(join(empty, 'node_modules', each)), { recursive: true })
      symlinkSync(join(modules, each), join(empty, 'node_modules', each))
    }
  })
  afterAll(() => rmSync(place, { recursive: true, force: true }))

  it('holds compiled code with types, its pages and its licence, and no sources or tests', () => {
    expect(files).toEqual(
      expect.arrayContaining(['dist/index.js', 'dist/index.d.ts', 'README.md', 'LICENSE']),
    )
    expect(files).toEqual(expect.arrayContaining(pages))
    expect(files.filter((path) => /^(src|test)\//.test(path))).toEqual([])
  })

  it('has a README with code', () =>
    expect(blocks.filter(({ page }) => page === 'README.md').length).toBeGreaterThan(0))

  it('the code of its pages that shows an output prints it with plain Node', () => {
    for (const { text, output } of blocks) {
      if (output === undefined) continue
      writeFileSync(join(empty, 'page.js'), text)
      expect(call(empty, process.execPath, 'page.js')).toBe(`${output}\n`)
    }
  })

  it.each(blocks)('the code of $page passes the type checker, block %#', ({ language, text }) => {
    const lines = language === 'ts' ? '' : 'declare const console: { log(text: string): void }\n'
    writeFileSync(join(empty, 'page.ts'), lines + text)
    const types =
      language === 'ts' ? ['--types', 'node', '--typeRoots', join(modules, '@types')] : ['--types', '']
    const flags = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2023']
    const compiler = join(modules, 'typescript', 'bin', 'tsc')
    let told = ''
    try {
      call(empty, process.execPath, compiler, ...flags, ...types, 'page.ts')
    } catch (error) {
      told = (error as { stdout: string }).stdout
    }
    expect(told).toBe('')
  })
})
