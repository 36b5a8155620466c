/**
 * Writes the folder of an exported version: the files of the artifact, the facts about its rows, and the bundled predictor. Runs the
 * predictor on the golden rows before the export succeeds.
 */
import { build } from 'esbuild'
import { copyFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { computedColumns } from '../../domain/model/prepare.ts'
import { edgeFunctionOf, isRemote } from '@tenure/predictors/format-names'
import { getArtifact } from '../../store/artifacts.ts'
import type { ObjectStoreSettings } from '../../store/objects/object-store.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { checkout } from '../../temporal.config.ts'
import { failure, usageError } from '../client/client.ts'
import { edgeAnswerOf, edgeCountingOf } from './edge-answer.ts'

export interface ExportRequest {
  version: string
  /** Digest of the manifest. */
  digest: string
  artifactRoot: string
  objectStore?: ObjectStoreSettings
  folder: string
  /** Whether the predictor counts its rows and answers by the bins of the training profile, which the folder then holds. */
  counters?: boolean
}

export interface Exported {
  version: string
  folder: string
  /** The bytes of each file by its name. */
  files: Record<string, number>
  /** Number of golden rows that the predictor reproduces. */
  golden: number
  /** Why the predictor cannot compute this model, with the library that loads the files. */
  issue?: string
}

const page = ['page.js', 'page.css', 'index.html']

/** Throws `usage` for another library's model and for a folder that is not empty, `artifact_corrupt` for an unreadable or damaged artifact. */
export async function exportVersion({
  version,
  digest,
  artifactRoot,
  objectStore,
  folder,
  counters = false,
}: ExportRequest): Promise<Exported> {
  const artifact = await getArtifact(openSharedArtifacts({ artifactRoot, objectStore }), digest).catch(
    (error: Error) => {
      throw failure({
        code: 'artifact_corrupt',
        detail: `the artifact of ${version} in ${artifactRoot} is unreadable: ${error.message}`,
        remedy: 'Run the command on the machine with the artifacts, or set TENURE_ARTIFACTS.',
      })
    },
  )
  const openName = edgeFunctionOf(artifact.manifest)
  if (openName === undefined)
    throw usageError(
      isRemote(artifact.manifest)
        ? `${version} is answered by an endpoint elsewhere, which its files only name`
        : `${version} is code of ${artifact.manifest.library ?? 'Python'}, which a browser does not run`,
      'Ask the server for its predictions.',
    )
  const texts = artifact.manifest.preprocessing.find(
    (fit) => fit.kind === 'category' && fit.encoding === 'text',
  )
  if (texts !== undefined)
    throw usageError(
      `${version} takes the text of "${texts.name}" itself, which its predictor does not read`,
      'Ask the server for its predictions, or train a model that takes the codes of its categories.',
    )
  const [computed] = computedColumns(artifact.manifest.features)
  if (computed !== undefined)
    throw usageError(
      `${version} computes its features by SQL on the server ("${computed.name}" in prepare)`,
      'Ask the server for its predictions, or train a model whose features are sent.',
    )
  const counting = counters ? edgeCountingOf(artifact.manifest) : undefined
  if (counters && counting === undefined)
    throw usageError(
      `${version} has no training profile, in whose bins an exported predictor counts`,
      'Export it without --counters.',
    )
  await openFolder(folder)
  const { model, features, output, preprocessing, golden } = artifact.manifest
  const manifest = {
    format: 'tenure-edge@1',
    model,
    version,
    artifact: digest,
    features,
    output,
    answer: edgeAnswerOf(output),
    preprocessing,
    files: Object.keys(artifact.files),
    golden,
    counting,
  }
  const files: Record<string, string | Buffer> = {
    ...artifact.files,
    'manifest.json': `${JSON.stringify(manifest, null, 1)}\n`,
    // Node loads .js files as modules only if a package.json says so.
    'package.json': `${JSON.stringify({ name: `${model}-edge`, private: true, type: 'module' }, null, 1)}\n`,
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  for (const name of page) await copyFile(join(checkout, 'cli', 'export', 'edge', name), join(folder, name))
  await bundlePredictor(join(folder, 'predictor.js'), openName)
  const sizes = await Promise.all(
    [...Object.keys(files), 'predictor.js', ...page].map(async (name) => {
      const { size } = await stat(join(folder, name))
      return [name, size] as const
    }),
  )
  const named = Object.fromEntries(sizes)
  try {
    const { loadPredictor } = (await import(pathToFileURL(join(folder, 'predictor.js')).href)) as {
      loadPredictor: () => Promise<{ checkGolden(): { rows: number } }>
    }
    const predictor = await loadPredictor()
    return { version, folder, files: named, golden: predictor.checkGolden().rows }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'model_unavailable') throw error
    return { version, folder, files: named, golden: 0, issue: (error as Error).message }
  }
}

/** Bundles the server's readers in one module without imports, for browsers and Node. */
async function bundlePredictor(file: string, openName: string): Promise<void> {
  await build({
    stdin: {
      contents: `
        import { ${openName} as open } from '@tenure/predictors/edge'
        import { createEncoder, loaderOf } from './predictor.ts'
        const { createPredictor, loadPredictor: load } = loaderOf(open)
        const loadPredictor = (base = import.meta.url) => load(base)
        export { createEncoder, createPredictor, loadPredictor }`,
      resolveDir: join(checkout, 'cli', 'export', 'edge'),
      loader: 'ts',
    },
    minify: true,
    outfile: file,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    logLevel: 'silent',
  })
}

async function openFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: Error) => {
    throw usageError(`${folder} is not writable: ${error.message}`)
  })
  const names = await readdir(folder)
  if (names.length > 0)
    throw usageError(
      `${folder} is not empty (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})`,
      'Name a new or empty folder. Existing files are not overwritten.',
    )
}
