/**
 * Writes the folder of an exported version: the files of the artifact, the facts about its rows, and the bundled predictor. Runs the
 * predictor on the golden rows before the export succeeds.
 */
import { build } from 'esbuild'
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { computedColumns } from '../../domain/model/prepare.ts'
import { formatNameOf } from '@tenure/predictors/format-names'
import { getArtifact } from '../../store/artifacts.ts'
import type { ObjectStoreSettings } from '../../store/objects/object-store.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { checkout } from '../../temporal.config.ts'
import { failure, usageError } from '../client/client.ts'
import { edgeAnswerOf } from './edge-answer.ts'

export interface ExportRequest {
  version: string
  /** Digest of the manifest. */
  digest: string
  artifactRoot: string
  objectStore?: ObjectStoreSettings
  folder: string
}

export interface Exported {
  version: string
  folder: string
  files: string[]
  /** Number of golden rows that the predictor reproduces. */
  golden: number
  /** Why the predictor cannot compute this model. TensorFlow.js can still load the files. */
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
  const { library } = artifact.manifest
  const format = formatNameOf(artifact.manifest)
  if (format !== 'tfjs-layers')
    throw usageError(
      `${version} is a model of ${library ?? format}; versions of TensorFlow.js are exported`,
      `Its own library reads ${Object.keys(artifact.files).join(', ')} of the artifact.`,
    )
  const [computed] = computedColumns(artifact.manifest.features)
  if (computed !== undefined)
    throw usageError(
      `${version} computes its features by SQL on the server ("${computed.name}" in prepare)`,
      'Ask the server for its predictions, or train a model whose features are sent.',
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
    golden,
  }
  const files: Record<string, string | Buffer> = {
    ...artifact.files,
    'manifest.json': `${JSON.stringify(manifest, null, 1)}\n`,
    // Node loads .js files as modules only if a package.json says so.
    'package.json': `${JSON.stringify({ name: `${model}-edge`, private: true, type: 'module' }, null, 1)}\n`,
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  for (const name of page) await copyFile(join(checkout, 'cli', 'export', 'edge', name), join(folder, name))
  await bundlePredictor(join(folder, 'predictor.js'))
  const named = [...Object.keys(files), 'predictor.js', ...page]
  try {
    const { loadPredictor } = (await import(pathToFileURL(join(folder, 'predictor.js')).href)) as {
      loadPredictor: () => Promise<{ checkGolden(): { rows: number } }>
    }
    const predictor = await loadPredictor()
    return { version, folder, files: named, golden: predictor.checkGolden().rows }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'layer_unknown') throw error
    return { version, folder, files: named, golden: 0, issue: (error as Error).message }
  }
}

/** Bundles the server's reader, encoder and network in one module without imports, for browsers and Node. */
async function bundlePredictor(file: string): Promise<void> {
  await build({
    entryPoints: [join(checkout, 'cli', 'export', 'edge', 'predictor.ts')],
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
