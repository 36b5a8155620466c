// @ts-check
// Writes the module behind `import … from 'tenure'`: the functions for model files, and their types together with the types of
// TensorFlow.js, so that an editor knows `tf` before the set-up has run.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { packageSources } from '../../cli/build/sources.mjs'

/** @param {string} root @param {string} file */
export async function writeVocabulary(root, file) {
  await build({
    absWorkingDir: root,
    entryPoints: ['models/define.ts'],
    outfile: file,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    alias: packageSources(root),
    logLevel: 'silent',
  })
}

const tensorflow = ['tfjs', 'tfjs-core', 'tfjs-layers', 'tfjs-data', 'tfjs-converter']

/** @param {string} root @param {string} folder */
export function writeTypes(root, folder) {
  const options = ['-p', join(root, 'deploy', 'package', 'tsconfig.json'), '--outDir', folder]
  execFileSync('npx', ['tsc', ...options], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  for (const path of listTypes(folder)) rewrite(path, folder, (from) => from.replace(/\.ts$/, '.js'))
  const home = join(folder, 'tensorflow')
  for (const name of tensorflow) {
    const source = join(root, 'node_modules', '@tensorflow', name, 'dist')
    for (const path of listTypes(source)) {
      const target = join(home, name, 'dist', relative(source, path))
      mkdirSync(dirname(target), { recursive: true })
      cpSync(path, target)
      rewrite(target, folder, (from) => from)
    }
  }
  // The types are written for CommonJS: their relative imports have no extension.
  writeFileSync(join(home, 'package.json'), '{ "type": "commonjs" }\n')
}

/** @param {string} folder @returns {string[]} */
function listTypes(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.d.ts') && !/test_|_test|jasmine/.test(name))
    .map((name) => join(folder, name))
}

/** Makes the imports of TensorFlow.js relative. @param {string} path @param {string} folder @param {(from: string) => string} other */
function rewrite(path, folder, other) {
  const text = readFileSync(path, 'utf8').replace(
    /((?:from|import)\s*\(?\s*)(['"])([^'"]+)\2/g,
    (_, before, quote, from) => {
      const [, name, rest] = /^@tensorflow\/([\w-]+)(\/.*)?$/.exec(from) ?? []
      if (name === undefined || !tensorflow.includes(name)) return `${before}${quote}${other(from)}${quote}`
      const target = join(folder, 'tensorflow', name, rest === undefined ? 'dist/index.js' : `${rest}.js`)
      const step = relative(dirname(path), target)
      return `${before}${quote}${step.startsWith('.') ? step : `./${step}`}${quote}`
    },
  )
  writeFileSync(path, text)
}
