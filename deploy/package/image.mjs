// @ts-check
// Assembles the content of a container image: `node deploy/package/image.mjs <folder> [--trains]`. It is the system of the npm package and
// the packages that its compiled processes still import, without types, sources and native symbols. Only with `--trains` does it contain
// the parts for training.
import { build, transform } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, realpathSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { entries } from '../../cli/build/build.mjs'
import { compiledFile, packedBuild } from '../../cli/build/sources.mjs'
import { assembleSystem, withoutDependencies } from './system.mjs'
import { removeForeignBinaries } from '../../cli/setup/packages.mjs'
import { cacheOf } from '@tenure/embedded/install/machine'
import { addon, tensorflow } from '../../cli/setup/tensorflow.mjs'
import { removeBundler } from './without-bundler.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const [target, trains] = process.argv.slice(2)
if (target === undefined || (trains ?? '--trains') !== '--trains')
  throw new Error('Name a folder: node deploy/package/image.mjs <folder> [--trains]')
const system = resolve(target)

/** Packages that are found by their path, or by a name built at run time. */
const byPath = ['esbuild', 'htmx.org', 'swagger-ui-dist']
/** The compiled processes of the image. Without training, none that loads TensorFlow's native library. */
const run = entries.filter(
  (entry) => trains !== undefined || !/^activities\/(?:evaluation|tensorflow)\//.test(entry),
)
const ofTraining = ['@tensorflow/tfjs-node', 'node-api-headers']
/** Paths in the folder of packages that no process reads. */
const unread = [
  '@temporalio/core-bridge/sdk-core',
  'htmx.org/dist/htmax.js',
  'htmx.org/dist/htmx.esm.js',
  'htmx.org/dist/htmx.js',
  'jiti/dist/babel.cjs',
  'rxjs/dist/bundles',
  'rxjs/dist/esm',
  'rxjs/dist/esm5',
  'swagger-ui-dist/swagger-ui-es-bundle.js',
  'swagger-ui-dist/swagger-ui-es-bundle-core.js',
  'swagger-ui-dist/swagger-ui-standalone-preset.js',
  'swagger-ui-dist/swagger-ui.js',
]

mkdirSync(system, { recursive: true })
await assembleSystem(root, system, { packagesOf })
const npm = (/** @type {string[]} */ ...args) =>
  execFileSync('npm', args, { cwd: system, encoding: 'utf8', maxBuffer: 1 << 28 })
npm('ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error')
const bill = JSON.parse(npm('sbom', '--sbom-format=cyclonedx', '--omit=dev'))
removeForeignBinaries(join(system, 'node_modules'), process.arch)
const gone = new Set(removeBundler(system))
writeFileSync(join(system, 'sbom.cdx.json'), JSON.stringify(withoutPackages(bill), null, 1))
if (trains !== undefined) await addTraining()
else {
  removeSources(system)
  removeTraining(packedBuild(system))
}
trim(join(system, 'node_modules'))
for (const folder of ['dist', 'node_modules']) await compact(join(system, folder))

/** Returns the packages that the compiled processes import, or load with their own `require`. @param {string} folder */
async function packagesOf(folder) {
  // The image starts no servers. A training reads what the package exports, for the digest of its code.
  withoutDependencies(join(folder, 'packages', 'embedded', 'package.json'))
  const { metafile, outputFiles } = await build({
    entryPoints: run.map((entry) => compiledFile(packedBuild(folder), entry)),
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    splitting: true,
    outdir: join(folder, 'unused'),
    write: false,
    metafile: true,
    logLevel: 'silent',
  })
  const imported = Object.values(metafile.inputs).flatMap(({ imports }) =>
    imports.filter(({ external }) => external).map(({ path }) => nameOf(path)),
  )
  const required = outputFiles.flatMap(({ text }) =>
    [...text.matchAll(/\("([@\w][^"]*)"\)/g)].map(([, name = '']) => nameOf(name)),
  )
  return new Set([...imported, ...required, ...byPath, ...(trains === undefined ? [] : ofTraining)])
}

/** @param {string} path */
function nameOf(path) {
  return path.split('/', path.startsWith('@') ? 2 : 1).join('/')
}

/** Returns the bill of materials without the removed packages. @param {any} given */
function withoutPackages({ components, dependencies, ...rest }) {
  const isThere = (/** @type {any} */ { properties }) =>
    !properties?.some(
      (/** @type {any} */ { name, value }) => name === 'cdx:npm:package:path' && gone.has(value),
    )
  const node = { type: 'application', 'bom-ref': 'node', name: 'node', version: process.versions.node }
  const kept = [...components.filter(isThere), node]
  const refs = new Set([rest.metadata.component, ...kept].map((each) => each['bom-ref']))
  return {
    ...rest,
    components: kept,
    dependencies: dependencies
      .filter((/** @type {any} */ { ref }) => refs.has(ref))
      .map((/** @type {any} */ { ref, dependsOn }) => ({
        ref,
        dependsOn: dependsOn.filter((/** @type {string} */ each) => refs.has(each)),
      })),
  }
}

/** Adds the parts for training. TensorFlow's library stays in the cache, which the image holds at the same path. */
async function addTraining() {
  const context = { root: system, cache: cacheOf(), env: process.env, arch: process.arch }
  for (const step of [tensorflow(context), addon(context)])
    if ((await step.missing({ deep: false })) !== undefined) await step.make(() => {})
}

/** @param {string} folder */
function trim(folder) {
  for (const path of unread) rmSync(join(folder, path), { recursive: true, force: true })
  for (const path of filesUnder(folder)) {
    if (/\.([cm]?ts|map|md|flow)$/.test(path)) rmSync(path)
    else if (/\/protobufjs\/dist\//.test(path)) rmSync(path)
    else if (/\/@tensorflow\/[\w-]+\/dist\//.test(path) && !isOfNode(path)) rmSync(path)
    else if (/\.(node|so(\.\d+)*)$/.test(path)) execFileSync('strip', ['--strip-unneeded', path])
  }
}

/**
 * Whether Node reads this file of TensorFlow.js, which contains builds for many loaders. Node reads one file of each package, and all files
 * of the addon.
 * @param {string} path
 */
function isOfNode(path) {
  return path.endsWith('.node.js') || path.includes('/tfjs-node/')
}

/**
 * Deletes sources that are already compiled. Keeps the sources that are compiled on use: model files and exports with their imports. A
 * training image keeps all sources, because a training reads them for the digest of its code.
 * @param {string} folder
 */
function removeSources(folder) {
  for (const name of readdirSync(folder)) {
    if (['domain', 'models', 'node_modules', 'packages'].includes(name)) continue
    const paths = statSync(join(folder, name)).isDirectory() ? filesUnder(join(folder, name)) : []
    for (const path of paths) if (/\.tsx?$/.test(path)) rmSync(path)
  }
}

/** Deletes the compiled processes that load TensorFlow's native library, and the files that only they import. @param {string} packed */
function removeTraining(packed) {
  const reached = new Set(run.map((entry) => compiledFile(packed, entry)))
  for (const file of reached)
    for (const [, name = ''] of readFileSync(file, 'utf8').matchAll(/"\.\/([\w.-]+\.mjs)"/g))
      reached.add(join(packed, name))
  for (const file of filesUnder(packed)) if (file.endsWith('.mjs') && !reached.has(file)) rmSync(file)
}

/** Removes source maps and white space. Keeps names, so that stack traces stay readable. @param {string} folder */
async function compact(folder) {
  for (const path of filesUnder(folder)) {
    if (path.endsWith('.map')) rmSync(path)
    if (!/\.[cm]?js$/.test(path) || path.endsWith('workflows.js') || path.endsWith('-traced.js')) continue
    const text = readFileSync(path, 'utf8')
    // Only Node's module loader reads these names of exports; the compiler would remove them as dead code.
    if (text.includes('0 && (module.exports')) continue
    const options = {
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: /** @type {const} */ ('inline'),
    }
    // A file that is no script, such as a template, stays unchanged.
    const code = await transform(text, options).then(
      (made) => made.code,
      () => text,
    )
    if (code.length < text.length) writeFileSync(path, code)
  }
}

/** Node follows links, such as those to packages of the workspace. @param {string} folder @returns {string[]} */
function filesUnder(folder) {
  const inside = realpathSync(folder)
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && realpathSync(entry.parentPath).startsWith(inside))
    .map((entry) => join(entry.parentPath, entry.name))
}
