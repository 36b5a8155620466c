// @ts-check
// Packs what a user installs: `npm run pack` writes tenure-<version>.tgz. The package has no dependencies of its own, because npm would
// resolve theirs anew and run their install scripts: the set-up installs what is locked, into the folder `system`.
// - `system/` holds the sources that run, the compiled processes, and the lock file without what only development needs.
// - `types/` and `define.mjs` are what `import … from 'tenure'` finds, and `client/` what `import … from 'tenure/client'` does.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildAll } from '../build/build-all.mjs'
import { buildClient } from '../build/client.mjs'
import { groups } from '../build/entries.mjs'
import { findCompiled, outputOf } from '../build/manifest.mjs'
import { workflowCode } from '../build/workflows.mjs'
import { writeTypes, writeVocabulary } from './vocabulary.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const stage = join(root, 'packed')
const system = join(stage, 'system')

const readme = `# Tenure

Tenure retrains machine-learning models, releases each new version in stages on live traffic, and rolls it back automatically.

\`\`\`sh
npx tenure init my-models --from data.csv
cd my-models
npm install
npx tenure up
\`\`\`

\`tenure up\` sets up Postgres, Temporal and TensorFlow at its first start. \`tenure --help\` lists the commands.
`

/** Files and folders of the repository that run. Of `models/` only the vocabulary and the examples: it may hold a user's own. */
const shipped = [
  'activities',
  'alerts',
  'api',
  'charts',
  'cli',
  'docs/runbooks',
  'domain',
  'edge',
  'migrations',
  'models/data/iris.csv',
  'models/define',
  'models/define.ts',
  'models/index.ts',
  'models/iris.ts',
  'python/src',
  'scripts/build',
  'scripts/launch.mjs',
  'scripts/setup',
  'scripts/setup.mjs',
  'store',
  'telemetry',
  'temporal',
  'temporal.config.ts',
  'tsconfig.json',
  'workflows',
]

/** @param {string} path @returns {any} */
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))
/** @param {string} path @param {unknown} value */
function writeJson(path, value) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}

await buildAll(root)
rmSync(stage, { recursive: true, force: true })
copySources()
copyCompiled()
writeFileSync(join(system, 'dist', 'workflows.js'), await workflowCode(root))
writeFileSync(join(system, 'dist', 'workflows-traced.js'), await workflowCode(root, { traced: true }))
writeManifests()
await writeVocabulary(root, join(stage, 'define.mjs'))
writeTypes(root, join(stage, 'types'))
await buildClient(join(stage, 'client'))
for (const name of ['LICENSE', 'CHANGELOG.md']) cpSync(join(root, name), join(stage, name))
writeFileSync(join(stage, 'README.md'), readme)
const output = execFileSync('npm', ['pack', stage, '--silent', '--pack-destination', root], { cwd: root })
process.stdout.write(output)

/** Leaves out what only development needs: npm knows best what that is. No version may change. */
function pruneLock() {
  const from = join(root, 'package-lock.json')
  const to = join(system, 'package-lock.json')
  cpSync(from, to)
  const flags = ['--package-lock-only', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  execFileSync('npm', ['install', ...flags, '--loglevel=error'], { cwd: system, stdio: 'ignore' })
  const { packages: known } = readJson(from)
  for (const [path, { version, integrity }] of Object.entries(readJson(to).packages))
    if (path !== '' && (known[path]?.version !== version || known[path]?.integrity !== integrity))
      throw new Error(`npm would install another ${path} than package-lock.json names: ${version}`)
}

/** Only files that git knows: a folder may hold files of a user. */
function copySources() {
  const listed = execFileSync('git', ['ls-files', '-z', '--', ...shipped], { cwd: root, encoding: 'utf8' })
  for (const path of listed.split('\0').filter((each) => each !== '' && existsSync(join(root, each))))
    cpSync(join(root, path), join(system, path))
}

function copyCompiled() {
  /** @type {Record<string, string>} */
  const entries = {}
  for (const entry of groups.flatMap((group) => group.entries)) {
    const compiled = findCompiled(root, entry)
    if (compiled === undefined)
      throw new Error(`${entry} is not compiled: a source has just changed, start again`)
    entries[entry] = relative(outputOf(root), compiled)
  }
  for (const folder of new Set(Object.values(entries).map(dirname)))
    cpSync(join(outputOf(root), folder), join(system, 'dist', folder), { recursive: true })
  writeJson(join(system, 'dist', 'packed.json'), { entries })
}

function writeManifests() {
  const { name, version, description, license, engines, dependencies, allowScripts, overrides } = readJson(
    join(root, 'package.json'),
  )
  const about = { name, version, license, type: 'module', engines }
  writeJson(join(system, 'package.json'), { private: true, ...about, dependencies, allowScripts, overrides })
  pruneLock()
  writeJson(join(stage, 'package.json'), {
    ...about,
    description,
    bin: { tenure: 'tenure.mjs' },
    exports: {
      '.': { types: './types/models/define.d.ts', default: './define.mjs' },
      './client': { types: './client/client.d.ts', default: './client/client.js' },
      './package.json': './package.json',
    },
    files: ['client', 'system', 'types', 'define.mjs', 'tenure.mjs', 'CHANGELOG.md'],
  })
  writeFileSync(
    join(stage, 'tenure.mjs'),
    ['#!/usr/bin/env node', '// Runs the `tenure` command.', `import './system/cli/tenure.mjs'`, ''].join(
      '\n',
    ),
    { mode: 0o755 },
  )
}
