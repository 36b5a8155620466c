// @ts-check
// Prepares `npm pack --ignore-scripts=false` (this repository ignores scripts otherwise): compiles the sources to dist/ and lets
// package.json export the compiled code. `after` lets it export the sources again, which the repository runs without a build.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const manifest = join(root, 'package.json')
const dist = join(root, 'dist')
const source = './src/index.ts'
const compiled = { types: './dist/index.d.ts', default: './dist/index.js' }

/** @param {unknown} exported */
function exportFrom(exported) {
  const about = JSON.parse(readFileSync(manifest, 'utf8'))
  about.exports['.'] = exported
  writeFileSync(manifest, `${JSON.stringify(about, null, 2)}\n`)
}

if (process.argv[2] === 'after') exportFrom(source)
else {
  rmSync(dist, { recursive: true, force: true })
  const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
  execFileSync(process.execPath, [join(typescript, 'bin', 'tsc'), '-p', root], { stdio: 'inherit' })
  // TypeScript rewrites the extensions of imports in code, not in declarations.
  for (const name of readdirSync(dist).filter((each) => each.endsWith('.d.ts'))) {
    const text = readFileSync(join(dist, name), 'utf8')
    writeFileSync(join(dist, name), text.replace(/(from '\.\/[\w-]+)\.ts'/g, "$1.js'"))
  }
  exportFrom(compiled)
}
