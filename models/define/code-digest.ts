/**
 * Computes the digest of a source file and of all project files that it imports, which a version records as its code. The digest covers the
 * executed code, that of Tenure's own packages included: comments, types, layout and unrelated files do not change it.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join, relative, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { home, modelsDirectory, project } from '../../project.mjs'

const imports = /\b(?:from|import)\s*\(?\s*['"](\.[^'"]+|@tenure\/[^'"]+)['"]/g
const loaders: Readonly<Record<string, 'ts' | 'tsx' | 'js'>> = {
  '.ts': 'ts',
  '.tsx': 'tsx',
  '.js': 'js',
  '.mjs': 'js',
}

/**
 * Returns `sha256:…` over the paths and the code of the entries and their relative imports, at any depth. Throws if a file cannot be read
 * or parsed.
 */
export const codeDigest = async (...entries: string[]): Promise<string> => (await readCode(...entries)).digest

/** Files that were sent lie in a folder of their own, and count as if they lay in that of the project. */
function shownPath(path: string, folder: string): string {
  const inside = relative(folder, path)
  return relative(project.folder, inside.startsWith('..') ? path : join(modelsDirectory, inside))
}

interface Code {
  digest: string
  /** The paths of the entries and their imports. */
  files: string[]
  circle?: string[]
}

/** Also returns the first import cycle: its files, with the first one repeated at the end. */
export async function readCode(...entries: string[]): Promise<Code> {
  const { digests, circle } = await walk(entries)
  const folder = dirname(resolve(entries[0] ?? ''))
  const lines = [...digests].map(([path, digest]) => `${digest}  ${shownPath(path, folder)}\n`).sort()
  return { digest: `sha256:${digestOf(lines.join(''))}`, circle, files: [...digests.keys()] }
}

async function walk(entries: readonly string[]) {
  const digests = new Map<string, string>()
  let circle: string[] | undefined
  const visit = async (path: string, above: readonly string[]): Promise<void> => {
    if (above.includes(path)) circle ??= [...above.slice(above.indexOf(path)), path]
    if (digests.has(path)) return
    digests.set(path, '')
    const { digest, imported } = await readSource(path)
    digests.set(path, digest)
    for (const each of imported)
      await visit(each, [...above, path]).catch((error: unknown) => {
        throw isAbsent(error, each) ? invalid(noImport(path, each)) : error
      })
  }
  for (const entry of entries) await visit(resolve(entry), [])
  return { digests, circle }
}

const isAbsent = (error: unknown, path: string): boolean =>
  error instanceof Error &&
  'code' in error &&
  error.code === 'ENOENT' &&
  'path' in error &&
  error.path === path

const noImport = (path: string, imported: string): string =>
  `${basename(path)} imports "${relative(dirname(path), imported)}", and there is no such file: correct the path`

/** Creates the error of a model file with one issue. */
export const invalid = (issue: string): DomainError =>
  new DomainError('invalid_model_file', issue, { issues: [issue] })

interface Source {
  bytes: Buffer
  /** The digest of the code. */
  digest: string
  /** Paths of the imported files. */
  imported: string[]
}
/** Sources by path. All model files import the same vocabulary, which would otherwise be read once for each of a thousand files. */
const sources = new Map<string, Source>()

async function readSource(path: string): Promise<Source> {
  // Synchronous: for a thousand model files, 50,000 reads through Node's threads would cost more than all other work.
  const bytes = readFileSync(path)
  const known = sources.get(path)
  if (known?.bytes.equals(bytes)) return known
  const { digest, specifiers } = await cachedCodeOf(path, bytes)
  const source = { bytes, digest, imported: specifiers.map((each) => fileOf(path, each)) }
  sources.set(path, source)
  return source
}

function fileOf(importer: string, specifier: string): string {
  if (specifier.startsWith('.')) return resolve(dirname(importer), specifier)
  const [, name = '', ...part] = specifier.split('/')
  const folder = join(home, 'packages', name)
  return join(folder, exportedFile(folder, part) ?? part.join('/'))
}

/** The file that the `exports` of a package name for a part of it. */
function exportedFile(folder: string, part: readonly string[]): string | undefined {
  const path = join(folder, 'package.json')
  if (!existsSync(path)) return undefined
  const { exports } = JSON.parse(readFileSync(path, 'utf8')) as { exports: Record<string, string> }
  const [file] = [part, [...part.slice(0, -1), '*']].flatMap(
    (each) => exports[['.', ...each].join('/')] ?? [],
  )
  return file?.replace('*', part.at(-1) ?? '')
}

interface CachedCode {
  digest: string
  specifiers: string[]
}

/** Caches digests of code by the bytes of the file, because starting esbuild takes more CPU than the rest of most processes' start. */
async function cachedCodeOf(path: string, bytes: Buffer): Promise<CachedCode> {
  const key = digestOf(`${maker()} ${extname(path)} ${digestOf(bytes)}`)
  const file = join(home, 'dist', 'code', `${key}.json`)
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as CachedCode
  } catch {
    const text = await codeOf(path, bytes.toString())
    // A file that is not code of this language imports nothing.
    const found = extname(path) in loaders ? text.matchAll(imports) : []
    const code = { digest: digestOf(text), specifiers: [...found].map(([, specifier = '']) => specifier) }
    writeCache(file, JSON.stringify(code))
    return code
  }
}

/** Does nothing if the folder is not writable. */
function writeCache(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(`${file}.${process.pid}`, text)
    renameSync(`${file}.${process.pid}`, file)
  } catch {
    // The value is computed again by the next process.
  }
}

const digestOf = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

let version: string | undefined
/** Identifies the esbuild that makes the code. */
const maker = (): string =>
  (version ??= digestOf(readFileSync(join(home, 'node_modules/esbuild/package.json'))))

/** Returns the source without comments, types and layout; a file that is not code is returned unchanged. */
export async function codeOf(path: string, text: string): Promise<string> {
  const loader = loaders[extname(path)]
  if (loader === undefined) return text
  // Loaded on use, because most processes that import the model files never compute a digest.
  const { transform } = await import('esbuild')
  const { code } = await transform(text, {
    loader,
    sourcefile: path,
    legalComments: 'none',
    minifyWhitespace: true,
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  })
  return code
}
