/**
 * Reads artifacts in a child process: binds the columns of other libraries' artifacts to the features of a model, answers rows, and
 * explains predictions. Uses the code of a replica, so that golden rows, gate and serving compute the same numbers. `artifact-reader.ts
 * <artifact root>` prints `{}` when it is ready, then reads one request per line of JSON and prints one reply per request.
 */
import { parseDeclaredColumns, type DeclaredColumn } from '@tenure/predictors/features'
import { DomainError, isError, quotedName } from '../../domain/errors.ts'
import { findRepeated } from '@tenure/predictors/json'
import { type CompressionRequest, formatOfFiles } from '@tenure/predictors/format-names'
import type { FeatureRow, Features } from '../../domain/model/features.ts'
import type { FileDigest, Manifest } from '../../domain/model/manifest.ts'
import { compileEncoder } from '../../domain/model/preprocessing.ts'
import { createFrames } from '../../domain/message-framing.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { columnsOf } from '../serving/codec/feature-columns.ts'
import { createInputBuffer, resetInput, writeRow } from '../serving/codec/input-buffer.ts'
import { compileFormat } from '../serving/codec/output-format.ts'
import {
  type ArtifactFiles,
  type ArtifactStages,
  bindColumns,
  formatOf,
  maxBytesOf,
  type OpenedArtifact,
  type Predictor,
} from '@tenure/predictors'
import { createRuntimes, hosts } from '../serving/runtime/hosts.ts'
import { attributeRows, type ExplainQuestion } from '../serving/explanation/attribute-rows.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { correctionOf, taskOf } from '../../domain/tasks/tasks.ts'

/** The part of a manifest that is needed to answer rows. */
export type AnsweringManifest = Pick<
  Manifest,
  'artifact' | 'files' | 'features' | 'output' | 'preprocessing'
> & {
  /** As in `OpenDeps`. */
  checksValues?: boolean
  allowsOtherVersions?: boolean
}

type ReaderRequest =
  | {
      kind: 'bind'
      files: Manifest['files']
      features: Features
      /** The features in the order of the model file. */
      order?: string[]
      output: Output
      declared?: DeclaredColumn[]
      /** The file that holds the columns, instead of `declared`. */
      declaredIn?: FileDigest
      /** The texts of the training rows by feature, each with the number of its rows. */
      texts?: Record<string, [string, number][]>
    }
  | {
      kind: 'answer'
      manifest: AnsweringManifest
      rows: number
      columns: Columns
    }
  | { kind: 'facts'; manifest: AnsweringManifest }
  | {
      kind: 'compress'
      manifest: AnsweringManifest
      request: CompressionRequest
      rows: number
      columns: Columns
    }
  | ({ kind: 'explain' } & ExplainQuestion)

const [root = ''] = process.argv.slice(2)
const artifacts = openArtifacts(root)
const runtimes = createRuntimes({
  onError: (message, error) => process.stderr.write(`${message} ${String(error ?? '')}\n`),
  // The sender chooses the size of a chunk, and no other request waits in this process.
  batches: { maxPending: Infinity },
})
/** The artifact of the last request. */
let last: { key: string; answer: Answer } | undefined

process.stdout.write('{}\n')
const frames = createFrames()
for await (const chunk of process.stdin)
  for (const { line } of frames(chunk as Buffer))
    process.stdout.write(`${JSON.stringify(await replyTo(line))}\n`)
await runtimes.stop()

async function replyTo(line: string): Promise<object> {
  try {
    const request = JSON.parse(line) as ReaderRequest
    return { ok: true, ...(await resultOf(request)) }
  } catch (error) {
    const code = isError(error) ? error.code : 'artifact_invalid'
    return { ok: false, code, message: (error as Error).message }
  }
}

async function resultOf(request: ReaderRequest): Promise<object> {
  switch (request.kind) {
    case 'bind':
      return bind(request)
    case 'answer':
      return answerRows(request)
    case 'facts':
      return (await answerOf(request.manifest)).facts()
    case 'compress':
      return compress(request)
    case 'explain':
      return explain(request)
  }
}

async function explain(question: ExplainQuestion): Promise<object> {
  const files = await filesOf(question.manifest)
  const predictor = await openPredictor(question.manifest, files)
  try {
    return await attributeRows(question, files, predictor)
  } finally {
    predictor.close?.()
  }
}

async function openPredictor(manifest: AnsweringManifest, files: ArtifactFiles): Promise<Predictor> {
  const { checksValues, allowsOtherVersions } = manifest
  const opening = formatOf(manifest).open(describedBy(manifest), files, {
    version: 'artifact',
    runtimes,
    checksValues,
    allowsOtherVersions,
  })
  return (await opened(opening)).predictor
}

function describedBy(manifest: AnsweringManifest): Manifest {
  return { ...manifest, golden: { instances: [], outputs: [] } } as unknown as Manifest
}

async function filesOf(manifest: Pick<Manifest, 'artifact' | 'files'>): Promise<ArtifactFiles> {
  const read = Object.entries(manifest.files).map(
    async ([name, { digest }]) =>
      [name, await artifacts.get('artifacts', digest, maxBytesOf(manifest, name))] as const,
  )
  return Object.fromEntries(await Promise.all(read))
}

async function bind({
  files,
  features,
  order,
  output,
  texts,
  ...given
}: Extract<ReaderRequest, { kind: 'bind' }>) {
  const artifact = formatOfFiles(Object.keys(files))
  const declared = given.declared ?? (given.declaredIn && (await declaredIn(given.declaredIn)))
  const { inspect, columnsIn } = formatOf({ artifact })
  const { library, columns, outputs } = await inspect(await filesOf({ artifact, files }), output, hosts)
  const { width } = compileFormat(output)
  if (outputs !== width)
    throw new DomainError(
      'artifact_invalid',
      `the model gives ${outputs} number${outputs === 1 ? '' : 's'}, the output ${output.kind} of the model file has ${width}${taskOf(output).suggestion(output, outputs)}`,
    )
  return {
    artifact,
    library,
    ...bindColumns({ columns, features, order, declared, columnsIn, texts, quote: quotedName }),
  }
}

async function declaredIn({ digest, bytes }: FileDigest): Promise<DeclaredColumn[]> {
  const text = (await artifacts.get('artifacts', digest, bytes)).toString('utf8')
  let columns: unknown
  try {
    columns = JSON.parse(text)
  } catch (error) {
    throw new DomainError('artifact_invalid', `columns.json is not valid JSON: ${(error as Error).message}`)
  }
  const repeated = findRepeated(text)
  if (repeated !== undefined)
    throw new DomainError('artifact_invalid', `columns.json has ${quotedName(repeated)} twice in one object`)
  return parseDeclaredColumns(columns)
}

/** The values of each feature. */
type Columns = Record<string, (number | string | null)[]>

interface Answer {
  (rows: number, columns: Columns): Promise<object>
  facts(): Promise<object>
  close(): void
}

async function answerRows({ manifest, rows, columns }: Extract<ReaderRequest, { kind: 'answer' }>) {
  return (await answerOf(manifest))(rows, columns)
}

async function answerOf(manifest: AnsweringManifest): Promise<Answer> {
  const key = JSON.stringify(manifest)
  if (last?.key !== key) {
    last?.answer.close()
    last = undefined
    last = { key, answer: await compileAnswer(manifest) }
  }
  return last.answer
}

/** Returns a function that encodes rows as a replica does. */
function compileInput({ features, preprocessing }: Pick<AnsweringManifest, 'features' | 'preprocessing'>) {
  const encode = compileEncoder(features, preprocessing)
  const layout = columnsOf(features, preprocessing)
  const names = Object.keys(features)
  const buffer = createInputBuffer()
  const fill = (rows: number, columns: Columns): void => {
    resetInput(buffer, layout, rows)
    for (let row = 0; row < rows; row++) {
      const values: FeatureRow = {}
      for (const name of names) values[name] = columns[name]?.[row] ?? null
      encode(values, buffer.input, row * layout.width)
      writeRow(buffer, layout, values, row)
    }
  }
  return { buffer, width: layout.width, fill }
}

/** Stores an artifact's files made smaller. */
async function compress({ manifest, request, rows, columns }: Extract<ReaderRequest, { kind: 'compress' }>) {
  const files = await filesOf(manifest)
  const format = formatOf(manifest)
  if (format.compress === undefined)
    throw new DomainError('artifact_invalid', 'the files of this format cannot be made smaller')
  const { files: made, ...facts } = await format.compress(describedBy(manifest), files, request, () => {
    const { buffer, width, fill } = compileInput(manifest)
    fill(rows, columns)
    return { input: buffer.input, rows, width }
  })
  const bytes = { parent: bytesOf(files), child: bytesOf(made) }
  if (bytes.child >= bytes.parent)
    throw new DomainError(
      'artifact_invalid',
      `${request.to} makes no smaller file: ${bytes.child} bytes of ${bytes.parent}`,
    )
  const stored = Object.entries(made).map(
    async ([name, each]) => [name, await artifacts.put('artifacts', Buffer.from(each))] as const,
  )
  return { files: Object.fromEntries(await Promise.all(stored)), bytes, ...facts }
}

function bytesOf(files: ArtifactFiles): number {
  return Object.values(files).reduce((sum, { byteLength }) => sum + byteLength, 0)
}

async function compileAnswer(manifest: AnsweringManifest): Promise<Answer> {
  const predictor = await openPredictor(manifest, await filesOf(manifest))
  const { buffer, fill } = compileInput(manifest)
  const answer = async (rows: number, columns: Columns) => {
    fill(rows, columns)
    const outputs = new Float32Array(rows * predictor.outputs)
    await predictor.run(buffer.input, rows, outputs, undefined, buffer)
    correctionOf(manifest.output)?.(outputs, rows)
    return {
      width: predictor.outputs,
      outputs: Array.from(outputs, (value) => (Number.isFinite(value) ? value : null)),
    }
  }
  const facts = async () => (await predictor.facts?.()) ?? {}
  return Object.assign(answer, { facts, close: () => predictor.close?.() })
}

async function opened(opening: ArtifactStages): Promise<OpenedArtifact> {
  if (opening instanceof Promise) return opening
  for (;;) {
    const { done, value } = opening.next()
    if (done === true) return value
  }
}
