/**
 * Computes the digest of a source file and of all project files that it imports, which a version records as its code. The digest covers the
 * executed code: comments, types, layout and unrelated files do not change it.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename, dirname, extname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DomainError } from '../../domain/errors.ts'
import { keep } from '../../cli/build/kept.mjs'
import { project } from '../../project.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const imports = /\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g
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

interface Code {
  digest: string
  circle?: string[]
}

/** Also returns the first import cycle: its files, with the first one repeated at the end. */
export const readCode = (...entries: string[]): Promise<Code> =>
  keep(`code ${entries.map((entry) => resolve(entry)).join(' ')}`, () => readFiles(entries))

/** Files that affect a digest without being inputs. */
const makers = [fileURLToPath(import.meta.url), join(root, 'node_modules/esbuild/package.json')]

async function readFiles(entries: readonly string[]): Promise<{ value: Code; sources: string[] }> {
  for (const path of [vocabulary, ...entries.map((entry) => resolve(entry))])
    if (isShared(path) && !sources.has(path)) await useCached(path)
  const { digests, paths, circle } = await walk(entries)
  const lines = paths.map((path) => `${digests.get(path)}  ${relative(project.folder, path)}\n`).sort()
  const digest = `sha256:${createHash('sha256').update(lines.join('')).digest('hex')}`
  return { value: { digest, circle }, sources: [...makers, ...paths] }
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
  return { digests, paths: [...digests.keys()], circle }
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
  /** The digest of the bytes. */
  content: string
  bytes?: Buffer
  /** The digest of the code. */
  digest: string
  /** Paths of the imported files. */
  imported: string[]
}
/** Sources by path. All model files import the same vocabulary, which would otherwise be transformed once for each of a thousand files. */
const sources = new Map<string, Source>()

async function readSource(path: string): Promise<Source> {
  // Synchronous: for a thousand model files, 50,000 reads through Node's threads would cost more than all other work.
  const bytes = readFileSync(path)
  const known = sources.get(path)
  if (known?.bytes?.equals(bytes)) return known
  const content = createHash('sha256').update(bytes).digest('hex')
  if (known?.content === content) return Object.assign(known, { bytes })
  const code = await codeOf(path, bytes.toString())
  const digest = createHash('sha256').update(code).digest('hex')
  const imported = [...code.matchAll(imports)].map(([, specifier = '']) => resolve(dirname(path), specifier))
  const source = { content, bytes, digest, imported }
  sources.set(path, source)
  return source
}

const vocabulary = join(root, 'models/define.ts')
/** Whether model files share this file: the vocabulary, or a file of another folder of this project. */
const isShared = (path: string): boolean =>
  path === vocabulary || (path.startsWith(root) && !path.startsWith(join(root, 'models/')))

/**
 * Reads a shared file and its imports from the cache of an earlier process. Otherwise each changed model file would transform all of them
 * again.
 */
async function useCached(path: string): Promise<void> {
  const cached = await keep(`sources of ${path}`, async () => {
    const { paths } = await walk([path])
    const value = paths.map((each) => {
      const { content, digest, imported } = sources.get(each)!
      return { path: each, content, digest, imported }
    })
    return { value, sources: [...makers, ...paths] }
  })
  for (const { path: each, ...source } of cached) if (!sources.has(each)) sources.set(each, source)
}

/** Returns the source without comments, types and layout; a file that is not code is returned unchanged. */
async function codeOf(path: string, text: string): Promise<string> {
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
