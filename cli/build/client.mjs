// @ts-check
// Builds the client for other programs, `tenure/client`: `npm run build:client` writes dist/client/client.js and its types.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** @param {string} folder */
export async function buildClient(folder) {
  const entryPoints = [join(root, 'client', 'client.ts')]
  await build({
    entryPoints,
    outfile: join(folder, 'client.js'),
    bundle: true,
    format: 'esm',
    target: 'es2022',
  })
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  execFileSync(process.execPath, [compiler, '-p', join(root, 'client'), '--outDir', folder])
  // TypeScript keeps the extension of the sources in imports, so it is replaced.
  const types = join(folder, 'client.d.ts')
  writeFileSync(types, readFileSync(types, 'utf8').replaceAll("'./types.ts'", "'./types.js'"))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildClient(join(root, 'dist', 'client'))
