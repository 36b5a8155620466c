// @ts-check
// Packs the npm package that users install: `npm run pack` writes tenure-<version>.tgz. The package declares no dependencies, because npm
// would resolve them anew and run their install scripts. The set-up installs the locked versions into the folder `system`.
// - `system/` holds the sources that run, the compiled processes, and the lock file without development dependencies.
// - `python/` holds the wheel of the Python package.
// - `types/` and `define.mjs` serve `import … from 'tenure'`; `client/` serves `import … from 'tenure/client'`.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installedRuntime, packedRuntime, runtimeModule, runtimeWasm } from '../../cli/export/web-runtime.mjs'
import { pythonWheel } from '../../api/routes/python-wheel.mjs'
import { compile } from './compile-package.mjs'
import { assembleSystem, writeJson } from './system.mjs'
import { writeTypes, writeVocabulary } from './vocabulary.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const stage = join(root, 'packed')

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

rmSync(stage, { recursive: true, force: true })
const about = await assembleSystem(root, join(stage, 'system'))
for (const name of [runtimeModule, runtimeWasm])
  cpSync(join(installedRuntime(), name), join(packedRuntime(join(stage, 'system')), name))
writeManifest()
await writeVocabulary(root, join(stage, 'define.mjs'))
writeTypes(root, join(stage, 'types'))
compile(join(root, 'packages', 'client'), join(stage, 'client'))
for (const name of ['LICENSE', 'CHANGELOG.md']) cpSync(join(root, name), join(stage, name))
writeFileSync(join(stage, 'README.md'), readme)
const wheel = pythonWheel(join(root, 'packages', 'python'))
mkdirSync(join(stage, 'python'))
writeFileSync(join(stage, 'python', wheel.name), wheel.bytes)
const output = execFileSync('npm', ['pack', stage, '--silent', '--pack-destination', root], { cwd: root })
process.stdout.write(output)

function writeManifest() {
  writeJson(join(stage, 'package.json'), {
    ...about,
    bin: { tenure: 'tenure.mjs' },
    exports: {
      '.': { types: './types/models/define.d.ts', default: './define.mjs' },
      './client': { types: './client/index.d.ts', default: './client/index.js' },
      './package.json': './package.json',
    },
    files: ['client', 'python', 'system', 'types', 'define.mjs', 'tenure.mjs', 'CHANGELOG.md'],
  })
  writeFileSync(
    join(stage, 'tenure.mjs'),
    ['#!/usr/bin/env node', '// Runs the `tenure` command.', `import './system/cli/tenure.mjs'`, ''].join(
      '\n',
    ),
    { mode: 0o755 },
  )
}
