// @ts-check
// Imports a TypeScript file that is not part of the build, such as a model file, into a compiled process: compiled with its imports
// into one module. A TypeScript loader would read every later import of the process too, which takes a second for TensorFlow.
import { readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { keep, root } from './kept.mjs'
import { ownPlace, withOwnPlace } from './own-place.mjs'
import { addSourceMap } from './source-maps.mjs'

/**
 * The exports of the file as it is now. Throws what the file throws, and the errors of esbuild for code that does not compile.
 * @param {string} path @returns {Promise<Record<string, unknown>>}
 */
export async function importSource(path) {
  const { code, map } = await keep(`import ${path}`, () => compile(path))
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

/** Files that determine the result without being part of it. */
const makers = [
  fileURLToPath(import.meta.url),
  ...['scripts/build/own-place.mjs', 'node_modules/esbuild/package.json'].map((each) => join(root, each)),
]

/** @param {string} path */
async function compile(path) {
  // Loaded on use: most processes import no such file.
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
    plugins: [placesKept, packagesOutside],
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
 * Leaves packages to Node, by their address, because a module without a file finds none by its name.
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
