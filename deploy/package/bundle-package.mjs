// @ts-check
// Compiles a package of `packages/` that repeats what the product computes: esbuild puts the code of the product, and of the packages that
// it imports, into dist/, so that the package needs nothing else. Called as compile-package.mjs is.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { build } from 'esbuild'
import { changeExports, compiled, source } from './compile-package.mjs'

const root = resolve('.')
const isBefore = process.argv[2] === 'before'
if (isBefore) {
  const folder = join(root, 'dist')
  rmSync(folder, { recursive: true, force: true })
  await build({
    entryPoints: [join(root, 'src', 'index.ts'), join(root, 'src', 'command.ts')],
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  })
  const typescript = dirname(createRequire(join(root, 'package.json')).resolve('typescript/package.json'))
  execFileSync(process.execPath, [join(typescript, 'bin', 'tsc'), '-p', join(root, 'tsconfig.types.json')], {
    stdio: 'inherit',
  })
}
changeExports(join(root, 'package.json'), isBefore ? compiled : source)
