// @ts-check
// Starts a replica: `node api/start.mjs`. Its sources and packages are more than seven hundred files, and to find, translate
// and read each of them takes most of a second, in which a replica that was restarted answers nobody. So they are put
// together once, and that is run for as long as no source and no package has changed.
import { existsSync, realpathSync } from 'node:fs'
import nodeModule from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findBundle } from './start/bundle.mjs'
import { tellPlaces } from './start/source-maps.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const entry = 'api/server.ts'

// Node 22 keeps what it has compiled; before it, there is no such function.
const compiling = /** @type {{ enableCompileCache?: (directory: string) => unknown }} */ (
  /** @type {unknown} */ (nodeModule)
)
compiling.enableCompileCache?.(join(root, 'node_modules', '.tenure', 'compiled'))
// What is put together lies among the packages and tells its places from there; packages that are linked to from elsewhere
// may serve several checkouts.
const packages = join(root, 'node_modules')
const areHere = existsSync(packages) && realpathSync(packages) === packages
const bundle = areHere ? (findBundle(root, entry) ?? (await make())) : undefined
// The process is the same however it was started.
process.argv[1] = join(root, entry)
// Whatever is run, errors tell the place in the source.
if (bundle === undefined) {
  process.setSourceMapsEnabled(true)
  const { register } = await import('tsx/esm/api')
  register()
} else tellPlaces(new URL('.', pathToFileURL(bundle)).href)
await import(pathToFileURL(bundle ?? join(root, entry)).href)

/** Without a place to write to, or with a source that does not parse, everything is read file by file, which says more. */
async function make() {
  try {
    const { makeBundle } = await import('./start/make-bundle.mjs')
    return await makeBundle(root, entry)
  } catch (error) {
    process.stderr.write(
      `${JSON.stringify({ level: 40, name: 'api', msg: `started file by file: ${error}` })}\n`,
    )
    return undefined
  }
}
