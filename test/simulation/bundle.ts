/**
 * Bundles the simulator's sources, with or without a planted bug, into a file that Node runs directly. The sources are never modified.
 * Compiling them on load would start a second later and run a tenth slower.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { packageSources } from '../../cli/build/sources.mjs'
import type { Plant } from './planted-bugs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the checkout, where Node resolves the packages. */
const cache = join(root, 'node_modules', '.cache', 'simulation')

export async function bundle(plant?: Plant): Promise<{ file: string; remove: () => void }> {
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, 'bundle-'))
  let isPlanted = plant === undefined
  await build({
    absWorkingDir: root,
    entryPoints: ['test/simulation/seed-worker.ts'],
    outdir: directory,
    bundle: true,
    splitting: true,
    packages: 'external',
    alias: packageSources(root),
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outExtension: { '.js': '.mjs' },
    logLevel: 'error',
    plugins: [
      {
        name: 'clock',
        setup({ onResolve }) {
          const path = join(root, 'test/simulation/timers-promises.ts')
          onResolve({ filter: /^node:timers\/promises$/ }, () => ({ path }))
        },
      },
      {
        name: 'plant',
        setup({ onLoad }) {
          if (plant === undefined) return
          onLoad({ filter: /\.ts$/ }, ({ path }) => {
            if (path !== join(root, plant.file)) return undefined
            isPlanted = true
            return {
              loader: 'ts',
              contents: readFileSync(path, 'utf8').replace(plant.find, () => plant.replace),
            }
          })
        },
      },
    ],
  })
  if (!isPlanted) throw new Error(`${plant!.file} is no part of the simulator`)
  return {
    file: join(directory, 'seed-worker.mjs'),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
