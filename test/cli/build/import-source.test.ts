/** Tests that compiled processes import TypeScript that is not part of the build, such as model files. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-import-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

/** Returns the path of the compiled `main.ts`. */
const keptFile = () =>
  join(
    checkout,
    'dist/kept',
    `${createHash('sha256')
      .update(`import ${join(root, 'main.ts')}`)
      .digest('hex')
      .slice(0, 32)}.json`,
  )

/** Evaluates the expression `text` on the exports of `main.ts`, in a plain Node process. `shared` is the text of a shared module. */
async function evaluated(text: string, shared = 'undefined'): Promise<unknown> {
  const build = pathToFileURL(join(checkout, 'cli/build/')).href
  const script = `
    import { importSource } from '${build}import-source.mjs'
    import { showSources } from '${build}source-maps.mjs'
    showSources('${build}')
    const shared = ${shared}
    const importNamed = (name) => importSource(${JSON.stringify(`${root}/`)} + name, shared)
    const found = await importNamed('main.ts')
    process.stdout.write(JSON.stringify(${text}))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    cwd: tmpdir(),
  })
  return JSON.parse(stdout)
}

it('a source finds its imports, its packages and its own place, in a folder of either kind of module', async () => {
  write('node_modules/pack/package.json', '{"exports": {"import": "./pack.mjs", "require": "./pack.cjs"}}')
  write('node_modules/pack/pack.mjs', `export const kind = 'imported'`)
  write('node_modules/pack/pack.cjs', `exports.kind = 'required'`)
  write('rows.json', '{"rows": 3}')
  write('near/help.ts', `export const folder: string = __dirname\nexport const url = import.meta.url`)
  write(
    'main.ts',
    `import { kind } from 'pack'
import { cpus } from 'os'
import data from './rows.json' with { type: 'json' }
import { folder, url } from './near/help.ts'
const { folder: late } = await import('./near/help.ts')
const file: string | undefined = import.meta.filename
export const all = { kind, required: require('pack').kind, cpus: typeof cpus, data, folder, url, late, file }`,
  )
  expect(await evaluated('found.all')).toEqual({
    kind: 'imported',
    required: 'required',
    cpus: 'function',
    data: { rows: 3 },
    folder: join(root, 'near'),
    url: pathToFileURL(join(root, 'near/help.ts')).href,
    late: join(root, 'near'),
    file: join(root, 'main.ts'),
  })
})

it('an error in a source names its line', async () => {
  write('help.ts', `// Nothing.\nexport function fail(): never {\n  throw new Error('on purpose')\n}\n`)
  write('main.ts', `import { fail } from './help.ts'\n\nexport const run = (): string => fail()`)
  const stack = await evaluated(
    '(() => { try { return found.run() } catch (error) { return error.stack } })()',
  )
  expect(stack).toMatch(/^Error: on purpose\n {4}at fail \(.*\/help\.ts:3:9\)\n {4}at .*\/main\.ts:3:34\)/)
})

it('sources share a module of the process, whose file is neither compiled nor evaluated', async () => {
  write('words.ts', `throw new Error('evaluated'`)
  write('help.ts', `import * as words from './words.ts'\nexport const helped = words.word`)
  write(
    'main.ts',
    `import { word as own } from './words.ts'\nimport { helped } from './help.ts'\nexport { own, helped }`,
  )
  write(
    'other.ts',
    `export { word } from './words.ts'\nexport const { word: late } = await import('./words.ts')`,
  )
  const shared = `{ file: ${JSON.stringify(join(root, 'words.ts'))}, exports: { word: Symbol('word') } }`
  const used = `[found.own, found.helped, ...Object.values(await importNamed('other.ts'))]`
  expect(await evaluated(`${used}.map((each) => each === shared.exports.word)`, shared)).toEqual(
    Array(4).fill(true),
  )
  write('main.ts', `import { wrod } from './words.ts'\nexport const value: string = wrod()`)
  await expect(evaluated('found', shared)).rejects.toThrow(
    /main\.ts:1:9: ERROR: No matching export in "[^"]*\/words\.ts" for import "wrod"/,
  )
})

it('a kept source is compiled again when the shared module has other names', async () => {
  const early = new Date(Date.now() - 60_000)
  write('words.ts', '')
  write('main.ts', `import * as words from './words.ts'\nexport const names = Object.keys(words)`)
  for (const name of ['words.ts', 'main.ts']) utimesSync(join(root, name), early, early)
  const sharing = (exports: string) =>
    `{ file: ${JSON.stringify(join(root, 'words.ts'))}, exports: ${exports} }`
  expect(await evaluated('found.names', sharing('{ one: 1 }'))).toEqual(['one'])
  expect(await evaluated('found.names', sharing('{ one: 1, two: 2 }'))).toEqual(['one', 'two'])
})

it('a source that does not compile is refused with its line', async () => {
  write('main.ts', `export const half = {\n`)
  await expect(evaluated('found')).rejects.toThrow(/main\.ts:2:0: ERROR: .*end of file/)
})

it('a source is compiled again when it, an import or a package has changed, whatever its time says', async () => {
  const [long, early] = [new Date(Date.now() - 60_000), new Date(Date.now() - 120_000)]
  const put = (path: string, text: string) => {
    write(path, text)
    utimesSync(join(root, path), long, long)
  }
  put('node_modules/pack/package.json', '{"exports": "./pack.mjs"}')
  put('node_modules/pack/pack.mjs', `export const packed = 1`)
  put('help.ts', `export const helped: number = 1`)
  put(
    'main.ts',
    `import { packed } from 'pack'\nexport { helped } from './help.ts'\nexport { packed }\nexport const own = 1`,
  )
  const values = () => evaluated('[found.own, found.helped, found.packed]')
  expect(await values()).toEqual([1, 1, 1])
  const file = keptFile()
  const from = (text: string) => writeFileSync(file, readFileSync(file, 'utf8').replace('own = 1', text))
  from('own = 7')
  expect(await values()).toEqual([7, 1, 1])
  put('help.ts', `export const helped: number = 2`)
  expect(await values()).toEqual([1, 2, 1])
  put('node_modules/pack/pack.mjs', `export const packed = 3`)
  from('own = 7')
  expect(await values()).toEqual([1, 2, 3])
  from('own = 7')
  utimesSync(join(root, 'help.ts'), early, early)
  expect(await values()).toEqual([7, 2, 3])
  writeFileSync(file, '{"name":')
  expect(await values()).toEqual([1, 2, 3])
  rmSync(join(root, 'help.ts'))
  await expect(values()).rejects.toThrow(/Could not resolve/)
})

it('a source that was written a moment ago is compiled, and not kept', async () => {
  write('main.ts', `export const own = 1`)
  const later = new Date(Date.now() + 60_000)
  utimesSync(join(root, 'main.ts'), later, later)
  expect(await evaluated('found.own')).toBe(1)
  write('main.ts', `export const own = 2`)
  utimesSync(join(root, 'main.ts'), later, later)
  expect(await evaluated('found.own')).toBe(2)
  expect(existsSync(keptFile())).toBe(false)
})
