/** Writes the files of a project. Never overwrites an existing file unless told to. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { projectFile } from '../../project.mjs'
import { failure } from '../client/client.ts'
import type { Language } from './model-text.ts'

export interface Written {
  /** Whether the folder already was a project. */
  wasProject: boolean
  created: string[]
  overwritten: string[]
  /** Existing files of the project that differ and were kept. */
  kept: string[]
  /** The fields that were added to package.json. */
  added: string[]
}

type Json = Record<string, unknown>

export interface ProjectContent {
  /** Path → content of the model file and its data. */
  model: Readonly<Record<string, string | Buffer>>
  /** Path → content of the files that the models of a project share. */
  shared: Readonly<Record<string, string>>
  /** The package.json. */
  manifest: Json
}

/**
 * Writes all files or none. Throws `refused` with the files in the way, unless `overwrite` is set. Keeps the shared files of an existing
 * project, and adds absent fields to its package.json.
 */
export function writeProject(
  folder: string,
  { model, shared, manifest }: ProjectContent,
  { overwrite }: { overwrite: boolean },
): Written {
  const at = (path: string) => join(folder, path)
  const isProject = existsSync(at(projectFile))
  const all: ProjectContent['model'] = { ...model, ...shared }
  const changed = Object.keys(all).filter((path) => !existsSync(at(path)) || !isSame(at(path), all[path]!))
  const kept = isProject ? changed.filter((path) => path in shared && existsSync(at(path))) : []
  const paths = changed.filter((path) => !kept.includes(path))
  const present = paths.filter((path) => existsSync(at(path)))
  if (present.length > 0 && !overwrite)
    throw failure({
      code: 'refused',
      detail: `${folder} has ${present.join(', ')} already, and nothing was written`,
      remedy: isProject
        ? 'Give the model another name with --name, move the files, or overwrite them with --overwrite.'
        : 'Name another folder, move the files, or overwrite them with --overwrite.',
    })
  for (const path of paths) {
    mkdirSync(dirname(at(path)), { recursive: true })
    writeFileSync(at(path), all[path]!)
  }
  const manifestPath = at('package.json')
  if (!existsSync(manifestPath)) {
    writeFileSync(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`)
    return {
      wasProject: isProject,
      created: ['package.json', ...paths.filter((path) => !present.includes(path))],
      overwritten: present,
      kept,
      added: [],
    }
  }
  const { merged, added } = mergeManifest(readManifest(manifestPath), manifest)
  if (added.length > 0) writeFileSync(manifestPath, `${JSON.stringify(merged, null, 2)}\n`)
  return {
    wasProject: isProject,
    created: paths.filter((path) => !present.includes(path)),
    overwritten: present,
    kept,
    added,
  }
}

const isSame = (path: string, content: string | Buffer): boolean =>
  readFileSync(path).equals(Buffer.from(content))

function readManifest(path: string): Json {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Json
  } catch (error) {
    throw failure({
      code: 'refused',
      detail: `${path} is not valid JSON: ${(error as Error).message}`,
      remedy: 'Correct the file, or name another folder.',
    })
  }
}

/** Adds absent fields, and absent entries of fields such as `scripts`. The failing test script that `npm init` writes counts as absent. */
export function mergeManifest(found: Json, template: Json): { merged: Json; added: string[] } {
  const merged = { ...found }
  const added: string[] = []
  for (const [name, value] of Object.entries(template)) {
    const own = found[name]
    if (own === undefined) {
      merged[name] = value
      added.push(name)
    } else if (typeof value === 'object' && typeof own === 'object' && own !== null) {
      const isAbsent = (key: string) =>
        !(key in own) || String((own as Json)[key]).includes('no test specified')
      const absent = Object.entries(value as Json).filter(([key]) => isAbsent(key))
      if (absent.length === 0) continue
      merged[name] = { ...own, ...Object.fromEntries(absent) }
      added.push(...absent.map(([key]) => `${name}.${key}`))
    } else if (name === 'type' && own !== value) {
      // Model files are ES modules; `npm init` writes "commonjs".
      merged[name] = value
      added.push(name)
    }
  }
  return { merged, added }
}

// Generates the files of a new project beside its model and its data.

/** The TypeScript version for `tenure check` and editors: the version with which Tenure itself is checked. */
export const typescriptVersion = '7.0.2'

export interface ProjectPlan {
  /** The language of the model file. */
  language: Language
  /** The name in package.json: letters, digits and hyphens. */
  name: string
  model: string
  /** The version of `tenure` to install, or the path of its packed file. */
  tenure: string
  /** The training's as-of time if the rows have times: the moment after the last row. */
  asOf?: string
  /** An example request to the model, as JSON. */
  example: string
}

export const packageJson = ({ name, tenure, language }: ProjectPlan) => ({
  name,
  private: true,
  type: 'module',
  scripts: {
    start: 'tenure up',
    setup: 'tenure setup',
    check: 'tenure check',
    test: language === 'python' ? 'python3 -m unittest discover -s test' : 'node --test',
  },
  dependencies: { tenure },
  ...(language === 'typescript' && { devDependencies: { typescript: typescriptVersion } }),
})

/** Path → text. */
export function projectFiles(plan: ProjectPlan): Record<string, string> {
  return {
    'tenure.config.json': json({
      models: 'models',
      alertChannels: 'alert-channels.json',
      port: 7400,
      temporal: 'embedded',
      postgres: 'embedded',
    }),
    '.env.example': environmentExample,
    '.gitignore': `node_modules/\n.tenure/\n.env\nalert-channels.json\n${plan.language === 'python' ? '__pycache__/\n' : ''}`,
    ...(plan.language === 'python' ? { 'test/test_models.py': pythonTest } : typescriptFiles()),
    '.github/workflows/check.yml': pipeline,
    'README.md': readme(plan),
  }
}

/** The files that a project needs for model files in TypeScript. */
const typescriptFiles = (): Record<string, string> => ({
  'tsconfig.json': json({
    compilerOptions: {
      target: 'es2023',
      lib: ['es2023'],
      module: 'nodenext',
      moduleResolution: 'nodenext',
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
      types: [],
    },
    include: ['models', 'policies'],
  }),
  'policies/release.ts': releasePolicy,
  'test/models.test.mjs': modelTest,
})

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const environmentExample = `# Copy this file to .env. Variables that are set already count first.
# All of them: \`tenure doctor\` shows those in use; docs/reference/configuration.md lists them.

# Servers of your own, with "postgres" or "temporal" set to "external" in tenure.config.json:
# DATABASE_URL=postgres://tenure@db.example.com/tenure
# TEMPORAL_ADDRESS=temporal.example.com:7233

# A system elsewhere, for the commands of this machine:
# TENURE_URL=https://tenure.example.com
# TENURE_KEY=
`

const releasePolicy = `/** How the versions of this project's models are released. \`tenure simulate --policy <model>\` shows what it would do with a bad one. */
import { canary, percent } from 'tenure'

export const release = canary({
  stages: [percent(10), percent(50)],
  soak: '30 min',
  // \`by: 0\` releases the versions after the first one without an approver, also at night.
  approval: { by: 1, within: '7 d' },
})
`

const modelTest = `import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

test('the model files load, and those that need no program or worker train on a few rows', () => {
  const report = JSON.parse(execFileSync('npx', ['tenure', 'check', '--json'], { encoding: 'utf8' }))
  assert.notEqual(report.models.length, 0)
  for (const { name, issues, trained, skipped } of report.models) {
    assert.deepEqual(issues, [], name)
    assert.ok(trained || skipped !== undefined, name)
  }
})
`

const pythonTest = `import json
import subprocess
import unittest


class Models(unittest.TestCase):
    def test_model_files_are_right(self):
        """The model files load, and their rows are read."""
        checked = subprocess.run(["npx", "tenure", "check", "--json"], capture_output=True, text=True)
        models = json.loads(checked.stdout)["models"]
        self.assertNotEqual(models, [])
        for model in models:
            self.assertEqual(model["issues"], [], model["name"])
            self.assertTrue(model["trained"] or "skipped" in model, model["name"])
`

const pipeline = `name: check
on: [push, pull_request]
jobs:
  check:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-node@v4
        with: { node-version: 22 }
      - uses: actions/cache@v4
        with:
          path: ~/.cache/tenure
          key: tenure-\${{ hashFiles('package-lock.json') }}
      - run: npm ci
      # Without servers: a check needs none.
      - run: npx tenure setup --temporal external --postgres external
      - run: npx tenure check
`

const readme = ({ name, model, asOf, example }: ProjectPlan): string => `# ${name}

\`\`\`sh
npm install
npx tenure setup        # once: some minutes on a machine without Tenure
npx tenure check        # judges the model files, without a server
npx tenure up           # runs the system
npx tenure retrain ${model}${asOf === undefined ? '' : ` --as-of ${asOf}`} --watch
npx tenure releases show ${model}
\`\`\`

Another user approves the first version; then it answers requests such as \`{"instances": [${example}]}\`.
`
