// @ts-check
// Imports a TypeScript file that is not part of the build, such as a model file, into a compiled process. Compiles the file with its
// imports to one module. A TypeScript loader would also process every later import of the process, which takes a second for TensorFlow. A
// module of the process itself is shared and not compiled again; otherwise a thousand model files would each contain the whole vocabulary.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { keep, root } from './kept.mjs'
import { ownPlace, withOwnPlace } from './own-place.mjs'
import { addSourceMap } from './source-maps.mjs'

/**
 * A module of the process that imported files share.
 * @typedef {object} SharedModule
 * @property {string} file The path by which the files import it.
 * @property {string} [name] The package by which they import it too, wherever they are.
 * @property {Record<string, unknown>} exports
 */

/**
 * Returns the exports of the current file. Throws what the file throws, and esbuild's errors for code that does not compile.
 * @param {string} path @param {SharedModule} [shared] @returns {Promise<Record<string, unknown>>}
 */
export async function importSource(path, shared) {
  if (shared !== undefined) modules.set(shared.file, shared.exports)
  // The names of the exports are compiled in, and the process may be older than the file of the shared module.
  const names = shared === undefined ? '' : ` with ${digestOf(Object.keys(shared.exports).join())}`
  const { code, map } = await keep(`import ${path}${names}`, () => compile(path, shared))
  const url = `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`
  addSourceMap(url, () => {
    const { sources, ...rest } = JSON.parse(map)
    const urls = sources.map(
      (/** @type {string} */ source) => pathToFileURL(resolve(dirname(path), source)).href,
    )
    return { ...rest, sources: urls }
  })
  return import(url)
}

/** @param {string} text */
const digestOf = (text) => createHash('sha256').update(text).digest('hex').slice(0, 16)

const registry = 'tenure.shared-modules'
/** URL → exports. Global, because a module without a file can import only by URL, and the shared module may be part of a compiled file. */
const modules = /** @type {Map<string, Record<string, unknown>>} */ (
  /** @type {any} */ (globalThis)[Symbol.for(registry)] ??= new Map()
)

/** Files that affect the result without being inputs. */
const makers = [
  fileURLToPath(import.meta.url),
  ...['cli/build/own-place.mjs', 'node_modules/esbuild/package.json'].map((each) => join(root, each)),
]

/** @param {string} path @param {SharedModule} [shared] */
async function compile(path, shared) {
  // Loaded on use, because most processes import no such file.
  const { build } = await import('esbuild')
  const { outputFiles, metafile } = await build({
    entryPoints: [path],
    metafile: true,
    outfile: `${path}.mjs`,
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: 'external',
    sourcesContent: false,
    define: ownPlace,
    banner: {
      js: `import { createRequire } from 'node:module'; const require = createRequire(${JSON.stringify(path)})`,
    },
    plugins: [...(shared === undefined ? [] : [sharedInside(shared)]), placesKept, packagesOutside],
    logLevel: 'silent',
  })
  const textOf = (/** @type {string} */ extension) =>
    outputFiles.find((file) => file.path.endsWith(extension))?.text ?? ''
  const sources = Object.keys(metafile.inputs).map((each) => resolve(each))
  const packages = Object.values(metafile.inputs)
    .flatMap(({ imports }) => imports)
    .filter((each) => each.external && /^(file:|\/)/.test(each.path))
    .map((each) => (each.path.startsWith('file:') ? fileURLToPath(each.path) : each.path))
  return {
    value: { code: textOf('.mjs'), map: textOf('.map') },
    sources: [...new Set([...makers, ...sources, ...packages])],
  }
}

/**
 * Replaces the source of the shared module with the module of the process. Lists the names of its exports, so that esbuild reports an
 * import of any other name.
 * @param {SharedModule} shared @returns {import('esbuild').Plugin}
 */
const sharedInside = ({ file, name, exports }) => ({
  name: 'shared-inside',
  setup({ onLoad, onResolve }) {
    const contents =
      `const shared = globalThis[Symbol.for(${JSON.stringify(registry)})].get(${JSON.stringify(file)})\n` +
      `export const { ${Object.keys(exports).join(', ')} } = shared`
    onResolve({ filter: /^[^./]/ }, ({ path }) => (path === name ? { path: file } : undefined))
    onLoad({ filter: /\.ts$/ }, ({ path }) => (path === file ? { contents, loader: 'js' } : undefined))
  },
})

/** @type {import('esbuild').Plugin} */
const placesKept = {
  name: 'places-kept',
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?[jt]s$/ }, async ({ path }) => {
      const contents = withOwnPlace(await readFile(path, 'utf8'), JSON.stringify(pathToFileURL(path).href))
      return contents === undefined ? undefined : { contents, loader: path.endsWith('ts') ? 'ts' : 'js' }
    })
  },
}

/**
 * Leaves packages to Node and imports them by URL, because a module without a file cannot resolve a name.
 * @type {import('esbuild').Plugin}
 */
const packagesOutside = {
  name: 'packages-outside',
  setup({ onResolve, resolve: find }) {
    onResolve({ filter: /^[^./]/ }, async ({ path, kind, resolveDir, pluginData }) => {
      if (kind === 'entry-point' || pluginData === found || isBuiltin(path)) return undefined
      const { path: file, errors } = await find(path, { kind, resolveDir, pluginData: found })
      if (errors.length > 0 || /\.[cm]?tsx?$/.test(file)) return undefined
      return {
        path: kind.startsWith('require') || extname(file) === '' ? file : pathToFileURL(file).href,
        external: true,
      }
    })
  },
}
const found = Symbol('found')
const isBuiltin = (/** @type {string} */ name) => name.startsWith('node:') || builtinModules.includes(name)
