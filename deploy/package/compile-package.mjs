// @ts-check
// Compiles a package of `packages/` for programs that do not run TypeScript. `npm pack -w @tenure/… --ignore-scripts=false` calls it
// (this repository ignores scripts otherwise): `before` compiles the sources to dist/ and lets package.json export the compiled code,
// `after` lets it export the sources again, which the repository runs without a build.
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Compiles `src/` of a package with its types, and copies what is no code.
 * @param {string} root the folder of the package
 * @param {string} folder the folder of the compiled files
 */
export function compile(root, folder) {
  rmSync(folder, { recursive: true, force: true })
  const typescript = dirname(createRequire(join(root, 'package.json')).resolve('typescript/package.json'))
  const compiler = join(typescript, 'bin', 'tsc')
  execFileSync(process.execPath, [compiler, '-p', root, '--outDir', folder], { stdio: 'inherit' })
  // TypeScript rewrites the extensions of imports in code, not in declarations.
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  for (const name of names.filter((each) => each.endsWith('.d.ts'))) {
    const text = readFileSync(join(folder, name), 'utf8')
    writeFileSync(join(folder, name), text.replace(/(['"]\.\.?\/[\w/.-]+)\.ts(['"])/g, '$1.js$2'))
  }
  const source = join(root, 'src')
  cpSync(source, folder, {
    recursive: true,
    filter: (path) => statSync(path).isDirectory() || !/\.(ts|mjs)$/.test(path),
  })
}

/** @typedef {string | { types: string, default: string }} Exported */

/** @param {Exported} exported @returns {Exported} */
export function compiled(exported) {
  const [, path, kind] = /^\.\/src\/(.*)\.(m?)[jt]s$/.exec(String(exported)) ?? []
  return path === undefined
    ? exported
    : { types: `./dist/${path}.d.${kind}ts`, default: `./dist/${path}.${kind}js` }
}

/** @param {Exported} exported @returns {Exported} */
export const source = (exported) =>
  typeof exported === 'string'
    ? exported
    : exported.types
        .replace('./dist/', './src/')
        .replace(/\.d\.(m?)ts$/, (_, kind) => (kind ? '.mjs' : '.ts'))

/** @param {string} manifest the path of package.json @param {(exported: Exported) => Exported} change */
export function changeExports(manifest, change) {
  const about = JSON.parse(readFileSync(manifest, 'utf8'))
  for (const [name, exported] of Object.entries(about.exports)) about.exports[name] = change(exported)
  writeFileSync(manifest, `${JSON.stringify(about, null, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = resolve('.')
  if (process.argv[2] === 'before') compile(root, join(root, 'dist'))
  changeExports(join(root, 'package.json'), process.argv[2] === 'before' ? compiled : source)
}
