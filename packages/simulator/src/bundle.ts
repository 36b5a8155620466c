/**
 * Bundles a simulation, with or without a planted bug, into a file that Node runs directly. The sources are never modified. Compiling them
 * on load would start a second later and run a tenth slower.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** A bug that a change could introduce. A simulation that misses it would miss the next real one as well. */
export interface Plant {
  /** Relative to the root of the project. */
  file: string
  /** Occurs in the file exactly once. */
  find: string
  replace: string
}

export interface BundleOptions {
  /** The folder of the project, in whose node_modules the bundle finds its packages. */
  root: string
  /** The program of the simulation, relative to the root. */
  entry: string
  /** Packages that are bundled too, each with the path of its source. All others stay outside. */
  alias?: Readonly<Record<string, string>>
  plant?: Plant
}

const here = import.meta.url
/** Beside this file: a source, or what it was compiled to. */
const virtualTimers = fileURLToPath(new URL(`timers-promises${/\.\w+$/.exec(here)?.[0]}`, here))

/** In the bundle, `node:timers/promises` waits in virtual time. Throws when the planted file is no part of it, or lacks the text. */
export async function bundle({
  root,
  entry,
  alias = {},
  plant,
}: BundleOptions): Promise<{ file: string; remove: () => void }> {
  const cache = join(root, 'node_modules', '.cache', 'simulation')
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, 'bundle-'))
  const remove = () => rmSync(directory, { recursive: true, force: true })
  let isPlanted = plant === undefined
  try {
    await build({
      absWorkingDir: root,
      entryPoints: [entry],
      outdir: directory,
      bundle: true,
      splitting: true,
      packages: 'external',
      alias,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      outExtension: { '.js': '.mjs' },
      logLevel: 'silent',
      plugins: [
        {
          name: 'clock',
          setup({ onResolve }) {
            onResolve({ filter: /^node:timers\/promises$/ }, () => ({ path: virtualTimers }))
          },
        },
        {
          name: 'plant',
          setup({ onLoad }) {
            if (plant === undefined) return
            onLoad({ filter: /\.[jt]s$/ }, ({ path }) => {
              if (path !== join(root, plant.file)) return undefined
              isPlanted = true
              const parts = readFileSync(path, 'utf8').split(plant.find)
              if (parts.length !== 2)
                throw new Error(`${plant.file} has the text of the planted bug ${parts.length - 1} times`)
              return { loader: 'ts', contents: parts.join(plant.replace) }
            })
          },
        },
      ],
    })
    if (!isPlanted) throw new Error(`${plant?.file} is no part of the simulation`)
  } catch (error) {
    remove()
    throw error
  }
  return { file: join(directory, `${basename(entry).replace(/\.\w+$/, '')}.mjs`), remove }
}
