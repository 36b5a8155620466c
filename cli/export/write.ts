/**
 * Writes the folder of an exported version: the files of the artifact, the facts about its rows, and the bundled predictor. Runs the
 * predictor on the golden rows before the export succeeds.
 */
import { build } from 'esbuild'
import { accessSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { needsWebRuntime } from '@tenure/predictors/edge'
import { widthOfFit } from '@tenure/predictors/features'
import { computedColumns } from '../../domain/model/prepare.ts'
import { edgeFunctionOf, isRemote } from '@tenure/predictors/format-names'
import { getArtifact } from '../../store/artifacts.ts'
import type { ObjectStoreSettings } from '../../store/objects/object-store.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { isPackage } from '../../project.mjs'
import { checkout } from '../../temporal.config.ts'
import { failure, usageError } from '../client/client.ts'
import { edgeAnswerOf, edgeCountingOf } from './edge-answer.ts'
import { installedRuntime, packedRuntime, runtimeModule, runtimeWasm } from './web-runtime.mjs'

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

/** Returns the folder of onnxruntime-web's files. */
function findRuntime(version: string): string {
  try {
    const folder = isPackage ? packedRuntime(checkout) : installedRuntime()
    accessSync(join(folder, runtimeWasm))
    return folder
  } catch {
    throw usageError(
      `the graph of ${version} needs onnxruntime-web, which is not installed here`,
      'Run the command of the npm package, which holds it; the container image does not. In a checkout, run `npm run setup`.',
    )
  }
}

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
  const runtime =
    openName === 'openOnnxFile' && needsWebRuntime(artifact.files) ? findRuntime(version) : undefined
  if (texts !== undefined && runtime === undefined)
    throw usageError(
      `${version} takes the text of "${texts.name}" itself, which its predictor does not read`,
      'Ask the server for its predictions, or train a model that takes the codes of its categories.',
    )
  const image = artifact.manifest.preprocessing.find(
    (fit) => fit.kind === 'category' && fit.encoding === 'pixels',
  )
  if (image !== undefined)
    throw usageError(
      `${version} takes the image "${image.name}", which an exported predictor does not decode`,
      `Ask the server for its predictions, or declare vector(${widthOfFit(image)}) and send the pixels.`,
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
    files: [...Object.keys(artifact.files), ...(runtime === undefined ? [] : [runtimeWasm])],
    golden,
    counting,
  }
  const files: Record<string, string | Buffer> = {
    ...artifact.files,
    'manifest.json': `${JSON.stringify(manifest, null, 1)}\n`,
    // Node loads .js files as modules only if a package.json says so.
    'package.json': `${JSON.stringify({ name: `${model}-edge`, private: true, type: 'module' }, null, 1)}\n`,
  }
  if (runtime !== undefined) files[runtimeWasm] = await readFile(join(runtime, runtimeWasm))
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  for (const name of page) await writePage(name, { folder, hasRuntime: runtime !== undefined })
  await bundlePredictor(
    join(folder, 'predictor.js'),
    runtime === undefined ? codeOf(openName) : graphCode(join(runtime, runtimeModule)),
  )
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
    if (runtime !== undefined || (error as { code?: unknown }).code !== 'model_unavailable') throw error
    return { version, folder, files: named, golden: 0, issue: (error as Error).message }
  }
}

/** Copies a file of the page. WebAssembly, which ONNX Runtime needs, is compiled only where the policy of the page allows it. */
async function writePage(name: string, { folder, hasRuntime }: { folder: string; hasRuntime: boolean }) {
  const text = await readFile(join(checkout, 'cli', 'export', 'edge', name), 'utf8')
  const policy = "script-src 'self'"
  await writeFile(
    join(folder, name),
    hasRuntime ? text.replace(policy, `${policy} 'wasm-unsafe-eval'`) : text,
  )
}

const exported = `
  const loadPredictor = (base = import.meta.url) => load(base)
  export { createPredictor, loadPredictor }`

const codeOf = (openName: string): string => `
  import { ${openName} as open } from '@tenure/predictors/edge'
  import { createEncoder, loaderOf } from './predictor.ts'
  const { createPredictor, loadPredictor: load } = loaderOf(open)
  export { createEncoder }
  ${exported}`

const graphCode = (runtimeFile: string): string => `
  import { openerOfGraphs } from '@tenure/predictors/edge'
  import * as runtime from ${JSON.stringify(runtimeFile)}
  import { graphLoaderOf } from './predictor.ts'
  const { createPredictor, loadPredictor: load } = graphLoaderOf(openerOfGraphs(runtime, '${runtimeWasm}'))
  ${exported}`

/** Bundles the server's readers in one module without imports, for browsers and Node. */
async function bundlePredictor(file: string, contents: string): Promise<void> {
  await build({
    stdin: { contents, resolveDir: join(checkout, 'cli', 'export', 'edge'), loader: 'ts' },
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
