// @ts-check
// Compiles the processes and the workflows into dist/: `npm run build`. The set-up also does this, and so does a process whose sources have
// changed.
import { build as compile, formatMessages } from 'esbuild'
import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { takeLock } from '@tenure/embedded/install/lock'
import { buildOf, flatName } from './sources.mjs'
import { workflowCode } from './workflows.mjs'

const commands = [
  'cli/tenure.ts',
  'cli/check/check-files.ts',
  'cli/simulate/worker.ts',
  'cli/sync/load-child.ts',
]
/** The processes, in groups that share files. If all were one group, each would start from twice as many files. */
const groups = [
  commands,
  [
    'api/server.ts',
    'api/processes/artifact-reader.ts',
    'api/processes/batch-scorer.ts',
    'api/processes/qualifier.ts',
    'api/processes/simulator.ts',
    'api/processes/skew-replayer.ts',
    'packages/predictors/src/formats/onnx/session/session-process.ts',
    'packages/predictors/src/tensorflow/tfjs-worker.ts',
  ],
  ['activities/worker.ts', 'activities/upgrade/check-build.ts'],
  [
    'activities/artifact/adopter.ts',
    'activities/check/check-training.ts',
    'activities/data/outcome-rows-child.ts',
    'activities/retrain/rows-child.ts',
    'activities/evaluation/evaluator.ts',
    'activities/runtime/definition-child.ts',
    'activities/tensorflow/trainer.ts',
    'activities/trainers/result-child.ts',
  ],
]
export const entries = groups.flat()

/** Packages with native code, packages that read their own files, and optional packages that are not installed. */
const external = [
  '@duckdb/*',
  '@opentelemetry/*',
  '@platformatic/*',
  '@temporalio/worker',
  '@tensorflow/*',
  'canvas',
  'esbuild',
  'onnxruntime-node',
  'pg-native',
]

/** One instance of these for a process. The command line has its own, because it runs before the packages are installed. */
const temporal = [
  '@temporalio/activity',
  '@temporalio/client',
  '@temporalio/common',
  '@temporalio/interceptors-opentelemetry',
  '@temporalio/proto',
]

/** The number of earlier builds kept, for processes that still run from them. */
const keptBuilds = 4

/**
 * The first lines of each compiled file. `import.meta.url` of a source is that of a file in the folder of the code; packages written for
 * `require` use it to load Node's own modules.
 */
const banner = [
  `import { createRequire as requireOf } from 'node:module'`,
  `const sourceUrl = new URL('../../compiled.ts', import.meta.url).href`,
  `const require = requireOf(sourceUrl)`,
  `const __filename = decodeURIComponent(new URL(sourceUrl).pathname), __dirname = __filename.replace(/.[^/]*$/, '')`,
].join('; ')

/**
 * Compiles what is stale. Resolves with the folder of the processes. Throws an error with esbuild's text if a source has an error.
 * @param {string} root
 */
export async function build(root) {
  const release = await takeLock(join(root, 'dist', 'lock'))
  try {
    let folder = buildOf(root)
    while (!existsSync(folder)) {
      await compileTo(root, folder)
      // A source may have changed during the compilation.
      folder = buildOf(root)
    }
    return folder
  } finally {
    release()
  }
}

/** Compiles the workflows too. esbuild compiles the processes in its own process meanwhile. @param {string} root */
export async function buildAll(root) {
  await Promise.all([build(root), workflowCode(root)])
}

/** @param {string} root @param {string} folder */
async function compileTo(root, folder) {
  const dist = join(root, 'dist')
  const draft = mkdtempSync(join(dist, 'draft-'))
  // Other users also run the processes.
  chmodSync(draft, 0o755)
  try {
    for (const group of groups) await compileGroup(root, draft, group)
    renameSync(draft, folder)
  } catch (error) {
    const { errors } = /** @type {Partial<import('esbuild').BuildFailure>} */ (error)
    if (errors === undefined) throw error
    throw new Error((await formatMessages(errors, { kind: 'error', color: false })).join(''), {
      cause: error,
    })
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
  const builds = readdirSync(dist)
    .filter((name) => name.startsWith('build-'))
    .map((name) => ({ name, atMs: statSync(join(dist, name)).mtimeMs }))
    .sort((a, b) => b.atMs - a.atMs)
  for (const { name } of builds.slice(1 + keptBuilds))
    rmSync(join(dist, name), { recursive: true, force: true })
}

/** @param {string} root @param {string} folder @param {string[]} group */
const compileGroup = (root, folder, group) =>
  compile({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(
      group.filter((entry) => existsSync(join(root, entry))).map((entry) => [flatName(entry), entry]),
    ),
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    jsx: 'automatic',
    jsxImportSource: 'hono/jsx',
    outExtension: { '.js': '.mjs' },
    chunkNames: `${groups.indexOf(group)}-[name]-[hash]`,
    sourcemap: 'linked',
    sourcesContent: false,
    external: group === commands ? external : [...external, ...temporal],
    define: { 'import.meta.url': 'sourceUrl' },
    banner: { js: banner },
    logLevel: 'silent',
  })

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
  try {
    const isThere = existsSync(buildOf(root))
    await buildAll(root)
    process.stdout.write(isThere ? 'build: up to date\n' : 'build: compiled\n')
  } catch (error) {
    process.stderr.write(`${/** @type {Error} */ (error).message}\n`)
    process.exit(1)
  }
}
